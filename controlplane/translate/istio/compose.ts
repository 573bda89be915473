// One listener and the VirtualServices bound to it -> the listener with their routes and faults. HTTPRoutes come first: where
// there are any, a VirtualService only adds faults. Of several VirtualServices for the same callers the first counts.
import type { IstioHttpRoute } from '../../../model/istio-networking.ts'
import type { Listener, Route } from '../../../model/route.ts'
import { MESSAGE_LIMIT_BYTES } from '../../../proto/wire.ts'
import { encodeListener } from '../../../xds/resource/listener.ts'
import type { MeshNames } from '../mesh.ts'
import { readbackFault } from '../gateway/readback.ts'
import type { DestinationLookup } from './destinations.ts'
import { plainRule } from './entry.ts'
import { fullHost } from './hosts.ts'
import { EVERYTHING } from './matches.ts'
import type { EntryNotes } from './notes.ts'
import { overlay } from './overlay.ts'
import { hasOnly, overlayOf, type ParsedVirtualService, routesOf } from './virtual-service.ts'

/** A VirtualService on a service. */
export interface Claim {
  readonly parsed: ParsedVirtualService
  /** Whose requests it is about; undefined = everybody's. */
  readonly callers: string | undefined
}

/** What became of a claim on one port. */
export interface ClaimVerdict {
  readonly notes: readonly EntryNotes[]
  /** What of it is not in force for a reason outside of it. */
  readonly conflict: string | undefined
  /** Nothing of it is in force here. */
  readonly isRefused: boolean
  /** None of it is about this port. */
  readonly isEmpty: boolean
  /** Names of routes that its faults could not be laid over. */
  readonly missed: readonly string[]
}

/** A listener with what was added. */
export interface Composed {
  readonly listener: Listener
  readonly verdicts: ReadonlyMap<ParsedVirtualService, ClaimVerdict>
}

/** What is composed with. */
export interface ComposeContext {
  readonly names: MeshNames
  readonly destinations: DestinationLookup
}

/** What the VirtualServices of one table may take; with what HTTPRoutes may take it stays below what proxies read. */
const PRODUCER_LIMIT = { routes: 4096, bytes: 1024 * 1024 }
const CONSUMER_LIMIT = { routes: 512, bytes: 64 * 1024 }
/** Namespaces whose own VirtualServices replace routes; further ones have none. */
const MAX_CONSUMERS = 16

/** @param claims in order of precedence */
export function compose(base: Listener, claims: readonly Claim[], context: ComposeContext): Composed {
  const verdicts = new Map<ParsedVirtualService, ClaimVerdict>()
  const table = new Table(base, context, verdicts)
  const own = claims.filter(({ callers }) => callers === undefined).map(({ parsed }) => parsed)
  const routes = own.length === 0 ? base.routes : table.fill(base.routes, base.routes, own, PRODUCER_LIMIT)
  const consumerRoutes = new Map(base.consumerRoutes)
  const consumers = new Set(claims.flatMap(({ callers }) => callers ?? []))
  for (const [index, namespace] of [...consumers].sort().entries()) {
    const list = claims.filter(({ callers }) => callers === namespace).map(({ parsed }) => parsed)
    const given = base.consumerRoutes.get(namespace)
    const limit = index < MAX_CONSUMERS ? CONSUMER_LIMIT : { routes: 0, bytes: 0 }
    const made = table.fill(given ?? base.routes, given ?? routes, list, limit)
    if (made !== (given ?? routes)) consumerRoutes.set(namespace, made)
  }
  const isSame = routes === base.routes && [...consumerRoutes].every(([key, value]) => base.consumerRoutes.get(key) === value)
  if (isSame) return { listener: base, verdicts }
  const listener = { ...base, routes, consumerRoutes }
  if (isReadable(listener)) return { listener, verdicts }
  // A listener that proxies do not read would take the service away from everybody.
  for (const { parsed } of claims) verdicts.set(parsed, { notes: [], conflict: TOO_MUCH, isRefused: true, isEmpty: false, missed: [] })
  return { listener: base, verdicts }
}

class Table {
  readonly #base: Listener
  readonly #context: ComposeContext
  readonly #verdicts: Map<ParsedVirtualService, ClaimVerdict>

  constructor(base: Listener, context: ComposeContext, verdicts: Map<ParsedVirtualService, ClaimVerdict>) {
    this.#base = base
    this.#context = context
    this.#verdicts = verdicts
  }

