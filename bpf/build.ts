// Compiles src/*.bpf.c into objects/ with clang and writes objects/manifest.json. Run by `npm run build:bpf` after a
// change of the C sources; the product only loads the committed objects and needs no compiler.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'

/** What objects/manifest.json says: the compiler, and SHA-256 (hex) of every source and object by file name. */
export interface ObjectManifest {
  readonly clang: string
  readonly sources: Readonly<Record<string, string>>
  readonly objects: Readonly<Record<string, string>>
}

/** Folder of this component: `src/`, `include/` and `objects/` are below it. */
export const BPF_DIRECTORY = import.meta.dirname

/** @returns the compiler's version line; undefined when there is no clang. */
export function clangVersion(): string | undefined {
  try {
    return execFileSync('clang', ['--version'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).split('\n')[0]
  } catch {
    return undefined // not installed: said by who asked
  }
}

/**
 * @param source path of one .bpf.c
 * @param object where to write; @param include folder of the headers
 * @throws Error with clang's messages
 */
export function compileObject(source: string, object: string, include: string = join(BPF_DIRECTORY, 'include')): void {
  const machine = process.arch === 'arm64' ? 'aarch64' : 'x86_64'
  const headers = ['-I', include, '-I', `/usr/include/${machine}-linux-gnu`] // the second: asm/types.h on Debian
  const flags = ['-O2', '-g', '-Wall', '-Werror', '-target', 'bpf', '-mcpu=v3', `-ffile-prefix-map=${BPF_DIRECTORY}=bpf`]
  execFileSync('clang', [...flags, ...headers, '-c', source, '-o', object], { cwd: BPF_DIRECTORY, stdio: ['ignore', 'inherit', 'pipe'] })
}

/** SHA-256 (hex) of every source and header, by path below bpf/. */
export function hashSources(): Record<string, string> {
  return hashAll('src', 'include')
}

/** SHA-256 (hex) of every committed object, by path below bpf/. */
export function hashObjects(): Record<string, string> {
  return hashAll('objects')
}

/**
 * Compiles everything and writes the manifest.
 * @throws Error when clang is missing or refuses
 */
export function buildObjects(): ObjectManifest {
  const clang = clangVersion()
  if (clang === undefined) throw new Error('clang is not installed: apt-get install clang libbpf-dev')
  mkdirSync(join(BPF_DIRECTORY, 'objects'), { recursive: true })
  for (const source of sorted('src')) compileObject(join('src', source), join('objects', `${basename(source, '.c')}.o`), 'include')
  const manifest = { clang, sources: hashSources(), objects: hashObjects() }
  writeFileSync(join(BPF_DIRECTORY, 'objects', 'manifest.json'), `${JSON.stringify(manifest, null, 2)}\n`)
  return manifest
}

function hashAll(...folders: readonly string[]): Record<string, string> {
  const hash = (path: string): string =>
    createHash('sha256')
      .update(readFileSync(join(BPF_DIRECTORY, path)))
      .digest('hex')
  const files = folders.flatMap((folder) => sorted(folder).map((name) => `${folder}/${name}`))
  return Object.fromEntries(files.filter((path) => /\.[cho]$/.test(path)).map((path) => [path, hash(path)]))
}

function sorted(folder: string): string[] {
  return readdirSync(join(BPF_DIRECTORY, folder)).sort()
}

if (import.meta.main) {
  const built = buildObjects()
  process.stdout.write(`${Object.keys(built.objects).length} objects by ${built.clang}\n`)
}
