// Settings of the cluster-dns process.
import { type ParsedSettings, parseSettings, type SettingRow } from '../../kit/settings.ts'

/** The table; parser, help and docs come from it. */
export const SETTINGS = {
  mesh: { env: 'WEFT_MESH', flag: '--mesh', type: 'text', default: undefined, help: 'name of the mesh' },
  port: { env: 'WEFT_DNS_PORT', flag: '--port', type: 'count', default: 53, help: 'UDP and TCP port' },
  log: { env: 'WEFT_LOG', flag: '--log', type: 'text', default: 'info', help: 'LEVEL or LEVEL,area=LEVEL,…' },
} as const satisfies Record<string, SettingRow>

/** Reads the settings; every fault at once. */
export function readSettings(args: readonly string[], env: Readonly<Record<string, string | undefined>>): ParsedSettings<typeof SETTINGS> {
  return parseSettings(SETTINGS, args, env)
}
