// Tables over one route on one service: what of it is in force, and what is said of it.
import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import type { MeshObject } from '../../model/object.ts'
import type { Route, RouteRule } from '../../model/route.ts'
import { route, SHOP, saidOf, translate } from './route-world.ts'

/** A backend that exists. */
export const BACKEND = { name: 'cart', port: 80 }
/** What BACKEND becomes. */
export const CART = {
  kind: 'service',
  ref: { service: 'shop/cart.shop.svc.cluster.local', port: 80, subset: undefined },
  weight: 1,
  filters: [],
}
/** What is said of a route without fault. */
export const GOOD = ['Accepted True Accepted: in force', 'ResolvedRefs True ResolvedRefs: all references are good'] as const
const LISTENER = 'shop/waypoint/shop/cart.shop.svc.cluster.local/80'

/** One row. */
export interface RouteRow {
  readonly name: string
  readonly kind?: 'GRPCRoute'
  readonly rules?: readonly object[]
  readonly more?: readonly MeshObject[]
  /** Taken from the routes in force, compared with `is`. */
  readonly want?: (routes: readonly Route[]) => unknown
  readonly is?: unknown
  /** Lines of status; GOOD when absent. */
  readonly says?: readonly (string | RegExp)[]
}

/** The first route. */
export function first(routes: readonly Route[]): Route {
  return routes[0] as Route
}

/** The rule of the first route. */
export function ruleOf(routes: readonly Route[]): RouteRule {
  return first(routes).rule
}

/** Rules with one filter. */
export function filter(settings: object): readonly object[] {
  return [{ filters: [settings], backendRefs: [BACKEND] }]
}

/** Kinds of backends per route; `invalid` answers 500. */
export function answers500(routes: readonly Route[]): unknown {
  return routes.map(({ rule }) => rule.backends.map(({ kind }) => kind))
}

/** Declares the tests. */
export function checkRows(suite: string, rows: readonly RouteRow[]): void {
  describe(suite, () => {
    for (const { name, kind = 'HTTPRoute', rules, more = [], want, is, says = GOOD } of rows) {
      it(name, () => {
        const translation = translate([...SHOP, ...more, route(kind, rules === undefined ? {} : { rules })])
        if (want !== undefined) assert.deepEqual(want(translation.listeners.get(LISTENER)?.routes ?? []), is)
        const lines = saidOf(translation)
        assert.equal(lines.length, says.length, lines.join('\n'))
        for (const [i, line] of lines.entries()) {
          const wanted = says[i] as string | RegExp
          if (typeof wanted === 'string') assert.equal(line, wanted)
          else assert.match(line, wanted)
          assert.ok(line.length < 2100, 'messages are bounded')
        }
      })
    }
  })
}
