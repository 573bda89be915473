// The mesh half of Gateway API's conformance suite, v1.6.3: what each test of conformance/tests/mesh/ sends and expects.
// Manifests are read from the module. Every test of that folder is here.
import type { MeshCase } from './conformance-answers.ts'

/** A test of the suite. */
export interface MeshTest {
  /** The suite's ShortName. */
  readonly name: string
  /** File of the test below conformance/tests/, without `.go`; its manifest has the same name unless it is given. */
  readonly file: string
  /** Manifest there, without `.yaml`; null = the base alone. */
  readonly manifest?: string | null
  /** Of the gateway half: the routes of its manifest are set on the Service `echo`. */
  readonly isOfGateways?: boolean
  /** Reason of ResolvedRefs=False. */
  readonly unresolved?: string
  /** Sent by the pod echo-v1 of the namespace gateway-conformance-mesh. */
  readonly cases: readonly MeshCase[]
  /** Sent by the pod echo-v1 of gateway-conformance-mesh-consumer. */
  readonly consumerCases?: readonly MeshCase[]
  /** Shares of the backends in 500 requests of the last case. */
  readonly shares?: Readonly<Record<string, number>>
}

/** Stands for the address of the pod echo-v2 in the host of a case. */
export const V2_ADDRESS = '{echo-v2}'

const toV1 = (path: string, more: MeshCase = {}): MeshCase => ({ path, url: path, backend: 'echo-v1', ...more })
const toV2 = (path: string, more: MeshCase = {}): MeshCase => ({ path, url: path, backend: 'echo-v2', ...more })
const fails = (path: string): MeshCase => ({ path, status: 404 })
const redirects = (path: string, location: string, status = 302): MeshCase => ({ path, status, location })

const HEADER_CASES: readonly MeshCase[] = [
  toV1('/set', { headers: { 'Some-Other-Header': 'val' }, seen: { 'Some-Other-Header': 'val', 'X-Header-Set': 'set-overwrites-values' } }),
  toV1('/set', {
    headers: { 'Some-Other-Header': 'val', 'X-Header-Set': 'some-other-value' },
    seen: { 'Some-Other-Header': 'val', 'X-Header-Set': 'set-overwrites-values' },
  }),
  toV1('/add', { headers: { 'Some-Other-Header': 'val' }, seen: { 'Some-Other-Header': 'val', 'X-Header-Add': 'add-appends-values' } }),
  toV1('/add', {
    headers: { 'Some-Other-Header': 'val', 'X-Header-Add': 'some-other-value' },
    seen: { 'Some-Other-Header': 'val', 'X-Header-Add': 'some-other-value,add-appends-values' },
  }),
  toV1('/remove', { headers: { 'X-Header-Remove': 'val' }, unseen: ['X-Header-Remove'] }),
  toV1('/multiple', {
    headers: {
      'X-Header-Set-2': 'set-val-2',
      'X-Header-Add-2': 'add-val-2',
      'X-Header-Remove-2': 'remove-val-2',
      'Another-Header': 'another-header-val',
    },
    seen: {
      'X-Header-Set-1': 'header-set-1',
      'X-Header-Set-2': 'header-set-2',
      'X-Header-Add-1': 'header-add-1',
      'X-Header-Add-2': 'add-val-2,header-add-2',
      'X-Header-Add-3': 'header-add-3',
      'Another-Header': 'another-header-val',
    },
    unseen: ['X-Header-Remove-1', 'X-Header-Remove-2'],
  }),
  toV1('/case-insensitivity', {
    headers: {
      'x-header-set': 'original-val-set',
      'x-header-add': 'original-val-add',
      'x-header-remove': 'original-val-remove',
      'Another-Header': 'another-header-val',
    },
    seen: { 'X-Header-Set': 'header-set', 'X-Header-Add': 'original-val-add,header-add', 'Another-Header': 'another-header-val' },
    unseen: ['X-Header-Remove'],
  }),
]

const REWRITTEN: MeshCase = {
  headers: { 'X-Header-Remove': 'remove-val', 'X-Header-Add-Append': 'append-val-1', 'X-Header-Set': 'set-val' },
  seen: { 'X-Header-Add': 'header-val-1', 'X-Header-Add-Append': 'append-val-1,header-val-2', 'X-Header-Set': 'set-overwrites-values' },
  unseen: ['X-Header-Remove'],
}

