// The part of weft.gateway.v1.Listener that says which requests a route takes, wire <-> model. A match that cannot be read
// makes the whole listener unreadable: taken as "absent" it would match everything.
import { create, type MessageInitShape } from '@bufbuild/protobuf'
import type { NamedMatch, PathMatch, RouteMatch, TextMatch } from '../../model/route.ts'
import {
  type NamedMatch as WireNamed,
  type NamedMatchSchema,
  type PathMatch as WirePath,
  type PathMatchSchema,
  type RouteMatch as WireMatch,
  RouteMatchSchema,
  type TextMatch as WireText,
  type TextMatchSchema,
} from '../../proto/gateway_pb.ts'
import { type Faults, optional } from './check.ts'

const NAMED_LIMIT = 256
const LABELS_LIMIT = 64

/** Turns a decoded match into the model's; what is wrong is noted in `faults`, and then the value must not be used. */
export function matchFromWire(faults: Faults, field: string, wire: WireMatch | undefined): RouteMatch {
  if (wire === undefined) faults.note(field, 'is absent')
  const { path, method, authority, headers = [], query = [], sourceNamespace, sourceLabels = [] } = wire ?? {}
  return {
    path: optional(path, (it) => pathFromWire(faults, `${field}.path`, it)),
    method: optional(method, (it) => textFromWire(faults, `${field}.method`, it)),
    authority: optional(authority, (it) => textFromWire(faults, `${field}.authority`, it)),
    headers: namedFromWire(faults, `${field}.headers`, headers, (name) => faults.headerName(`${field}.headers`, name)),
    query: namedFromWire(faults, `${field}.query`, query, (name) => faults.value(`${field}.query`, name)),
    sourceNamespace: optional(sourceNamespace, (it) => faults.name(`${field}.source_namespace`, it)),
    sourceLabels: recordFromWire(
      faults,
      `${field}.source_labels`,
      faults.many(`${field}.source_labels`, sourceLabels, LABELS_LIMIT).map(({ key, value }) => [key, faults.text(field, value)]),
    ),
  }
}

/** The message of a match; labels sorted, so that equal matches have equal bytes. */
export function matchToWire(match: RouteMatch): WireMatch {
  const { path, method, authority, headers, query, sourceNamespace, sourceLabels } = match
  return create(RouteMatchSchema, {
    ...(path && { path: pathToWire(path) }),
    ...(method && { method: textToWire(method) }),
    ...(authority && { authority: textToWire(authority) }),
    headers: headers.map(namedToWire),
    query: query.map(namedToWire),
    ...(sourceNamespace !== undefined && { sourceNamespace }),
    sourceLabels: sortedEntries(sourceLabels).map(([key, value]) => ({ key, value })),
  })
}

/** A record of entries whose keys must be printable, different and no name of the language. */
export function recordFromWire<T>(faults: Faults, field: string, entries: readonly (readonly [string, T])[]): Record<string, T> {
  const seen = new Map<string, T>()
  for (const [key, value] of entries) {
    if (seen.has(key)) faults.note(field, 'a key comes twice')
    if (key === '' || key === '__proto__') faults.note(field, 'a key that cannot be used')
    else seen.set(faults.text(field, key), value)
  }
  return Object.fromEntries(seen)
}

/** Entries of a record or map, by key. */
export function sortedEntries<T>(record: Readonly<Record<string, T>>): [string, T][] {
  return Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1))
}

function pathFromWire(faults: Faults, field: string, { kind, ignoresCase }: WirePath): PathMatch {
  if (kind.case === undefined) {
    faults.note(field, 'no known kind of match')
    return { kind: 'exact', value: '', ignoresCase: false }
  }
  return { kind: kind.case, value: faults.value(field, kind.value), ignoresCase }
}

function pathToWire({ kind, value, ignoresCase }: PathMatch): MessageInitShape<typeof PathMatchSchema> {
  return { kind: { case: kind, value }, ignoresCase }
}

function textFromWire(faults: Faults, field: string, wire: WireText | undefined): TextMatch {
  const kind = wire?.kind
  switch (kind?.case) {
    case 'exact':
    case 'prefix':
    case 'regex':
      return { kind: kind.case, value: faults.value(field, kind.value) }
    case 'present':
      return { kind: 'present' }
    default:
      faults.note(field, 'no known kind of match')
      return { kind: 'exact', value: '' }
  }
}

function textToWire(match: TextMatch): MessageInitShape<typeof TextMatchSchema> {
  if (match.kind === 'present') return { kind: { case: 'present', value: {} } }
  return { kind: { case: match.kind, value: match.value } }
}

function namedFromWire(faults: Faults, field: string, list: readonly WireNamed[], nameOf: (name: string) => string): NamedMatch[] {
  return faults.many(field, list, NAMED_LIMIT).map(({ name, match, inverted }) => {
    if (name === '') faults.note(field, 'a match without a name')
    return { name: nameOf(name), match: textFromWire(faults, field, match), isInverted: inverted }
  })
}

function namedToWire({ name, match, isInverted }: NamedMatch): MessageInitShape<typeof NamedMatchSchema> {
  return { name, match: textToWire(match), inverted: isInverted }
}
