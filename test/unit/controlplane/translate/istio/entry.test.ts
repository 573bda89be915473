// HTTP entries of VirtualServices as a whole: destinations, filters, and what answers 500 or is left out.
import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import { type DestinationContext, DestinationLookup } from '../../../../../controlplane/translate/istio/destinations.ts'
import { HostTable } from '../../../../../controlplane/translate/host-table.ts'
import { entryRoutes } from '../../../../../controlplane/translate/istio/entry.ts'
import type { IstioHttpRoute } from '../../../../../model/istio-networking.ts'
import type { Route, RouteFilter, WeightedBackend } from '../../../../../model/route.ts'
import type { Service } from '../../../../../model/service.ts'
import { NAMES } from '../../../../support/fake-source.ts'
import { noted } from '../../../../support/istio-world.ts'

const CART = 'cart.shop.svc.cluster.local'

function meshService(name: string, namespace: string, ports: readonly number[]): Service {
  const hostname = `${name}.${namespace}.svc.cluster.local`
  const pairs = ports.map((port) => ({ servicePort: port, targetPort: port, appProtocol: 'HTTP11' as const }))
  return { name, namespace, hostname, ports: pairs } as unknown as Service
}

const WORLD = {
  hosts: new HostTable([meshService('cart', 'shop', [80, 81]), meshService('one', 'shop', [9000]), meshService('far', 'web', [80])]),
  subsets: new Map([[`shop/${CART}`, new Set(['v1'])]]),
}

function read(entry: IstioHttpRoute): { readonly value: readonly Route[]; readonly notes: readonly string[] } {
  return noted((own) => {
    const context: DestinationContext = { names: NAMES, namespace: 'shop', destinations: new DestinationLookup(WORLD), port: 80 }
    return entryRoutes(entry, 'r', context, own)
  })
}

const service = (key: string, port = 80, more: object = {}): WeightedBackend => ({
  weight: 1,
  filters: [],
  kind: 'service',
  ref: { service: key, port, subset: undefined },
  ...more,
})
const HOME = service(`shop/${CART}`)
const ROUTE = [{ destination: { host: 'cart' } }]

const DESTINATIONS: readonly { name: string; given: IstioHttpRoute['route']; want: readonly unknown[]; notes?: readonly RegExp[] }[] = [
  { name: 'short name', given: ROUTE, want: [HOME] },
  { name: 'full name in any case', given: [{ destination: { host: 'Cart.shop.svc.Cluster.local' } }], want: [HOME] },
  {
    name: 'another namespace',
    given: [{ destination: { host: 'far.web.svc.cluster.local' } }],
    want: [service('web/far.web.svc.cluster.local')],
  },
  {
    name: 'the only port of the service',
    given: [{ destination: { host: 'one' } }],
    want: [service('shop/one.shop.svc.cluster.local', 9000)],
  },
  { name: 'a port', given: [{ destination: { host: 'cart', port: { number: 81 } } }], want: [service(`shop/${CART}`, 81)] },
  {
    name: 'a subset',
    given: [{ destination: { host: 'cart', subset: 'v1' } }],
    want: [service(`shop/${CART}`, 80, { ref: { service: `shop/${CART}`, port: 80, subset: 'v1' } })],
  },
  { name: 'a lone destination of weight 0 takes all', given: [{ ...ROUTE[0]!, weight: 0 }], want: [HOME] },
  {
    name: 'shares',
    given: [{ ...ROUTE[0]!, weight: 75 }, { ...ROUTE[0]!, weight: 25 }, ROUTE[0]!],
    want: [
      { ...HOME, weight: 75 },
      { ...HOME, weight: 25 },
      { ...HOME, weight: 0 },
    ],
  },
  {
    name: 'shares without any weight',
    given: [ROUTE[0]!, ROUTE[0]!],
    want: [{ kind: 'invalid', weight: 1, filters: [], reason: '.route: no destination has a weight' }],
    notes: [/^broken route: no destination has a weight/],
  },
  {
    name: 'no such service',
    given: [{ destination: { host: 'none' } }],
    want: [
      {
        kind: 'invalid',
        weight: 1,
        filters: [],
        reason: '.route[0].destination: there is no service none.shop.svc.cluster.local in the mesh',
      },
    ],
    notes: [/^unresolved route\[0\]\.destination/],
  },
  {
    name: 'half a name',
    given: [{ destination: { host: 'cart.shop' } }],
    want: [
      {
        kind: 'invalid',
        weight: 1,
        filters: [],
        reason: '.route[0].destination: there is no service cart.shop in the mesh (a host with dots must be a full name)',
      },
    ],
    notes: [/must be a full name/],
  },
  {
    name: 'no such port keeps its share',
    given: [
      { ...ROUTE[0]!, weight: 1 },
      { destination: { host: 'cart', port: { number: 99 } }, weight: 3 },
    ],
    want: [HOME, { kind: 'invalid', weight: 3, filters: [], reason: `.route[1].destination: ${CART} has no TCP port 99` }],
    notes: [/no TCP port 99/],
  },
  {
    name: 'no such subset',
    given: [{ destination: { host: 'cart', subset: 'v9' } }],
    want: [
      { kind: 'invalid', weight: 1, filters: [], reason: `.route[0].destination: no DestinationRule in force for ${CART} has a subset v9` },
    ],
    notes: [/subset v9/],
  },
  {
    name: 'headers of one destination',
    given: [{ ...ROUTE[0]!, headers: { response: { set: { 'X-A': '1' } } } }],
    want: [{ ...HOME, filters: [{ kind: 'responseHeaders', edits: { set: [['x-a', '1']], add: [], remove: [] } }] }],
  },
]

