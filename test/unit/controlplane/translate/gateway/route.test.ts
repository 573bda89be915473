// One route on one service: what of it is in force, and what is said. Rows by field of the API.
import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import type { MeshObject } from '../../../../../model/object.ts'
import type { Route } from '../../../../../model/route.ts'
import { route, saidOf, service, SHOP, translate } from '../../../../support/route-world.ts'

const LISTENER = 'shop/waypoint/shop/cart.shop.svc.cluster.local/80'
const BACKEND = { name: 'cart', port: 80 }
const GOOD = ['Accepted True Accepted: in force', 'ResolvedRefs True ResolvedRefs: all references are good']
const CART = { kind: 'service', ref: { service: 'shop/cart.shop.svc.cluster.local', port: 80, subset: undefined }, weight: 1, filters: [] }

interface Row {
  readonly name: string
  readonly kind?: 'GRPCRoute'
  readonly rules?: readonly object[]
  readonly more?: readonly MeshObject[]
  /** Checked against the routes in force. */
  readonly want?: (routes: readonly Route[]) => unknown
  readonly is?: unknown
  /** Lines of status, as expressions; GOOD when absent. */
  readonly says?: readonly (string | RegExp)[]
}

const first = (routes: readonly Route[]): Route => routes[0] as Route
const ruleOf = (routes: readonly Route[]) => first(routes).rule
const filter = (settings: object) => [{ filters: [settings], backendRefs: [BACKEND] }]
const answers500 = (routes: readonly Route[]): unknown => routes.map(({ rule }) => rule.backends.map(({ kind }) => kind))

