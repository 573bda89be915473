// The filters of weft.gateway.v1.Listener, wire <-> model. What they write on the wire (headers, hosts, paths) must not carry
// line breaks or other control characters: it could smuggle a second request.
import { create, type MessageInitShape } from '@bufbuild/protobuf'
import type { HeaderField } from '../../model/http.ts'
import type { BackendRef, CorsPolicy, HeaderEdits, PathRewrite, RouteFilter } from '../../model/route.ts'
import {
  type BackendRef as WireRef,
  type BackendRefSchema,
  type CorsPolicy as WireCors,
  type Filter as WireFilter,
  FilterSchema,
  type Header,
  type HeaderEdits as WireEdits,
  type HeaderEditsSchema,
  type Mirror as WireMirror,
  type PathRewrite as WireRewritePath,
  type PathRewriteSchema,
  type Redirect as WireRedirect,
  RedirectScheme,
} from '../../proto/gateway_pb.ts'
import { type Faults, optional } from './check.ts'
import { numberOf } from './gateway.ts'

const FILTERS_LIMIT = 64
const HEADERS_LIMIT = 256
const ORIGINS_LIMIT = 256

const SCHEMES = {
  [RedirectScheme.SAME_SCHEME]: 'same',
  [RedirectScheme.SCHEME_HTTP]: 'http',
  [RedirectScheme.SCHEME_HTTPS]: 'https',
} as const

/** Turns decoded filters into the model's, in their order; what is wrong is noted in `faults`. */
export function filtersFromWire(faults: Faults, field: string, list: readonly WireFilter[]): RouteFilter[] {
  return faults
    .many(field, list, FILTERS_LIMIT)
    .map((wire) => filterFromWire(faults, field, wire))
    .filter((filter) => filter !== undefined)
}

/** The message of a filter. */
export function filterToWire(filter: RouteFilter): WireFilter {
  return create(FilterSchema, { kind: kindToWire(filter) })
}

/** A reference to a port of a service; what is wrong or absent is noted in `faults`. */
export function backendRefFromWire(faults: Faults, field: string, wire: WireRef | undefined): BackendRef {
  if (wire === undefined) faults.note(field, 'is absent')
  return {
    service: faults.serviceKey(`${field}.service`, wire?.service ?? ''),
    port: faults.port(`${field}.port`, wire?.port ?? 0),
    subset: optional(wire?.subset, (it) => faults.text(`${field}.subset`, it)),
  }
}

/** The message of a reference. */
export function backendRefToWire({ service, port, subset }: BackendRef): MessageInitShape<typeof BackendRefSchema> {
  return { service, port, ...(subset !== undefined && { subset }) }
}

function filterFromWire(faults: Faults, field: string, { kind }: WireFilter): RouteFilter | undefined {
  switch (kind.case) {
    case 'requestHeaders':
    case 'responseHeaders':
      return { kind: kind.case, edits: editsFromWire(faults, `${field}.headers`, kind.value) }
    case 'redirect':
      return redirectFromWire(faults, `${field}.redirect`, kind.value)
    case 'rewrite': {
      const { hostname, path } = kind.value
      return {
        kind: 'rewrite',
        hostname: optional(hostname, (it) => hostFromWire(faults, `${field}.rewrite.hostname`, it)),
        path: optional(path, (it) => rewriteFromWire(faults, `${field}.rewrite.path`, it)),
      }
    }
    case 'mirror':
      return mirrorFromWire(faults, `${field}.mirror`, kind.value)
    case 'cors':
      return { kind: 'cors', policy: corsFromWire(faults, `${field}.cors`, kind.value) }
    default:
      // Without it requests would go on as if it had not been asked for.
      faults.note(field, 'no known kind of filter')
      return undefined
  }
}

function kindToWire(filter: RouteFilter): NonNullable<MessageInitShape<typeof FilterSchema>['kind']> {
  switch (filter.kind) {
    case 'requestHeaders':
    case 'responseHeaders':
      return { case: filter.kind, value: editsToWire(filter.edits) }
    case 'redirect': {
      const { scheme, hostname, port, path, status } = filter
      const value = {
        scheme: numberOf(SCHEMES, scheme ?? 'same'),
        ...(hostname !== undefined && { hostname }),
        ...(port !== undefined && { port }),
        ...(path && { path: rewriteToWire(path) }),
        status,
      }
      return { case: 'redirect', value }
    }
    case 'rewrite': {
      const { hostname, path } = filter
      return { case: 'rewrite', value: { ...(hostname !== undefined && { hostname }), ...(path && { path: rewriteToWire(path) }) } }
    }
    case 'mirror': {
      const { backend, numerator, denominator } = filter.mirror
      return { case: 'mirror', value: { backend: backendRefToWire(backend), numerator, denominator } }
    }
    case 'cors':
      return { case: 'cors', value: corsToWire(filter.policy) }
  }
}