  /**
   * @param httpRoutes what HTTPRoutes say for these callers
   * @param under what faults are laid over when nothing else is said
   * @returns `under` itself when nothing was added
   */
  fill(httpRoutes: readonly Route[], under: readonly Route[], list: readonly ParsedVirtualService[], limit: Limit): readonly Route[] {
    if (httpRoutes.length > 0) {
      const isOver = (parsed: ParsedVirtualService): boolean => this.#overlay(parsed, parsed.isOverlay) !== undefined
      for (const parsed of list) if (!isOver(parsed)) this.#refuse(parsed, HTTP_ROUTES_FIRST)
      return this.#withFaults(under, list.filter(isOver), limit)
    }
    const routes = this.#withRoutes(
      list.filter(({ isOverlay }) => !isOverlay),
      limit,
    )
    const faults = list.filter(({ isOverlay }) => isOverlay)
    return this.#withFaults(routes ?? under, faults, limit)
  }

  /** Routes of the first that has any for this port; undefined = none has. */
  #withRoutes(list: readonly ParsedVirtualService[], limit: Limit): readonly Route[] | undefined {
    let winner: { readonly parsed: ParsedVirtualService; readonly routes: readonly Route[] } | undefined
    for (const parsed of list) {
      if (winner !== undefined) {
        this.#refuse(parsed, `VirtualService ${keyOf(winner.parsed)} comes first`)
        continue
      }
      const { routes, notes, problem } = routesOf(parsed, { ...this.#context, namespace: parsed.namespace, port: this.#base.port })
      const isFull = routes.length > limit.routes || JSON.stringify(parsed.spec.http ?? []).length > limit.bytes
      if (problem !== undefined || isFull) this.#refuse(parsed, problem ?? TOO_MUCH, notes)
      else this.#verdicts.set(parsed, { notes, conflict: undefined, isRefused: false, isEmpty: routes.length === 0, missed: [] })
      if (routes.length > 0 && !isFull) winner = { parsed, routes }
    }
    return winner?.routes
  }

  #withFaults(under: readonly Route[], list: readonly ParsedVirtualService[], limit: Limit): readonly Route[] {
    const [first, ...others] = list
    if (first === undefined) return under
    for (const parsed of others) this.#refuse(parsed, `the faults of VirtualService ${keyOf(first)} come first`)
    const faults = this.#overlay(first, first.isOverlay)
    const base = under.length > 0 ? under : [this.#itself(first)]
    const made = overlay(base, faults?.entries ?? [], base.length + limit.routes)
    if (made === undefined || readbackFault(made.routes) !== undefined) {
      this.#refuse(first, TOO_MUCH, faults?.notes)
      return under
    }
    const { missed } = made
    this.#verdicts.set(first, {
      notes: faults?.notes ?? [],
      conflict: undefined,
      isRefused: false,
      isEmpty: faults?.entries.length === 0,
      missed,
    })
    return isUnchanged(made.routes, base) ? under : made.routes
  }

  #overlay(parsed: ParsedVirtualService, isOnly: boolean): ReturnType<typeof overlayOf> {
    return overlayOf(parsed, (entry) => !isOnly && this.#isItself(entry, parsed), this.#base.port)
  }

  /** Whether the entry sends requests where they were going: to this port of this service. */
  #isItself(entry: IstioHttpRoute, { namespace }: ParsedVirtualService): boolean {
    const [only, second] = entry.route ?? []
    if (only === undefined || second !== undefined || only.headers !== undefined) return false
    const { host, port, subset } = only.destination
    const isHere = (port?.number ?? this.#base.port) === this.#base.port && (subset ?? '') === ''
    return isHere && this.#base.service.endsWith(`/${fullHost(host, namespace, this.#context.names)}`) && hasOnly(entry, SELF_FIELDS)
  }

  #itself({ namespace, name }: ParsedVirtualService): Route {
    const ref = { service: this.#base.service, port: this.#base.port, subset: undefined }
    const rule = plainRule({ kind: 'service', ref, weight: 1, filters: [] })
    return { name: `VirtualService/${namespace}/${name}/default`, match: EVERYTHING, rule }
  }

  #refuse(parsed: ParsedVirtualService, conflict: string, notes: readonly EntryNotes[] = []): void {
    this.#verdicts.set(parsed, { notes, conflict, isRefused: true, isEmpty: false, missed: [] })
  }
}

type Limit = typeof PRODUCER_LIMIT

const SELF_FIELDS = ['name', 'match', 'fault', 'route'] as const
const HTTP_ROUTES_FIRST = 'an HTTPRoute or GRPCRoute has the port, which comes first: only faults may be added to its routes'
const TOO_MUCH = 'it is larger than the room that VirtualServices have here'

function isReadable(listener: Listener): boolean {
  try {
    return encodeListener(listener).length <= MESSAGE_LIMIT_BYTES
  } catch {
    return false // a number beyond its wire type, of the service itself: the publisher says so
  }
}

function isUnchanged(routes: readonly Route[], before: readonly Route[]): boolean {
  return routes.length === before.length && routes.every((route, i) => route === before[i])
}

function keyOf({ namespace, name }: ParsedVirtualService): string {
  return `${namespace}/${name}`
}