const edits = (set: readonly [string, string][], add: readonly [string, string][] = [], remove: readonly string[] = []) => ({
  set,
  add,
  remove,
})
const TEXT = (value: string) => [{ uri: { prefix: value } }]
const rewrite = (path: object | undefined, hostname?: string): RouteFilter => ({ kind: 'rewrite', hostname, path }) as RouteFilter
const redirect = (more: object): RouteFilter =>
  ({ kind: 'redirect', scheme: undefined, hostname: undefined, port: undefined, path: undefined, status: 301, ...more }) as RouteFilter
const cors = (more: object): RouteFilter =>
  ({
    kind: 'cors',
    policy: { allowOrigins: [], allowMethods: [], allowHeaders: [], exposeHeaders: [], allowCredentials: false, maxAgeSeconds: 0, ...more },
  }) as RouteFilter
const mirror = (numerator: number): RouteFilter => ({
  kind: 'mirror',
  mirror: { backend: { service: 'shop/one.shop.svc.cluster.local', port: 9000, subset: undefined }, numerator, denominator: 1_000_000 },
})

/** `want` undefined = the entry answers 500. */
const FILTERS: readonly { name: string; given: IstioHttpRoute; want: readonly RouteFilter[] | undefined; notes?: readonly RegExp[] }[] = [
  {
    name: 'headers both ways',
    given: { route: ROUTE, headers: { request: { set: { A: '1' }, add: { b: '2' }, remove: ['C'] }, response: { remove: ['d'] } } },
    want: [
      { kind: 'requestHeaders', edits: edits([['a', '1']], [['b', '2']], ['c']) },
      { kind: 'responseHeaders', edits: edits([], [], ['d']) },
    ],
  },
  {
    name: 'a new host is a rewrite',
    given: { route: ROUTE, headers: { request: { set: { Host: 'x.example' } } } },
    want: [rewrite(undefined, 'x.example')],
  },
  {
    name: 'percent signs',
    given: { route: ROUTE, headers: { request: { set: { a: '5%%' } } } },
    want: [{ kind: 'requestHeaders', edits: edits([['a', '5%']]) }],
  },
  {
    name: 'variables of Envoy',
    given: { route: ROUTE, headers: { request: { set: { a: '%REQ(b)%' } } } },
    want: undefined,
    notes: [/^broken headers\.request\.set\.a: variables/],
  },
  {
    name: 'a header that belongs to the proxy',
    given: { route: ROUTE, headers: { request: { remove: ['x-weft-source'] } } },
    want: undefined,
    notes: [/^broken headers: header x-weft-source belongs/],
  },
  {
    name: 'a rewrite of a prefix',
    given: { match: TEXT('/a'), route: ROUTE, rewrite: { uri: '/b' } },
    want: [rewrite({ kind: 'prefix', prefix: '/a', value: '/b' })],
  },
  {
    name: 'a rewrite of an exact path',
    given: { match: [{ uri: { exact: '/a' } }], route: ROUTE, rewrite: { uri: '/b', authority: 'x' } },
    want: [rewrite({ kind: 'full', value: '/b' }, 'x')],
  },
  {
    name: 'a rewrite of what a regex matched',
    given: { match: [{ uri: { regex: '/a+' } }], route: ROUTE, rewrite: { uri: '/b' } },
    want: [rewrite({ kind: 'full', value: '/b' })],
  },
  {
    name: 'a rewrite of everything',
    given: { route: ROUTE, rewrite: { uri: '/b' } },
    want: [rewrite({ kind: 'prefix', prefix: '/', value: '/b' })],
  },
  {
    name: 'a rewrite by regex',
    given: { route: ROUTE, rewrite: { uriRegexRewrite: { match: '^/x/(.*)', rewrite: '/y/\\1' } } },
    want: [rewrite({ kind: 'regex', pattern: '^/x/(.*)', substitution: '/y/\\1' })],
  },
  {
    name: 'a group that is not there',
    given: { route: ROUTE, rewrite: { uriRegexRewrite: { match: '^/x', rewrite: '/y/\\2' } } },
    want: undefined,
    notes: [/^broken rewrite: .*group 2 of 0/],
  },
  {
    name: 'two rewrites of the path',
    given: { route: ROUTE, rewrite: { uri: '/b', uriRegexRewrite: { match: 'a', rewrite: 'b' } } },
    want: undefined,
    notes: [/^broken rewrite: only one/],
  },
  {
    name: 'a rewrite to what is no path',
    given: { route: ROUTE, rewrite: { uri: '/b?c' } },
    want: undefined,
    notes: [/^broken rewrite: .* is no path/],
  },
  {
    name: 'redirect',
    given: { redirect: { uri: '/b', authority: 'x', scheme: 'https', redirectCode: 308 } },
    want: [redirect({ scheme: 'https', hostname: 'x', path: { kind: 'full', value: '/b' }, status: 308 })],
  },
  { name: 'redirect to a port', given: { redirect: { port: 8080 } }, want: [redirect({ port: 8080 })] },
  {
    name: 'redirect to the port of the scheme',
    given: { redirect: { derivePort: 'FROM_PROTOCOL_DEFAULT', scheme: 'https' } },
    want: [redirect({ scheme: 'https', port: 443 })],
  },
  { name: 'redirect to the same port', given: { redirect: { derivePort: 'FROM_REQUEST_PORT' } }, want: [redirect({})] },
  {
    name: 'redirect of a prefix',
    given: { match: TEXT('/a'), redirect: { uri: '%PREFIX()%/b' } },
    want: [redirect({ path: { kind: 'prefix', prefix: '/a', value: '/b' } })],
  },
  {
    name: 'redirect with a status that is none',
    given: { redirect: { redirectCode: 200 } },
    want: undefined,
    notes: [/^broken redirect: redirect with status 200/],
  },
  { name: 'redirect to another scheme', given: { redirect: { scheme: 'ftp' } }, want: undefined, notes: [/^broken redirect\.scheme/] },
  { name: 'redirect and route', given: { redirect: {}, route: ROUTE }, want: undefined, notes: [/^broken redirect: must not be used/] },
  {
    name: 'directResponse',
    given: { directResponse: { status: 200 } },
    want: undefined,
    notes: [/^broken directResponse: is not supported/],
  },
  { name: 'delegate', given: { delegate: { name: 'x' } }, want: undefined, notes: [/^broken delegate: is not supported/] },
  { name: 'no action', given: { timeout: '1s' }, want: undefined, notes: [/^broken route: is absent/] },
  { name: 'a mirror', given: { route: ROUTE, mirror: { host: 'one' } }, want: [mirror(1_000_000)] },
  {
    name: 'mirrors with shares',
    given: {
      route: ROUTE,
      mirror: { host: 'one' },
      mirrorPercentage: { value: 0.1 },
      mirrors: [{ destination: { host: 'one' }, percentage: { value: 50 } }],
    },
    want: [mirror(1000), mirror(500_000)],
  },
  {
    name: 'a mirror that leads nowhere is left out',
    given: { route: ROUTE, mirror: { host: 'none' } },
    want: [],
    notes: [/^unresolved mirror/],
  },
  {
    name: 'CORS',
    given: {
      route: ROUTE,
      corsPolicy: {
        allowOrigins: [{ exact: 'https://a.example' }, { prefix: 'https://b.' }],
        allowMethods: ['GET'],
        allowHeaders: ['x-a'],
        exposeHeaders: ['x-b'],
        maxAge: '24h',
        allowCredentials: true,
      },
    },
    want: [
      cors({
        allowOrigins: ['https://a.example', 'https://b.*'],
        allowMethods: ['GET'],
        allowHeaders: ['x-a'],
        exposeHeaders: ['x-b'],
        maxAgeSeconds: 86_400,
        allowCredentials: true,
      }),
    ],
  },
  {
    name: 'CORS for everybody',
    given: { route: ROUTE, corsPolicy: { allowOrigins: [{ regex: '.*' }] } },
    want: [cors({ allowOrigins: ['*'] })],
  },
  { name: 'CORS of an old object', given: { route: ROUTE, corsPolicy: { allowOrigin: ['*'] } }, want: [cors({ allowOrigins: ['*'] })] },
  {
    name: 'an origin that cannot be compared is not allowed',
    given: {
      route: ROUTE,
      corsPolicy: { allowOrigins: [{ regex: 'https://.*\\.example' }, { exact: 'https://a' }], unmatchedPreflights: 'FORWARD' },
    },
    want: [cors({ allowOrigins: ['https://a'] })],
    notes: [/unmatchedPreflights/, /^ignored corsPolicy\.allowOrigins\[0\]/],
  },
]