function editsFromWire(faults: Faults, field: string, wire: WireEdits): HeaderEdits {
  const fields = (list: readonly Header[]): HeaderField[] =>
    faults.many(field, list, HEADERS_LIMIT).map(({ name, value }) => [faults.headerName(field, name), faults.headerValue(field, value)])
  return {
    set: fields(wire.set),
    add: fields(wire.add),
    remove: faults.many(field, wire.remove, HEADERS_LIMIT).map((name) => faults.headerName(field, name)),
  }
}

function editsToWire({ set, add, remove }: HeaderEdits): MessageInitShape<typeof HeaderEditsSchema> {
  const headers = (list: readonly HeaderField[]) => list.map(([name, value]) => ({ name, value }))
  return { set: headers(set), add: headers(add), remove: [...remove] }
}

function redirectFromWire(faults: Faults, field: string, wire: WireRedirect): RouteFilter {
  const scheme = faults.choice(`${field}.scheme`, wire.scheme, SCHEMES, 'same')
  return {
    kind: 'redirect',
    scheme: scheme === 'same' ? undefined : scheme,
    hostname: optional(wire.hostname, (it) => hostFromWire(faults, `${field}.hostname`, it)),
    port: optional(wire.port, (it) => faults.port(`${field}.port`, it)),
    path: optional(wire.path, (it) => rewriteFromWire(faults, `${field}.path`, it)),
    status: faults.amount(`${field}.status`, wire.status, { least: 300, most: 399 }),
  }
}

/** What is written as an authority: a host, perhaps with a port. */
function hostFromWire(faults: Faults, field: string, value: string): string {
  if (!/^[A-Za-z0-9._~:[\]-]+$/.test(value)) faults.note(field, 'is not a host name')
  return faults.text(field, value)
}

function rewriteFromWire(faults: Faults, field: string, { kind }: WireRewritePath): PathRewrite {
  switch (kind.case) {
    case 'full':
      return { kind: 'full', value: faults.text(field, kind.value) }
    case 'prefix':
      return { kind: 'prefix', prefix: faults.value(field, kind.value.prefix), value: faults.text(field, kind.value.value) }
    case 'regex': {
      const { pattern, substitution } = kind.value
      return { kind: 'regex', pattern: faults.value(field, pattern), substitution: faults.text(field, substitution) }
    }
    default:
      faults.note(field, 'no known kind of rewrite')
      return { kind: 'full', value: '' }
  }
}

function rewriteToWire(path: PathRewrite): MessageInitShape<typeof PathRewriteSchema> {
  switch (path.kind) {
    case 'full':
      return { kind: { case: 'full', value: path.value } }
    case 'prefix':
      return { kind: { case: 'prefix', value: { prefix: path.prefix, value: path.value } } }
    case 'regex':
      return { kind: { case: 'regex', value: { pattern: path.pattern, substitution: path.substitution } } }
  }
}

function mirrorFromWire(faults: Faults, field: string, wire: WireMirror): RouteFilter {
  const { numerator, denominator } = wire
  if (denominator === 0) faults.note(field, 'a share of 0 parts')
  return { kind: 'mirror', mirror: { backend: backendRefFromWire(faults, `${field}.backend`, wire.backend), numerator, denominator } }
}

function corsFromWire(faults: Faults, field: string, wire: WireCors): CorsPolicy {
  const texts = (name: string, list: readonly string[]): string[] =>
    faults.many(`${field}.${name}`, list, ORIGINS_LIMIT).map((text) => faults.text(`${field}.${name}`, text))
  return {
    allowOrigins: texts('allow_origins', wire.allowOrigins),
    allowMethods: texts('allow_methods', wire.allowMethods),
    allowHeaders: texts('allow_headers', wire.allowHeaders),
    exposeHeaders: texts('expose_headers', wire.exposeHeaders),
    allowCredentials: wire.allowCredentials,
    maxAgeSeconds: faults.amount(`${field}.max_age_seconds`, wire.maxAgeSeconds),
  }
}

function corsToWire(policy: CorsPolicy) {
  return {
    allowOrigins: [...policy.allowOrigins],
    allowMethods: [...policy.allowMethods],
    allowHeaders: [...policy.allowHeaders],
    exposeHeaders: [...policy.exposeHeaders],
    allowCredentials: policy.allowCredentials,
    maxAgeSeconds: policy.maxAgeSeconds,
  }
}
