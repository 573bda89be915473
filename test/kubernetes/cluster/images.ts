// Images of a test cluster, made of programs of this machine: the sandbox's, CoreDNS, and the application's (the shop, test pods).
import { cpSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { makeLayer, writeImageArchive } from '../../../scripts/oci.ts'
import { makeRoot, putFile, putProgram } from '../../../scripts/rootfs.ts'
import type { Binaries } from './binaries.ts'

/** The image of the shop, with a shell and the usual tools for test pods. */
export const APP_IMAGE = 'docker.io/weft/shop:dev'
const ROOT = join(import.meta.dirname, '../../..')
const APP_TOOLS = ['sh', 'cat', 'ls', 'env', 'sleep', 'ip', 'curl', 'true', 'head', 'tail', 'grep']

/**
 * Makes the images that are not there yet.
 * @param hasDns with CoreDNS
 * @returns paths of the archives
 */
export function makeImages(binaries: Binaries, hasDns: boolean): readonly string[] {
  const folder = join(binaries.dir, 'images')
  mkdirSync(folder, { recursive: true })
  const made = [imageOfProgram(folder, binaries, 'pause', '65535:65535')]
  if (hasDns) made.push(imageOfProgram(folder, binaries, 'coredns'))
  made.push(appImage(folder))
  return made
}

function imageOfProgram(folder: string, binaries: Binaries, program: 'pause' | 'coredns', user?: string): string {
  const archive = join(folder, `${program}.tar`)
  if (existsSync(archive)) return archive
  return inScratch((scratch) => {
    const rootfs = join(scratch, 'root')
    mkdirSync(rootfs)
    copyFileSync(binaries.path(program), join(rootfs, program))
    const layers = [makeLayer(rootfs, join(scratch, 'layer'), false)]
    const image = { name: `localhost/${program}:1`, layers, archive, entrypoint: [`/${program}`] }
    writeImageArchive(user === undefined ? image : { ...image, user })
    return archive
  })
}

/** Made anew each time: it holds the sources of the shop. */
function appImage(folder: string): string {
  const archive = join(folder, `app.${process.pid}.tar`)
  return inScratch((scratch) => {
    const rootfs = join(scratch, 'root')
    makeRoot(rootfs)
    putFile(rootfs, process.execPath, '/usr/bin/node')
    for (const tool of APP_TOOLS) putProgram(rootfs, tool)
    const shop = join(ROOT, 'samples/shop')
    for (const file of readdirSync(shop).filter((name) => name.endsWith('.mjs'))) cpSync(join(shop, file), join(rootfs, 'shop', file))
    const layers = [makeLayer(rootfs, join(scratch, 'layer'), false)]
    writeImageArchive({ name: APP_IMAGE, layers, archive, entrypoint: [], workdir: '/shop', user: '1000:1000' })
    return archive
  })
}

function inScratch<T>(work: (folder: string) => T): T {
  const scratch = mkdtempSync(join(tmpdir(), 'weft-rootfs-'))
  try {
    return work(scratch)
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}
