// Faults laid over random routes, asked with random requests: a request meets the rule that it met before, with the fault of the
// first entry that takes it; where that is said not to be in force, with the fault of none or of an entry before it.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { describe, it } from 'mocha'
import { plainRule } from '../../controlplane/translate/istio/entry.ts'
import { EVERYTHING } from '../../controlplane/translate/istio/matches.ts'
import { overlay } from '../../controlplane/translate/istio/overlay.ts'
import type { OverlayEntry } from '../../controlplane/translate/istio/virtual-service.ts'
import type { RequestHead } from '../../model/http.ts'
import type { Listener, NamedMatch, PathMatch, Route, RouteMatch, TextMatch } from '../../model/route.ts'
import { rewriteRequest } from '../../policy/http/filter.ts'
import { RouteTable } from '../../policy/http/table.ts'

const TIME_LIMIT_MS = 20_000
const SOURCE = { namespace: 'web', app: 'a', version: 'v' }

const text = fc.constantFrom('/', '/a', '/a/', '/a/b', '/ab', '/A', '/b', '/a/b/c')
const path = fc.oneof(
  fc.record({ kind: fc.constantFrom<PathMatch['kind']>('exact', 'prefix', 'textPrefix'), value: text, ignoresCase: fc.boolean() }),
  fc.record({
    kind: fc.constant<PathMatch['kind']>('regex'),
    value: fc.constantFrom('/a.*', '/.*b', '/a/b'),
    ignoresCase: fc.constant(false),
  }),
)
const value = fc.constantFrom('x', 'xy', 'y')
const textMatch: fc.Arbitrary<TextMatch> = fc.oneof(
  fc.record({ kind: fc.constantFrom('exact' as const, 'prefix' as const), value }),
  fc.constant({ kind: 'regex' as const, value: 'x.?' }),
  fc.constant({ kind: 'present' as const }),
)
const headers: fc.Arbitrary<NamedMatch[]> = fc.uniqueArray(
  fc.record({ name: fc.constantFrom('h', 'i'), match: textMatch, isInverted: fc.boolean() }),
  { maxLength: 2, selector: ({ name, isInverted }) => `${name} ${isInverted}` },
)
const match = fc
  .record({
    path: fc.option(path, { nil: undefined }),
    headers,
    sourceNamespace: fc.option(fc.constantFrom('web', 'other'), { nil: undefined, freq: 8 }),
  })
  .map((parts): RouteMatch => ({ ...EVERYTHING, ...parts }))
const entries: fc.Arbitrary<OverlayEntry[]> = fc
  .array(fc.array(match, { minLength: 1, maxLength: 2 }), { maxLength: 3 })
  .map((lists) => lists.map((matches, i) => ({ matches, fault: { delay: { fixedMs: i + 1, percent: 100 }, abort: undefined } })))
const requests = fc.array(
  fc.record({ path: text, h: fc.option(value, { nil: undefined }), i: fc.option(value, { nil: undefined }) }).map(
    ({ path: target, h, i }): RequestHead => ({
      version: 'HTTP/1.1',
      method: 'GET',
      scheme: 'http',
      authority: 'cart',
      path: target,
      query: undefined,
      headers: [...(h === undefined ? [] : [['h', h] as const]), ...(i === undefined ? [] : [['i', i] as const])],
      upgrade: undefined,
    }),
  ),
  { minLength: 1, maxLength: 8 },
)

/** Rules that tell routes apart and rewrite what was matched as a prefix. */
function routesOf(matches: readonly RouteMatch[]): Route[] {
  return matches.map((each, i) => {
    const rule = plainRule({ kind: 'invalid', reason: String(i), weight: 1, filters: [] })
    const prefix = each.path?.kind === 'prefix' || each.path?.kind === 'textPrefix' ? each.path.value : undefined
    const rewrite = { kind: 'rewrite', hostname: undefined, path: { kind: 'prefix', prefix: prefix ?? '/', value: '/n' } } as const
    return { name: `r${i}`, match: each, rule: prefix === undefined ? rule : { ...rule, filters: [rewrite] } }
  })
}

function tableOf(routes: readonly Route[]): RouteTable {
  const listener: Listener = {
    name: 'a/a/a/a/80',
    gateway: 'a/a',
    service: 'a/a',
    port: 80,
    protocol: 'HTTP',
    routes,
    consumerRoutes: new Map(),
    rateLimits: [],
    authorization: [],
    isGrpcOnly: false,
  }
  return new RouteTable(listener)
}

function takes({ matches }: OverlayEntry, request: RequestHead): boolean {
  return tableOf(routesOf(matches)).select(request, SOURCE) !== undefined
}

function rewritten(route: Route, request: RequestHead): string {
  const [filter] = route.rule.filters
  return filter?.kind === 'rewrite' ? rewriteRequest(request, filter, route.match).path : request.path
}

describe('fuzz: faults laid over routes', function () {
  this.timeout(5 * TIME_LIMIT_MS)

  it('changes nothing but the fault', () => {
    fc.assert(
      fc.property(fc.array(match, { minLength: 1, maxLength: 4 }), entries, requests, (matches, faults, heads) => {
        const routes = routesOf(matches)
        const made = overlay(routes, faults, 1000)
        assert.ok(made)
        const [before, after] = [tableOf(routes), tableOf(made.routes)]
        for (const head of heads) {
          const [old, now] = [before.select(head, SOURCE), after.select(head, SOURCE)]
          assert.equal(now?.name, old?.name)
          if (old === undefined || now === undefined) continue
          assert.equal(rewritten(now, head), rewritten(old, head))
          const fault = faults.find((entry) => takes(entry, head))?.fault
          if (!made.missed.includes(old.name)) assert.deepEqual(now.rule.fault, fault)
          else if (now.rule.fault !== undefined) assert.deepEqual(now.rule.fault, fault)
        }
      }),
      { numRuns: 20_000, interruptAfterTimeLimit: TIME_LIMIT_MS },
    )
  })
})
