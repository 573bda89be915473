// Which rights an install needs, read from what it would send, and which of them the account lacks. The API server decides: it is
// asked one access review per right.
import { parseAllDocuments } from 'yaml'
import type { KindPath } from '../cluster/any-objects.ts'

/** One right. `namespace` undefined = the whole cluster. */
export interface Right {
  readonly verb: string
  readonly group: string
  readonly plural: string
  readonly namespace: string | undefined
}

/** An object as the chart renders it. */
export interface Rendered {
  readonly apiVersion?: string
  readonly kind?: string
  readonly metadata?: { readonly name?: string; readonly namespace?: string }
  readonly spec?: unknown
}

/** Made and kept by helm itself. */
const SECRETS = { group: '', plural: 'secrets' }
const VERBS = ['get', 'create', 'patch'] as const
const REMOVE_VERBS = ['get', 'delete'] as const

/** The objects of rendered YAML. */
export function readRendered(yaml: string): readonly Rendered[] {
  return parseAllDocuments(yaml)
    .map((document) => document.toJS() as Rendered | null)
    .filter((object) => object !== null && object.kind !== undefined) as Rendered[]
}

/** Each right once, sorted by where it applies. @param namespace of the release; helm keeps its Secrets there */
export function rightsFor(objects: readonly Rendered[], namespace: string, does: 'install' | 'uninstall'): readonly Right[] {
  const verbs = does === 'install' ? VERBS : REMOVE_VERBS
  const kinds = new Map<string, Omit<Right, 'verb'>>()
  const add = (kind: Omit<Right, 'verb'>): void => void kinds.set(`${kind.group}/${kind.plural}/${kind.namespace ?? ''}`, kind)
  add({ group: '', plural: 'namespaces', namespace: undefined })
  add({ ...SECRETS, namespace })
  for (const { apiVersion = 'v1', kind = '', metadata } of objects) {
    const group = apiVersion.includes('/') ? (apiVersion.split('/')[0] ?? '') : ''
    add({ group, plural: pluralOf(kind), namespace: metadata?.namespace })
  }
  return [...kinds.values()].flatMap((kind) => verbs.map((verb) => ({ verb, ...kind })))
}

/** @returns the rights of `rights` that are missing, as `create daemonsets.apps in namespace weft-system` */
export async function missingRights(
  rights: readonly Right[],
  may: (verb: string, kind: Omit<KindPath, 'version'>, namespace: string | undefined) => Promise<boolean>,
): Promise<string[]> {
  const answers = await Promise.all(
    rights.map(async (right) => ((await may(right.verb, right, right.namespace)) ? undefined : nameOf(right))),
  )
  return answers.filter((name) => name !== undefined)
}

function nameOf({ verb, group, plural, namespace }: Right): string {
  return `${verb} ${group === '' ? plural : `${plural}.${group}`}${namespace === undefined ? '' : ` in namespace ${namespace}`}`
}

/** Plural of a kind of the chart, as the API's paths have it. */
export function pluralOf(kind: string): string {
  const lower = kind.toLowerCase()
  if (/(s|x|ch|sh)$/.test(lower)) return `${lower}es`
  return /[^aeiou]y$/.test(lower) ? `${lower.slice(0, -1)}ies` : `${lower}s`
}