describe('controlplane/translate/istio/entry', () => {
  for (const { name, given, want, notes = [] } of DESTINATIONS) {
    it(`destination: ${name}`, () => {
      const got = read(given === undefined ? {} : { route: given })
      assert.deepEqual(got.value[0]?.rule.backends, want)
      assert.equal(got.notes.length, notes.length, got.notes.join('\n'))
      for (const [i, note] of notes.entries()) assert.match(got.notes[i] ?? '', note)
    })
  }

  for (const { name, given, want, notes = [] } of FILTERS) {
    it(`filters: ${name}`, () => {
      const got = read(given)
      const rule = got.value[0]?.rule
      if (want === undefined) assert.equal(rule?.backends[0]?.kind, 'invalid')
      assert.deepEqual(rule?.filters, want ?? [])
      assert.equal(got.notes.length, notes.length, got.notes.join('\n'))
      for (const [i, note] of notes.entries()) assert.match(got.notes[i] ?? '', note)
    })
  }

  it('makes a route per match, of which each has the rewrite of its own path', () => {
    const { value } = read({ match: [...TEXT('/a'), { uri: { exact: '/c' } }], route: ROUTE, rewrite: { uri: '/b' } })
    assert.deepEqual(
      value.map(({ rule }) => rule.filters),
      [[rewrite({ kind: 'prefix', prefix: '/a', value: '/b' })], [rewrite({ kind: 'full', value: '/b' })]],
    )
  })

  it('drops an entry of which one match cannot be read', () => {
    assert.deepEqual(read({ match: [{ uri: { regex: '(' } }, ...TEXT('/')], route: ROUTE }).value, [])
  })

  it('skips matches for other ports and gateways, and never takes an entry of only such as one for all', () => {
    assert.deepEqual(read({ match: [{ port: 81 }, { gateways: ['ingress'] }], route: ROUTE }), { value: [], notes: [] })
  })
})