const TO_SERVICES: readonly MeshTest[] = [
  { name: 'MeshBasic', file: 'mesh/mesh-basic', manifest: null, cases: [{}] },
  {
    name: 'MeshConsumerRoute',
    file: 'mesh/mesh-consumer-route',
    consumerCases: [{ host: 'echo-v1.gateway-conformance-mesh', path: '/', backend: 'echo-v1', answered: { 'X-Header-Set': 'set' } }],
    cases: [{ host: 'echo-v1.gateway-conformance-mesh', path: '/', backend: 'echo-v1', unanswered: ['X-Header-Set'] }],
  },
  {
    name: 'MeshFrontendHostname',
    file: 'mesh/mesh-frontend-hostname',
    manifest: 'mesh/mesh-frontend',

    cases: [
      { host: 'echo-v2', headers: { Host: 'echo-v1' }, backend: 'echo-v2', answered: { 'X-Header-Set': 'set' } },
      { host: 'echo-v1', headers: { Host: 'echo-v2' }, backend: 'echo-v1', unanswered: ['X-Header-Set'] },
    ],
  },
  {
    name: 'MeshFrontend',
    file: 'mesh/mesh-frontend',
    cases: [
      { host: 'echo-v2', backend: 'echo-v2', answered: { 'X-Header-Set': 'set' } },
      { name: 'address of the pod echo-v2 -> echo-v2', host: `${V2_ADDRESS}:8080`, backend: 'echo-v2', unanswered: ['X-Header-Set'] },
    ],
  },
  {
    name: 'MeshPorts',
    file: 'mesh/mesh-ports',
    cases: [
      { host: 'echo-v1', backend: 'echo-v1', answered: { 'X-Header-Set': 'v1' } },
      { host: 'echo-v1:8080', backend: 'echo-v1', unanswered: ['X-Header-Set'] },
      { host: 'echo-v2', backend: 'echo-v2', answered: { 'X-Header-Set': 'v2' } },
      { host: 'echo-v2:8080', backend: 'echo-v2', answered: { 'X-Header-Set': 'v2' } },
    ],
  },
  { name: 'MeshTrafficSplit', file: 'mesh/mesh-split', cases: [toV1('/v1'), toV2('/v2')] },
]

const MATCHES: readonly MeshTest[] = [
  {
    name: 'MeshHTTPRouteMatching',
    file: 'mesh/httproute-matching',
    cases: [
      toV1('/'),
      toV1('/example'),
      toV1('/', { headers: { Version: 'one' } }),
      toV2('/v2'),
      toV2('/v2/example'),
      toV2('/', { headers: { Version: 'two' } }),
      toV2('/v2/'),
      toV1('/v2example'), // not a path segment
      toV1('/foo/v2/example'),
    ],
  },
  {
    name: 'MeshHTTPRouteNamedRule',
    file: 'mesh/httproute-named-rule',
    cases: [toV1('/named'), toV2('/unnamed')],
  },
  {
    name: 'MeshHTTPRouteQueryParamMatching',
    file: 'mesh/httproute-query-param-matching',
    cases: [
      toV1('/?animal=whale'),
      toV2('/?animal=dolphin'),
      toV1('/?animal=whale&otherparam=irrelevant'),
      toV2('/?animal=dolphin&color=yellow'),
      ...['/?color=blue', '/?animal=dog', '/?animal=whaledolphin', '/'].map(fails),
      // With other kinds of matches.
      toV1('/path1?animal=whale'),
      toV2('/?animal=whale', { headers: { version: 'one' } }),
      // One of several matches is enough.
      toV1('/path3?animal=shark'),
      toV1('/path4?animal=kraken', { headers: { version: 'three' } }),
      // Half of a match is not.
      ...['/?animal=shark', '/path4?animal=kraken'].map(fails),
      // The longer path goes before the parameter.
      toV1('/path5?animal=hydra'),
    ],
  },
  {
    name: 'MeshHTTPRouteSimpleSameNamespace',
    file: 'mesh/httproute-simple-same-namespace',
    cases: [toV1('/')],
  },
]

