// The routes of one listener, compiled: which one takes a request. One linear pass in order of precedence, in which routes
// with another exact path are never looked at; nothing is allocated for a request that no route takes.
import type { RequestHead } from '../../model/http.ts'
import type { Listener, Route } from '../../model/route.ts'
import { CompiledMatch, Lookup } from './match.ts'
import { usableRule } from './usable.ts'

/** What is known of the caller; empty = unknown. `app` and `version` are its canonical name and revision. */
export interface RouteSource {
  readonly namespace: string
  readonly app: string
  readonly version: string
}

interface Entry {
  readonly route: Route
  readonly match: CompiledMatch
  /** Place in the order of precedence. */
  readonly index: number
  readonly hasSource: boolean
}

interface Routes {
  readonly isEmpty: boolean
  /** Routes that demand exactly this path, in order. */
  readonly exact: ReadonlyMap<string, readonly Entry[]>
  /** All others, in order. */
  readonly open: readonly Entry[]
}

const NO_ENTRIES: readonly Entry[] = []

/**
 * A compiled listener. Never throws: a regex that cannot be compiled makes its match match nothing, and a rule that must not
 * be carried out (usable.ts) answers 500 in place of what it says.
 */
export class RouteTable {
  readonly #producer: Routes
  readonly #consumers: ReadonlyMap<string, Routes>
  readonly #lookup = new Lookup()

  constructor(listener: Listener) {
    this.#producer = compile(listener.routes, this.#lookup)
    this.#consumers = new Map([...listener.consumerRoutes].map(([namespace, routes]) => [namespace, compile(routes, this.#lookup)]))
  }

  /** Whether there is no route for any caller. */
  get isEmpty(): boolean {
    if (!this.#producer.isEmpty) return false
    for (const routes of this.#consumers.values()) if (!routes.isEmpty) return false
    return true
  }

  /** Whether there is no route for this caller: its requests go to the service itself. */
  isEmptyFor(source: RouteSource): boolean {
    return this.#routesOf(source).isEmpty
  }

  /** @returns the first route that takes the request; undefined = none does, though the caller has routes (404) */
  select(request: RequestHead, source: RouteSource): Route | undefined {
    this.#lookup.begin(request)
    const { exact, open } = this.#routesOf(source)
    const same = exact.get(request.path) ?? NO_ENTRIES
    let at = 0
    for (const entry of open) {
      for (let other = same[at]; other !== undefined && other.index < entry.index; other = same[++at])
        if (takes(other, source) && other.match.matchesRest(request)) return other.route
      if (takes(entry, source) && entry.match.matches(request)) return entry.route
    }
    for (let other = same[at]; other !== undefined; other = same[++at])
      if (takes(other, source) && other.match.matchesRest(request)) return other.route
    return undefined
  }

  #routesOf(source: RouteSource): Routes {
    return this.#consumers.get(source.namespace) ?? this.#producer
  }
}

function compile(list: readonly Route[], lookup: Lookup): Routes {
  const exact = new Map<string, Entry[]>()
  const open: Entry[] = []
  for (const [index, route] of list.entries()) {
    const match = new CompiledMatch(route.match, lookup)
    const { sourceNamespace, sourceLabels } = route.match
    const hasSource = sourceNamespace !== undefined || Object.keys(sourceLabels).length > 0
    const entry: Entry = { route: withUsableRule(route), match, index, hasSource }
    if (match.exactPath === undefined) open.push(entry)
    else {
      const same = exact.get(match.exactPath)
      if (same === undefined) exact.set(match.exactPath, [entry])
      else same.push(entry)
    }
  }
  return { isEmpty: list.length === 0, exact, open }
}

function withUsableRule(route: Route): Route {
  const rule = usableRule(route.rule)
  return rule === route.rule ? route : { ...route, rule }
}

/** Labels other than `app` and `version` are not known of any caller: a match that asks for one takes nothing. */
function takes({ hasSource, route }: Entry, source: RouteSource): boolean {
  if (!hasSource) return true
  const { sourceNamespace, sourceLabels } = route.match
  if (sourceNamespace !== undefined && sourceNamespace !== source.namespace) return false
  for (const label in sourceLabels) {
    const value = label === 'app' ? source.app : label === 'version' ? source.version : undefined
    if (value !== sourceLabels[label]) return false
  }
  return true
}
