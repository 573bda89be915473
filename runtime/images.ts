// Images of the local runtime: directories of the host, read-only in the container. Those of the mesh itself are this checkout,
// or the installed package; all others are named on the command line and have no entry point of their own.
import { existsSync, realpathSync } from 'node:fs'
import { basename, dirname, join, relative, sep } from 'node:path'
import type { Bind } from './kubelet/launch.ts'
import { WAYPOINT_NODE_FLAGS } from './node-flags.ts'

/** What an image means here. */
export interface LocalImage {
  /** Shown in the container, read-only; `from` is on the host. */
  readonly binds: readonly Bind[]
  readonly workingDir: string
  /** What runs when the container names no command; `args` follow it. */
  readonly entryPoint: readonly string[]
}

/** Image of waypoints; its name without registry and tag counts. */
export const WAYPOINT_IMAGE = 'weft/waypoint'

const ROOT = join(import.meta.dirname, '..')
// Not the paths of the host: a home directory may be closed to the user that the container runs as.
const IMAGE_ROOT = '/weft'
const IMAGE_MODULES = '/weft/node_modules'
const IMAGE_NODE = '/weft-node'

/** @param named directory by image name; @returns undefined when the image is not known: it then only is a name */
export function localImage(image: string | undefined, named: Readonly<Record<string, string>>): LocalImage | undefined {
  if (image === undefined) return undefined
  const directory = Object.hasOwn(named, image) ? named[image] : undefined
  if (directory !== undefined) return { binds: [], workingDir: directory, entryPoint: [] }
  return nameOf(image) === WAYPOINT_IMAGE ? ownImage('waypoint/main.ts') : undefined
}

/**
 * Where the mesh's own code and its packages are in the container. A checkout has its packages below it. An installed package has
 * them wherever npm put them, beside it or above it: the outermost `node_modules` is shown whole, so that they are found as here.
 * @param root absolute path of the folder of `waypoint/`, without links
 * @returns `home`: the path of `root` in the container
 */
export function ownFolders(root: string): { readonly home: string; readonly binds: readonly Bind[] } {
  const modules = join(root, 'node_modules')
  if (existsSync(modules)) {
    const binds = [
      { from: root, to: IMAGE_ROOT, isReadOnly: true },
      { from: realpathSync(modules), to: IMAGE_MODULES, isReadOnly: true },
    ]
    return { home: IMAGE_ROOT, binds }
  }
  const parts = root.split(sep)
  const outermost = parts.slice(0, parts.indexOf('node_modules') + 1).join(sep)
  if (outermost === '') return { home: IMAGE_ROOT, binds: [{ from: root, to: IMAGE_ROOT, isReadOnly: true }] }
  return { home: join(IMAGE_MODULES, relative(outermost, root)), binds: [{ from: outermost, to: IMAGE_MODULES, isReadOnly: true }] }
}

/** This checkout or package with its interpreter. */
function ownImage(program: string): LocalImage {
  const interpreter = realpathSync(process.execPath)
  const { home, binds } = ownFolders(realpathSync(ROOT))
  return {
    binds: [...binds, { from: dirname(interpreter), to: IMAGE_NODE, isReadOnly: true }],
    workingDir: home,
    entryPoint: [join(IMAGE_NODE, basename(interpreter)), ...WAYPOINT_NODE_FLAGS, join(home, program)],
  }
}

/** `registry/weft/waypoint:1.2@sha256:…` -> `weft/waypoint` */
function nameOf(image: string): string {
  const [path = ''] = image.split('@')
  const parts = path.replace(/:[^/:]*$/, '').split('/')
  return parts.slice(-2).join('/')
}
