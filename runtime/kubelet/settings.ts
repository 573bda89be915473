// Settings of the kubelet process of one node.
import { type ParsedSettings, parseSettings, type SettingRow, type Settings } from '../../kit/settings.ts'

/** The table; parser, help and docs come from it. */
export const SETTINGS = {
  mesh: { env: 'WEFT_MESH', flag: '--mesh', type: 'text', default: undefined, help: 'name of the mesh' },
  node: { env: 'WEFT_NODE_INDEX', flag: '--node-index', type: 'count', default: undefined, help: 'number of this node, from 1' },
  images: { env: 'WEFT_IMAGES', flag: '--images', type: 'text', default: '{}', help: 'JSON object: image name to directory' },
  hasCni: { env: 'WEFT_CNI', flag: '--cni', type: 'switch', default: true, help: "pods start only after the node's agent has taken them" },
  log: { env: 'WEFT_LOG', flag: '--log', type: 'text', default: 'info', help: 'LEVEL or LEVEL,area=LEVEL,…' },
} as const satisfies Record<string, SettingRow>

/** The values. */
export type KubeletSettings = Settings<typeof SETTINGS>

/** Reads the settings; every fault at once. */
export function readSettings(args: readonly string[], env: Readonly<Record<string, string | undefined>>): ParsedSettings<typeof SETTINGS> {
  return parseSettings(SETTINGS, args, env)
}
