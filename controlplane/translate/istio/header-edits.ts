// Edits of headers in VirtualServices -> filters. As in Istio a new `Host` is a rewrite of the authority.
import type { IstioHeaderOperations, IstioHeaders } from '../../../model/istio-networking.ts'
import type { HeaderField } from '../../../model/http.ts'
import type { HeaderEdits, RouteFilter } from '../../../model/route.ts'
import { problemOfFilters } from '../../../policy/http/usable.ts'
import type { EntryNotes } from './notes.ts'

const HOSTS: ReadonlySet<string> = new Set(['host', ':authority'])

/** Filters for both directions; what proxies refuse breaks the entry. */
export function headerFilters(headers: IstioHeaders | undefined, field: string, notes: EntryNotes): RouteFilter[] {
  const filters: RouteFilter[] = []
  if (headers?.request !== undefined) {
    const host = hostIn(headers.request)
    if (host !== undefined) filters.push({ kind: 'rewrite', hostname: host, path: undefined })
    const edits = editsOf(headers.request, HOSTS, `${field}.request`, notes)
    if (!isEmpty(edits)) filters.push({ kind: 'requestHeaders', edits })
  }
  if (headers?.response !== undefined) {
    const edits = editsOf(headers.response, new Set(), `${field}.response`, notes)
    if (!isEmpty(edits)) filters.push({ kind: 'responseHeaders', edits })
  }
  const problem = problemOfFilters(filters)
  if (problem !== undefined) notes.break(field, problem)
  return filters
}

function hostIn({ set = {} }: IstioHeaderOperations): string | undefined {
  return Object.entries(set).find(([name]) => HOSTS.has(name.toLowerCase()))?.[1]
}

function editsOf(operations: IstioHeaderOperations, without: ReadonlySet<string>, field: string, notes: EntryNotes): HeaderEdits {
  const fieldsOf = (map: IstioHeaderOperations['set'], part: string): HeaderField[] =>
    Object.entries(map ?? {})
      .map(([name, value]): HeaderField => [name.toLowerCase(), plain(value, `${field}.${part}.${name}`, notes)])
      .filter(([name]) => part !== 'set' || !without.has(name))
  return {
    set: fieldsOf(operations.set, 'set'),
    add: fieldsOf(operations.add, 'add'),
    remove: (operations.remove ?? []).map((name) => name.toLowerCase()),
  }
}

/** `%…%` is a variable of Envoy's and `%%` a percent sign. */
function plain(value: string, field: string, notes: EntryNotes): string {
  if (value.replaceAll('%%', '').includes('%')) notes.break(field, 'variables (%…%) are not supported; a percent sign is %%')
  return value.replaceAll('%%', '%')
}

function isEmpty({ set, add, remove }: HeaderEdits): boolean {
  return set.length + add.length + remove.length === 0
}
