// Where the committed binaries of the plugin are; build.ts makes them, the agent copies the one of its machine to the host.
import { join } from 'node:path'

/** Folder of weft-cni.c; the binaries are in `objects/` below it. */
export const PLUGIN_DIRECTORY = import.meta.dirname

/** Architecture as Node names it -> as clang names it. */
export const PLUGIN_TARGETS = { x64: 'x86_64-linux-gnu', arm64: 'aarch64-linux-gnu' } as const

/** One of the machines that the plugin runs on. */
export type PluginArch = keyof typeof PLUGIN_TARGETS

/** File of an architecture in objects/. */
export function pluginBinary(arch: PluginArch): string {
  return join(PLUGIN_DIRECTORY, 'objects', `weft-cni-${arch}`)
}
