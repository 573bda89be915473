// Compiles weft-cni.c with clang and lld into objects/, one static file per architecture, and writes objects/manifest.json.
// Run by `npm run build:cni` after a change of the source; the product only copies the committed files and needs no compiler.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { PLUGIN_DIRECTORY, PLUGIN_TARGETS, type PluginArch, pluginBinary } from './binary.ts'

/** What objects/manifest.json says: compiler and linker, SHA-256 (hex) of the source and of each binary by file name. */
export interface PluginManifest {
  readonly clang: string
  readonly lld: string
  readonly source: string
  readonly binaries: Readonly<Record<string, string>>
}

/** @returns first lines of `--version`; undefined when clang or lld is not installed */
export function pluginTools(): Pick<PluginManifest, 'clang' | 'lld'> | undefined {
  try {
    return { clang: versionOf('clang'), lld: versionOf('ld.lld') }
  } catch {
    return undefined // not installed: said by who asked
  }
}

/** @param output where to write. @throws Error with clang's messages */
export function compilePlugin(arch: PluginArch, output: string): void {
  const language = ['-std=c11', '-Os', '-Wall', '-Wextra', '-Werror', '-ffreestanding', '-fno-builtin', '-fno-stack-protector', '-fno-pic']
  const linking = ['-nostdlib', '-static', '-fuse-ld=lld', '-Wl,--build-id=none', '-Wl,-z,noexecstack', '-s']
  const flags = ['-target', PLUGIN_TARGETS[arch], ...language, '-fno-asynchronous-unwind-tables', ...linking]
  execFileSync('clang', [...flags, 'weft-cni.c', '-o', output], { cwd: PLUGIN_DIRECTORY, stdio: ['ignore', 'inherit', 'pipe'] })
}

/** SHA-256 (hex) of a file. */
export function sha256Of(path: string): string {
  return createHash('sha256').update(readFileSync(path)).digest('hex')
}

/** Compiles for every architecture and writes the manifest. @throws Error when a tool is missing or refuses */
export function buildPlugin(): PluginManifest {
  const tools = pluginTools()
  if (tools === undefined) throw new Error('clang or lld is not installed: apt-get install clang lld')
  mkdirSync(join(PLUGIN_DIRECTORY, 'objects'), { recursive: true })
  const binaries: Record<string, string> = {}
  for (const arch of Object.keys(PLUGIN_TARGETS) as PluginArch[]) {
    compilePlugin(arch, pluginBinary(arch))
    binaries[`weft-cni-${arch}`] = sha256Of(pluginBinary(arch))
  }
  const manifest = { ...tools, source: sha256Of(join(PLUGIN_DIRECTORY, 'weft-cni.c')), binaries }
  writeFileSync(join(PLUGIN_DIRECTORY, 'objects', 'manifest.json'), `${JSON.stringify(manifest, null, 2)}\n`)
  return manifest
}

function versionOf(program: string): string {
  return execFileSync(program, ['--version'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).split('\n')[0] ?? ''
}

if (import.meta.main) {
  const { binaries, clang } = buildPlugin()
  process.stdout.write(`${Object.keys(binaries).join(', ')} by ${clang}\n`)
}