const ROWS: readonly Row[] = [
  // matches
  {
    name: 'no rules: one for everything, without backends',
    want: (all) => all.map(({ match, rule }) => [match.path?.value, rule.backends]),
    is: [['/', []]],
  },
  {
    name: 'no matches: every path',
    rules: [{ backendRefs: [BACKEND] }],
    want: (all) => first(all).match.path,
    is: { kind: 'prefix', value: '/', ignoresCase: false },
  },
  {
    name: 'exact path',
    rules: [{ matches: [{ path: { type: 'Exact', value: '/a' } }] }],
    want: (all) => first(all).match.path,
    is: { kind: 'exact', value: '/a', ignoresCase: false },
  },
  {
    name: 'path type is a prefix by default',
    rules: [{ matches: [{ path: { value: '/a' } }] }],
    want: (all) => first(all).match.path?.kind,
    is: 'prefix',
  },
  {
    name: 'regex path',
    rules: [{ matches: [{ path: { type: 'RegularExpression', value: '/a+' } }] }],
    want: (all) => first(all).match.path,
    is: { kind: 'regex', value: '/a+', ignoresCase: false },
  },
  {
    name: 'method',
    rules: [{ matches: [{ method: 'POST' }] }],
    want: (all) => first(all).match.method,
    is: { kind: 'exact', value: 'POST' },
  },
  {
    name: 'headers in lower case, the first of one name',
    rules: [
      {
        matches: [
          {
            headers: [
              { name: 'X-A', value: '1' },
              { name: 'x-a', value: '2' },
              { name: 'b', type: 'RegularExpression', value: '.*' },
            ],
          },
        ],
      },
    ],
    want: (all) => first(all).match.headers.map(({ name, match }) => [name, match]),
    is: [
      ['x-a', { kind: 'exact', value: '1' }],
      ['b', { kind: 'regex', value: '.*' }],
    ],
  },
  {
    name: 'query parameters keep their case',
    rules: [
      {
        matches: [
          {
            queryParams: [
              { name: 'A', value: '1' },
              { name: 'a', value: '2' },
            ],
          },
        ],
      },
    ],
    want: (all) => first(all).match.query.map(({ name }) => name),
    is: ['A', 'a'],
  },
  {
    name: 'several matches share a rule',
    rules: [{ matches: [{ method: 'GET' }, { method: 'PUT' }], backendRefs: [BACKEND] }],
    want: (all) => all.length === 2 && all[0]?.rule === all[1]?.rule,
    is: true,
  },
  {
    name: 'a regex that is none drops its rule, the others stay',
    rules: [{ matches: [{ path: { type: 'RegularExpression', value: '(' } }] }, { backendRefs: [BACKEND] }],
    want: (all) => all.map(({ name }) => name),
    is: ['HTTPRoute/shop/r/1'],
    says: [
      'Accepted True Accepted: in force in part',
      /^ResolvedRefs True/,
      /^PartiallyInvalid True UnsupportedValue: Dropped Rule: not in force: rules\[0\]\.matches\[0\]\.path: regex "\(" is not RE2/,
    ],
  },
  {
    name: 'one match that cannot be read drops all of its rule',
    rules: [{ matches: [{ method: 'GET' }, { headers: [{ type: 'RegularExpression', name: 'a', value: '[' }] }], backendRefs: [BACKEND] }],
    want: (all) => all.length,
    is: 0,
    says: [/^Accepted False UnsupportedValue: not in force: rules\[0\]\.matches\[1\]\.headers\[0\]/, /^ResolvedRefs True/],
  },
  {
    name: 'a regex that repeats without end',
    rules: [{ matches: [{ path: { type: 'RegularExpression', value: '/(a{500}b{500}c{500})' } }] }],
    want: (all) => all.length,
    is: 0,
    says: [/repeats more than 1000 times/, /^ResolvedRefs/],
  },
  {
    name: 'look-behind is not RE2',
    rules: [{ matches: [{ path: { type: 'RegularExpression', value: '/(?<=a)b' } }] }],
    want: (all) => all.length,
    is: 0,
    says: [/is not RE2/, /^ResolvedRefs/],
  },
  // gRPC
  {
    name: 'gRPC: service and method',
    kind: 'GRPCRoute',
    rules: [{ matches: [{ method: { service: 'a.B', method: 'C' } }] }],
    want: (all) => first(all).match.path,
    is: { kind: 'exact', value: '/a.B/C', ignoresCase: false },
  },
  {
    name: 'gRPC: service',
    kind: 'GRPCRoute',
    rules: [{ matches: [{ method: { service: 'a.B' } }] }],
    want: (all) => first(all).match.path,
    is: { kind: 'textPrefix', value: '/a.B/', ignoresCase: false },
  },
  {
    name: 'gRPC: method',
    kind: 'GRPCRoute',
    rules: [{ matches: [{ method: { method: 'C' } }] }],
    want: (all) => first(all).match.path,
    is: { kind: 'regex', value: '/[^/]+/C', ignoresCase: false },
  },
  {
    name: 'gRPC: regexes',
    kind: 'GRPCRoute',
    rules: [{ matches: [{ method: { type: 'RegularExpression', service: 'a|b', method: 'C.*' } }] }],
    want: (all) => first(all).match.path?.value,
    is: '/(?:a|b)/C.*',
  },
  {
    name: 'gRPC: nothing given',
    kind: 'GRPCRoute',
    rules: [{ backendRefs: [BACKEND] }],
    want: (all) => [first(all).match.path, first(all).name],
    is: [undefined, 'GRPCRoute/shop/r/0'],
  },
  {
    name: 'gRPC: a redirect answers 500',
    kind: 'GRPCRoute',
    rules: filter({ type: 'RequestRedirect', requestRedirect: {} }),
    want: answers500,
    is: [['invalid']],
    says: [
      /^Accepted False UnsupportedValue: answered 500: rules\[0\]\.filters\[0\]: filter RequestRedirect is not supported in a GRPCRoute/,
      /^ResolvedRefs/,
    ],
  },
  // filters
  {
    name: 'request headers',
    rules: filter({
      type: 'RequestHeaderModifier',
      requestHeaderModifier: { set: [{ name: 'A', value: '1' }], add: [{ name: 'B', value: '2' }], remove: ['C'] },
    }),
    want: (all) => ruleOf(all).filters,
    is: [{ kind: 'requestHeaders', edits: { set: [['a', '1']], add: [['b', '2']], remove: ['c'] } }],
  },
  {
    name: 'response headers',
    rules: filter({ type: 'ResponseHeaderModifier', responseHeaderModifier: { remove: ['C'] } }),
    want: (all) => ruleOf(all).filters,
    is: [{ kind: 'responseHeaders', edits: { set: [], add: [], remove: ['c'] } }],
  },
  {
    name: 'a header that frames messages',
    rules: filter({ type: 'RequestHeaderModifier', requestHeaderModifier: { set: [{ name: 'Content-Length', value: '1' }] } }),
    want: answers500,
    is: [['invalid']],
    says: [/answered 500: rules\[0\]\.filters\[0\]: header content-length belongs to the proxy/, /^ResolvedRefs/],
  },
  {
    name: 'a header value with a line break',
    rules: filter({ type: 'RequestHeaderModifier', requestHeaderModifier: { set: [{ name: 'a', value: 'b\r\nc: d' }] } }),
    want: answers500,
    is: [['invalid']],
    says: [/answered 500/, /^ResolvedRefs/],
  },
  {
    name: 'redirect, with its defaults',
    rules: [{ filters: [{ type: 'RequestRedirect', requestRedirect: { scheme: 'https' } }] }],
    want: (all) => ruleOf(all).filters,
    is: [{ kind: 'redirect', scheme: 'https', hostname: undefined, port: undefined, path: undefined, status: 302 }],
  },
  {
    name: 'redirect with a full path and status',
    rules: [
      {
        filters: [
          {
            type: 'RequestRedirect',
            requestRedirect: { port: 8080, statusCode: 308, path: { type: 'ReplaceFullPath', replaceFullPath: '/x' } },
          },
        ],
      },
    ],
    want: (all) => ruleOf(all).filters,
    is: [{ kind: 'redirect', scheme: undefined, hostname: undefined, port: 8080, path: { kind: 'full', value: '/x' }, status: 308 }],
  },
  {
    name: 'rewrite of the matched prefix',
    rules: [
      {
        matches: [{ path: { value: '/v1' } }],
        filters: [
          { type: 'URLRewrite', urlRewrite: { hostname: 'a.example', path: { type: 'ReplacePrefixMatch', replacePrefixMatch: '/v2/' } } },
        ],
        backendRefs: [BACKEND],
      },
    ],
    want: (all) => ruleOf(all).filters,
    is: [{ kind: 'rewrite', hostname: 'a.example', path: { kind: 'prefix', prefix: '/v1', value: '/v2/' } }],
  },
  {
    name: 'a prefix cannot be replaced with two matches',
    rules: [
      {
        matches: [{ path: { value: '/a' } }, { path: { value: '/b' } }],
        filters: [{ type: 'URLRewrite', urlRewrite: { path: { type: 'ReplacePrefixMatch', replacePrefixMatch: '/' } } }],
      },
    ],
    want: answers500,
    is: [['invalid'], ['invalid']],
    says: [/ReplacePrefixMatch needs a rule with exactly one match, of type PathPrefix/, /^ResolvedRefs/],
  },
  {
    name: 'a path that leaves itself',
    rules: filter({ type: 'URLRewrite', urlRewrite: { path: { type: 'ReplaceFullPath', replaceFullPath: '/a/../b' } } }),
    want: answers500,
    is: [['invalid']],
    says: [/"\/a\/\.\.\/b" is no path/, /^ResolvedRefs/],
  },
  {
    name: 'mirrors: all, a percentage, a fraction',
    rules: [
      {
        filters: [{}, { percent: 5 }, { fraction: { numerator: 1, denominator: 3 } }].map((share) => ({
          type: 'RequestMirror',
          requestMirror: { backendRef: { name: 'cart-v2', port: 80 }, ...share },
        })),
        backendRefs: [BACKEND],
      },
    ],
    want: (all) =>
      ruleOf(all).filters.map((each) =>
        each.kind === 'mirror' ? [each.mirror.backend.service, each.mirror.numerator, each.mirror.denominator] : each,
      ),
    is: [
      ['shop/cart-v2.shop.svc.cluster.local', 100, 100],
      ['shop/cart-v2.shop.svc.cluster.local', 5, 100],
      ['shop/cart-v2.shop.svc.cluster.local', 1, 3],
    ],
  },
  {
    name: 'a mirror to nowhere is left out',
    rules: filter({ type: 'RequestMirror', requestMirror: { backendRef: { name: 'gone', port: 80 } } }),
    want: (all) => [ruleOf(all).filters, ruleOf(all).backends.map(({ kind }) => kind)],
    is: [[], ['service']],
    says: [
      GOOD[0] as string,
      /^ResolvedRefs False BackendNotFound: rules\[0\]\.filters\[0\]\.requestMirror\.backendRef: there is no Service shop\/gone/,
    ],
  },
  {
    name: 'CORS with its default age',
    rules: filter({
      type: 'CORS',
      cors: { allowOrigins: ['https://*.example.com'], allowMethods: ['GET'], allowHeaders: ['x-a'], allowCredentials: true },
    }),
    want: (all) => ruleOf(all).filters,
    is: [
      {
        kind: 'cors',
        policy: {
          allowOrigins: ['https://*.example.com'],
          allowMethods: ['GET'],
          allowHeaders: ['x-a'],
          exposeHeaders: [],
          allowCredentials: true,
          maxAgeSeconds: 5,
        },
      },
    ],
  },
  {
    name: 'an origin that is none',
    rules: filter({ type: 'CORS', cors: { allowOrigins: ['example.com'] } }),
    want: answers500,
    is: [['invalid']],
    says: [/"example\.com" is not an origin/, /^ResolvedRefs/],
  },
  {
    name: 'an extension is never skipped: its rule answers 500, the others stay',
    rules: [...filter({ type: 'ExtensionRef', extensionRef: { group: 'a.example', kind: 'Auth', name: 'x' } }), { backendRefs: [BACKEND] }],
    want: answers500,
    is: [['invalid'], ['service']],
    says: [
      /^Accepted True/,
      /^ResolvedRefs True/,
      /^PartiallyInvalid True UnsupportedValue: Dropped Rule: answered 500: rules\[0\]\.filters\[0\]: filter ExtensionRef is not supported/,
    ],
  },
  {
    name: 'external authorization is never skipped',
    rules: filter({ type: 'ExternalAuth', externalAuth: { protocol: 'HTTP' } }),
    want: answers500,
    is: [['invalid']],
    says: [/filter ExternalAuth is not supported/, /^ResolvedRefs/],
  },
  // backends
  {
    name: 'weights, 1 by default',
    rules: [{ backendRefs: [BACKEND, { name: 'cart-v2', port: 80, weight: 0 }] }],
    want: (all) => ruleOf(all).backends.map(({ weight }) => weight),
    is: [1, 0],
  },
  {
    name: 'a backend of another namespace needs no grant',
    rules: [{ backendRefs: [{ name: 'plain', namespace: 'bare', port: 80 }] }],
    want: (all) => ruleOf(all).backends[0],
    is: { ...CART, ref: { ...CART.ref, service: 'bare/plain.bare.svc.cluster.local' } },
  },
  {
    name: 'filters of a backend',
    rules: [{ backendRefs: [{ ...BACKEND, filters: [{ type: 'RequestHeaderModifier', requestHeaderModifier: { remove: ['a'] } }] }] }],
    want: (all) => ruleOf(all).backends[0]?.filters,
    is: [{ kind: 'requestHeaders', edits: { set: [], add: [], remove: ['a'] } }],
  },
  {
    name: 'no Service',
    rules: [{ backendRefs: [{ name: 'gone', port: 80, weight: 3 }, BACKEND] }],
    want: (all) => ruleOf(all).backends.map(({ kind, weight }) => [kind, weight]),
    is: [
      ['invalid', 3],
      ['service', 1],
    ],
    says: [
      GOOD[0] as string,
      /^ResolvedRefs False BackendNotFound: rules\[0\]\.backendRefs\[0\]: there is no Service shop\/gone: requests/,
    ],
  },
  {
    name: 'another kind',
    rules: [{ backendRefs: [{ group: 'a.example', kind: 'Bucket', name: 'b' }] }],
    want: answers500,
    is: [['invalid']],
    says: [GOOD[0] as string, /^ResolvedRefs False InvalidKind/],
  },
  {
    name: 'no such port',
    rules: [{ backendRefs: [{ name: 'cart', port: 81 }] }],
    want: answers500,
    is: [['invalid']],
    says: [GOOD[0] as string, /^ResolvedRefs False BackendNotFound: .*has no port 81/],
  },
  {
    name: 'a UDP port',
    rules: [{ backendRefs: [{ name: 'dns', port: 53 }] }],
    more: [service('shop', 'dns', [], { ports: [{ port: 53, protocol: 'UDP' }] })],
    want: answers500,
    is: [['invalid']],
    says: [GOOD[0] as string, /^ResolvedRefs False UnsupportedProtocol/],
  },
  {
    name: 'a name outside the mesh',
    rules: [{ backendRefs: [{ name: 'ext', port: 80 }] }],
    more: [service('shop', 'ext', ['http:80'], { type: 'ExternalName', externalName: 'a.example' })],
    want: answers500,
    is: [['invalid']],
    says: [GOOD[0] as string, /^ResolvedRefs False BackendNotFound: .*ExternalName/],
  },
  {
    name: 'several references: the first reason',
    rules: [
      {
        backendRefs: [
          { kind: 'X', name: 'b' },
          { name: 'gone', port: 1 },
        ],
      },
    ],
    says: [GOOD[0] as string, /^ResolvedRefs False InvalidKind: .*; .*there is no Service/],
  },
  // limits
  {
    name: 'timeouts',
    rules: [{ timeouts: { request: '1m1s', backendRequest: '500ms' } }],
    want: (all) => ruleOf(all).timeouts,
    is: { requestMs: 61_000, backendRequestMs: 500 },
  },
  {
    name: '0s is no timeout',
    rules: [{ timeouts: { request: '0s', backendRequest: '2s' } }],
    want: (all) => ruleOf(all).timeouts,
    is: { requestMs: undefined, backendRequestMs: 2000 },
  },
  {
    name: 'a try longer than the request',
    rules: [{ timeouts: { request: '1s', backendRequest: '2s' } }],
    want: answers500,
    is: [['invalid']],
    says: [/rules\[0\]\.timeouts\.backendRequest: is longer than request/, /^ResolvedRefs/],
  },
  {
    name: 'longer than a timer',
    rules: [{ timeouts: { request: '99999h' } }],
    want: answers500,
    is: [['invalid']],
    says: [/longer than 596 hours/, /^ResolvedRefs/],
  },
  { name: 'no retry stanza', rules: [{}], want: (all) => ruleOf(all).retry, is: undefined },
  {
    name: 'retry defaults',
    rules: [{ retry: {} }],
    want: (all) => ruleOf(all).retry,
    is: { attempts: 1, codes: [], conditions: ['connect-failure', 'refused-stream', 'reset'], backoffMs: 25, perTryMs: undefined },
  },
  {
    name: 'retry',
    rules: [{ retry: { attempts: 3, codes: [500, 503], backoff: '100ms' } }],
    want: (all) => [ruleOf(all).retry?.attempts, ruleOf(all).retry?.codes, ruleOf(all).retry?.backoffMs],
    is: [3, [500, 503], 100],
  },
  {
    name: 'too many retries',
    rules: [{ retry: { attempts: 11 } }],
    want: answers500,
    is: [['invalid']],
    says: [/more than 10 retries are not made/, /^ResolvedRefs/],
  },
  {
    name: 'session cookie',
    rules: [{ matches: [{ path: { value: '/a' } }], sessionPersistence: { cookie: { name: 'sid' } } }],
    want: (all) => ruleOf(all).sessionPersistence,
    is: { name: 'sid', kind: 'cookie', cookiePath: '/a', absoluteTimeoutSeconds: undefined },
  },
  {
    name: 'permanent cookie',
    rules: [{ name: 'main', sessionPersistence: { absoluteTimeout: '1h', cookie: { lifetimeType: 'Permanent' } } }],
    want: (all) => ruleOf(all).sessionPersistence,
    is: { name: 'weft-shop-r-main', kind: 'cookie', cookiePath: '/', absoluteTimeoutSeconds: 3600 },
  },
  {
    name: 'session in a header',
    rules: [{ sessionPersistence: { type: 'Header', header: { name: 'X-Session' } } }],
    want: (all) => ruleOf(all).sessionPersistence,
    is: { name: 'x-session', kind: 'header', cookiePath: '/', absoluteTimeoutSeconds: undefined },
  },
  {
    name: 'session of an older API',
    rules: [{ sessionPersistence: { sessionName: 'old', cookieConfig: { lifetimeType: 'Session' } } }],
    want: (all) => ruleOf(all).sessionPersistence?.name,
    is: 'old',
  },
  {
    name: 'idle timeout of a session',
    rules: [{ sessionPersistence: { idleTimeout: '1h' } }],
    want: answers500,
    is: [['invalid']],
    says: [/idleTimeout: is not supported/, /^ResolvedRefs/],
  },
  {
    name: 'a cookie that would set others',
    rules: [{ sessionPersistence: { cookie: { name: 'a; b' } } }],
    want: answers500,
    is: [['invalid']],
    says: [/"a; b" is not a name of a session/, /^ResolvedRefs/],
  },
  {
    name: 'rule names are in the name of the route',
    rules: [{ name: 'first' }, {}],
    want: (all) => all.map(({ name }) => name),
    is: ['HTTPRoute/shop/r/first', 'HTTPRoute/shop/r/1'],
  },
  // what the API would have refused
  {
    name: 'a weight below 0',
    rules: [{ backendRefs: [{ ...BACKEND, weight: -1 }] }],
    want: (all) => all.length,
    is: 0,
    says: [/^Accepted False UnsupportedValue: nothing is in force: spec\.rules\[0\]\.backendRefs\[0\]\.weight/, /^ResolvedRefs True/],
  },
  {
    name: 'a weight over 1,000,000',
    rules: [{ backendRefs: [{ ...BACKEND, weight: 1_000_001 }] }],
    want: (all) => all.length,
    is: 0,
    says: [/^Accepted False/, /^ResolvedRefs/],
  },
  {
    name: '17 rules',
    rules: Array.from({ length: 17 }, () => ({})),
    want: (all) => all.length,
    is: 0,
    says: [/^Accepted False/, /^ResolvedRefs/],
  },
  {
    name: '129 matches',
    rules: [64, 64, 1].map((length) => ({ matches: Array.from({ length }, () => ({})) })),
    want: (all) => all.length,
    is: 0,
    says: [/at most 128 matches/, /^ResolvedRefs/],
  },
  {
    name: '128 matches',
    rules: [64, 64].map((length) => ({ matches: Array.from({ length }, (_, i) => ({ path: { value: `/${i}` } })) })),
    want: (all) => all.length,
    is: 128,
  },
  {
    name: 'a duration that is none',
    rules: [{ timeouts: { request: 'soon' } }],
    want: (all) => all.length,
    is: 0,
    says: [/^Accepted False/, /^ResolvedRefs/],
  },
]

describe('controlplane/translate/gateway/route', () => {
  for (const { name, kind = 'HTTPRoute', rules, more = [], want, is, says = GOOD } of ROWS) {
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