const FILTERS: readonly MeshTest[] = [
  {
    name: 'MeshHTTPRouteRequestHeaderModifier',
    file: 'mesh/httproute-request-header-modifier',
    cases: HEADER_CASES,
  },
  {
    name: 'MeshHTTPRouteBackendRequestHeaderModifier',
    file: 'mesh/httproute-request-header-modifier',
    manifest: 'mesh/httproute-request-header-modifier-backend',

    cases: HEADER_CASES,
  },
  {
    name: 'MeshHTTPRouteRewritePath',
    file: 'mesh/httproute-rewrite-path',
    cases: [
      toV1('/prefix/one/two', { url: '/one/two' }),
      toV1('/strip-prefix/three', { url: '/three' }),
      toV1('/strip-prefix', { url: '/' }),
      toV1('/full/one/two', { url: '/one' }),
      toV1('/full/rewrite-path-and-modify-headers/test', { ...REWRITTEN, url: '/test' }),
      toV1('/prefix/rewrite-path-and-modify-headers/one', { ...REWRITTEN, url: '/prefix/one' }),
    ],
  },
]

const REDIRECTS: readonly MeshTest[] = [
  ...(
    [
      [303, '/redirect'],
      [307, '/temporary'],
      [308, '/permanent'],
    ] as const
  ).map(([status, path]) => ({
    name: `MeshHTTPRoute${status}Redirect`,
    file: `mesh/httproute-${status}-redirect`,
    cases: [redirects(path, `http://echo${path}`, status)],
  })),
  {
    name: 'MeshHTTPRouteRedirectHostAndStatus',
    file: 'mesh/httproute-redirect-host-and-status',
    cases: [
      redirects('/hostname-redirect', 'http://example.org/hostname-redirect'),
      redirects('/host-and-status', 'http://example.org/host-and-status', 301),
    ],
  },
  {
    name: 'MeshHTTPRouteRedirectPath',
    file: 'mesh/httproute-redirect-path',
    cases: [
      redirects('/original-prefix/lemon', 'http://echo/replacement-prefix/lemon'),
      redirects('/full/path/original', 'http://echo/full-path-replacement'),
      redirects('/path-and-host', 'http://example.org/replacement-prefix'),
      redirects('/path-and-status', 'http://echo/replacement-prefix', 301),
      redirects('/full-path-and-host', 'http://example.org/replacement-full'),
      redirects('/full-path-and-status', 'http://echo/replacement-full', 301),
    ],
  },
  {
    name: 'MeshHTTPRouteRedirectPort',
    file: 'mesh/httproute-redirect-port',
    cases: [
      redirects('/port', 'http://echo:8083/port'),
      redirects('/port-and-host', 'http://example.org:8083/port-and-host'),
      redirects('/port-and-status', 'http://echo:8083/port-and-status', 301),
      redirects('/port-and-host-and-status', 'http://example.org:8083/port-and-host-and-status'),
    ],
  },
  {
    name: 'MeshHTTPRouteSchemeRedirect',
    file: 'mesh/httproute-redirect-scheme',
    cases: [
      redirects('/scheme', 'https://echo/scheme'),
      redirects('/scheme-and-host', 'https://example.org/scheme-and-host'),
      redirects('/scheme-and-status', 'https://echo/scheme-and-status', 301),
      redirects('/scheme-and-host-and-status', 'https://example.org/scheme-and-host-and-status'),
    ],
  },
]

const WEIGHTS: readonly MeshTest[] = [
  {
    name: 'MeshHTTPRouteWeight',
    file: 'mesh/httproute-weight',
    cases: [{ path: '/' }],
    shares: { 'echo-v1': 0.7, 'echo-v2': 0.3 },
  },
  {
    name: 'MeshGRPCRouteWeight',
    file: 'mesh/grpcroute-weight',
    cases: [{ host: 'echo:7070', protocol: 'grpc' }],
    shares: { 'echo-v1': 0.7, 'echo-v2': 0.3 },
  },
]

/** All tests. */
export const MESH_TESTS: readonly MeshTest[] = [...TO_SERVICES, ...MATCHES, ...FILTERS, ...REDIRECTS, ...WEIGHTS]
