// Makes the one image of the mesh as an OCI archive, from the packed package, without docker and without a registry: the interpreter,
// the libraries that it and libbpf need, nft, and /opt/weft with the packages of production. `node scripts/run.mjs build:image
// [--tarball FILE] [--name NAME] [--out FILE] | --rootfs DIR`. No certificates of authorities: Node.js brings its own.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { parseArgs } from 'node:util'
import { type Layer, makeLayer, writeImageArchive } from './oci.ts'
import { makeRoot, putFile, putLibrary, putProgram } from './rootfs.ts'
import { stage } from './stage.ts'

const ROOT = join(import.meta.dirname, '..')
const CACHE = join(ROOT, '.cache')
const HOME = '/opt/weft'
const NODE = '/usr/bin/node'

/** What an image is made of and where it goes. */
export interface ImageOptions {
  readonly name: string
  readonly archive: string
  /** From `npm pack`; undefined = packed now. */
  readonly tarball?: string | undefined
}

/** @returns sizes in bytes, and the manifest's digest @throws Error with what could not be done */
export function makeImage(options: ImageOptions): { bytes: number; unpackedBytes: number; digest: string } {
  const scratch = mkdtempSync(join(tmpdir(), 'weft-image-'))
  try {
    const root = join(scratch, 'package')
    putPackage(root, options.tarball ?? pack(scratch), scratch)
    const layers = [baseLayer(scratch), makeLayer(root, join(scratch, 'package.tar'), true)]
    const labels = { 'org.opencontainers.image.title': 'weft', 'org.opencontainers.image.version': version() }
    const { name, archive } = options
    const made = writeImageArchive({ name, layers, archive, entrypoint: [NODE], env: ['NODE_ENV=production'], workdir: HOME, labels })
    return { ...made, unpackedBytes: layers.reduce((sum, layer) => sum + layer.unpackedSize, 0) }
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}

/** The same as a folder, for builders that make the image themselves. */
export function makeImageRoot(folder: string): void {
  const scratch = mkdtempSync(join(tmpdir(), 'weft-image-'))
  try {
    mkdirSync(folder, { recursive: true })
    run('tar', ['-xzf', baseLayer(scratch).file, '-C', folder], scratch)
    const root = join(scratch, 'package')
    putPackage(root, pack(scratch), scratch)
    cpSync(root, folder, { recursive: true })
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}

/** What does not change with our code: kept, because compressing it takes most of the time. */
function baseLayer(scratch: string): Layer {
  const library = libbpf()
  const made = [process.execPath, library, '/usr/sbin/nft', import.meta.filename, join(ROOT, 'package-lock.json')].map(hashOf)
  const file = join(CACHE, `image-base-${createHash('sha256').update(made.join()).digest('hex').slice(0, 12)}.tar.gz`)
  const note = `${file}.json`
  if (existsSync(file) && existsSync(note)) return { ...(JSON.parse(readFileSync(note, 'utf8')) as Layer), file }
  const rootfs = join(scratch, 'root')
  makeRoot(rootfs)
  putInterpreter(rootfs)
  putLibrary(rootfs, library)
  putProgram(rootfs, 'nft')
  putModules(rootfs)
  const layer = makeLayer(rootfs, join(scratch, 'base.tar'), true)
  mkdirSync(CACHE, { recursive: true })
  for (const old of readdirSync(CACHE).filter((name) => name.startsWith('image-base-'))) rmSync(join(CACHE, old), { force: true })
  copyFileSync(layer.file, `${file}.${process.pid}`)
  renameSync(`${file}.${process.pid}`, file)
  writeFileSync(note, JSON.stringify(layer))
  return { ...layer, file }
}

function hashOf(path: string): string {
  return createHash('sha256').update(readFileSync(path)).digest('hex')
}

/** What `npm pack` makes, in a folder of its own so that the checkout stays as it is. */
function pack(scratch: string): string {
  const folder = join(scratch, 'pack')
  stage(join(folder, 'dist'))
  for (const name of ['package.json', 'weft', 'README.md', 'LICENSE']) cpSync(join(ROOT, name), join(folder, name))
  const tarball = run('npm', ['pack', '--ignore-scripts', '--silent', '--pack-destination', scratch], folder).trim()
  return join(scratch, tarball)
}

function putInterpreter(rootfs: string): void {
  putFile(rootfs, process.execPath, NODE)
  run('strip', [join(rootfs, NODE)], rootfs)
}

function putPackage(rootfs: string, tarball: string, scratch: string): void {
  const unpacked = join(scratch, 'unpacked')
  mkdirSync(unpacked)
  run('tar', ['-xzf', tarball, '-C', unpacked], scratch)
  const home = join(rootfs, HOME)
  mkdirSync(dirname(home), { recursive: true })
  renameSync(join(unpacked, 'package/dist'), home)
  cpSync(join(unpacked, 'package/package.json'), join(home, 'package.json'))
}

/** As `npm ci --omit=dev` would have it; read from the lock file and copied, so that no registry is asked. */
function putModules(rootfs: string): void {
  const { packages } = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as {
    packages: Readonly<Record<string, { dev?: boolean; devOptional?: boolean }>>
  }
  for (const [path, entry] of Object.entries(packages)) {
    const isRun = path !== '' && entry.dev !== true && entry.devOptional !== true && !NOT_RUN.test(path)
    if (!isRun || !existsSync(join(ROOT, path))) continue
    cpSync(join(ROOT, path), join(rootfs, HOME, path), { recursive: true, filter: (file) => isNeeded(path, file) })
  }
  const bin = join(rootfs, HOME, 'node_modules/.bin')
  mkdirSync(bin, { recursive: true })
  symlinkSync(NODE, join(bin, 'node'))
}

/** Types; the interpreter's package, which is in the image as a program. */
const NOT_RUN = /^node_modules\/(@types\/|node-linux-)/
const NEVER_READ =
  /\.(d\.[cm]?ts|ts|map|md|markdown|flow|c|cc|h|hpp|gyp|tsbuildinfo|bare)$|\/(test|tests|docs|example|examples|bench|benchmarks|\.github)$/i
const LICENCE = /\/(licen[cs]e|notice)[^/]*$/i

function isNeeded(path: string, file: string): boolean {
  const inside = file.slice(join(ROOT, path).length)
  if (LICENCE.test(inside)) return true
  if (inside.includes('/node_modules')) return false // has a row of its own
  if (path === 'node_modules/koffi' || path.startsWith('node_modules/@koromix/')) return isOurKoffi(inside)
  return !NEVER_READ.test(inside)
}

/** It brings a library for every platform, and its sources. */
function isOurKoffi(inside: string): boolean {
  const platform = /\/build\/koffi\/([a-z0-9]+_[a-z0-9]+)/.exec(inside)?.[1]
  if (platform !== undefined) return platform === `linux_${process.arch}`
  return !NEVER_READ.test(inside) && !/^\/(vendor|doc)(\/|$)/.test(inside)
}

function version(): string {
  return (JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string }).version
}

/** Where the linker has it. */
function libbpf(): string {
  const folders = ['/lib', '/usr/lib', '/lib64', '/usr/lib64'].flatMap((folder) => [
    folder,
    ...(existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith('-linux-gnu')) : []).map((name) => join(folder, name)),
  ])
  const path = folders.map((folder) => join(folder, 'libbpf.so.1')).find((candidate) => existsSync(candidate))
  if (path === undefined) throw new Error('libbpf.so.1 is not on this machine (Debian: libbpf1)')
  return path
}

function run(program: string, args: readonly string[], cwd: string): string {
  const done = spawnSync(program, args, { cwd, encoding: 'utf8' })
  if (done.status !== 0) throw new Error(`${program} ${args.join(' ')}: ${done.error?.message ?? done.stderr.trim()}`)
  return done.stdout
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`
}

function writeImage(name: string, out: string, tarball: string | undefined): void {
  const made = makeImage({ name, archive: out, tarball })
  process.stdout.write(`${out}: ${name}, ${megabytes(made.bytes)} (unpacked ${megabytes(made.unpackedBytes)}), ${made.digest}\n`)
  process.stdout.write(`load it: ctr -n k8s.io images import ${basename(out)}, or: docker load -i ${basename(out)}\n`)
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      name: { type: 'string', default: `localhost/weft:${version()}` },
      out: { type: 'string', default: join(ROOT, '.cache/weft-image.tar') },
      tarball: { type: 'string' },
      rootfs: { type: 'string' },
    },
  })
  if (values.rootfs !== undefined) makeImageRoot(values.rootfs)
  else writeImage(values.name, values.out, values.tarball)
}
