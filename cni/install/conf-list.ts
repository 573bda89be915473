// Our entry in the container runtime's network configuration: pure text to text. The runtime takes the first file of its
// directory in the order of names; ours is the last plugin of that list, because it needs the results of all others.
// Follows containernetworking/cni:libcni/conf.go and istio/istio:cni/pkg/install/cniconfig.go.
import { faults, messageOf, type Result, success } from '../../kit/error.ts'

/** Type of our entry, and name of the binary. */
export const PLUGIN_TYPE = 'weft-cni'
/** Appended to the name of a single configuration that we made a list of; the runtime does not read such files. */
export const SAVED_SUFFIX = '.weft-saved'

/** What has to be written; undefined text = the file is right as it is. */
export interface ConfEdit {
  /** File to be written. */
  readonly name: string
  readonly text: string | undefined
  /** File to be put aside afterwards: it was made into the list. */
  readonly retired?: string
}

/** What kind of entry others have in the list: a mesh of the same purpose. */
export const ISTIO_PLUGIN_TYPE = 'istio-cni'

type Fields = Readonly<Record<string, unknown>>

/** Names of the files that the runtime reads, in its order. */
export function confFiles(names: readonly string[]): string[] {
  return names.filter((name) => /\.(conf|conflist|json)$/.test(name) && !name.startsWith('.')).sort()
}

/**
 * Puts our entry last, once. @param name of the file; a single configuration becomes a list beside it
 * @returns every fault of a file that the runtime could not use either
 */
export function insertPlugin(name: string, text: string): Result<ConfEdit> {
  const parsed = parseList(name, text)
  if (!parsed.ok) return parsed
  const { list, plugins } = parsed.value
  const others = plugins.filter((plugin) => plugin.type !== PLUGIN_TYPE)
  if (others.length === 0) return faults('no plugin but ours')
  const target = name.endsWith('.conflist') ? name : `${name.slice(0, name.lastIndexOf('.'))}.conflist`
  const isRight = target === name && others.length === plugins.length - 1 && plugins.at(-1)?.type === PLUGIN_TYPE
  if (isRight) return success({ name, text: undefined })
  const edited = format({ ...list, plugins: [...others, { type: PLUGIN_TYPE }] })
  return success({ name: target, text: edited, ...(target === name ? {} : { retired: name }) })
}

/** Takes our entry out. @returns undefined = it is not there, or the file is not readable as a list */
export function removePlugin(name: string, text: string): string | undefined {
  const parsed = parseList(name, text)
  if (!parsed.ok) return undefined
  const { list, plugins } = parsed.value
  const others = plugins.filter((plugin) => plugin.type !== PLUGIN_TYPE)
  return others.length === plugins.length ? undefined : format({ ...list, plugins: others })
}

/** Types of the plugins of a file, in order; empty when it is not readable. */
export function pluginTypes(name: string, text: string): string[] {
  const parsed = parseList(name, text)
  return parsed.ok ? parsed.value.plugins.map((plugin) => String(plugin.type)) : []
}

function parseList(name: string, text: string): Result<{ list: Fields; plugins: readonly Fields[] }> {
  let raw: unknown
  try {
    raw = JSON.parse(text)
  } catch (error) {
    return faults(`not JSON: ${messageOf(error)}`)
  }
  if (!isFields(raw)) return faults('not a JSON object')
  if (typeof raw.name !== 'string' || raw.name === '') return faults('name: missing')
  if (typeof raw.cniVersion !== 'string' || /^0\.[0-2]\./.test(raw.cniVersion))
    return faults('cniVersion: at least 0.3.0 is needed for chaining')
  const { plugins } = raw
  if (name.endsWith('.conflist')) {
    const isUsable =
      Array.isArray(plugins) && plugins.length > 0 && plugins.every((plugin) => isFields(plugin) && typeof plugin.type === 'string')
    return isUsable ? success({ list: raw, plugins: plugins as readonly Fields[] }) : faults('plugins: not a list of plugins')
  }
  if (typeof raw.type !== 'string') return faults('type: missing')
  const { cniVersion, name: network, ...plugin } = raw
  return success({ list: { cniVersion, name: network }, plugins: [plugin] })
}

function isFields(raw: unknown): raw is Fields {
  return typeof raw === 'object' && raw !== null && !Array.isArray(raw)
}

function format(list: Fields): string {
  return `${JSON.stringify(list, undefined, 2)}\n`
}
