// Tests of the gateway half of Gateway API's conformance suite, v1.6.3, whose routes mean the same on a Service of a mesh:
// conformance/tests/httproute-*. The suite sends them through a Gateway; here their routes are set on the Service `echo`.
import type { MeshCase } from './conformance-answers.ts'
import { FILTER_TESTS } from './conformance-filter-cases.ts'
import type { MeshTest } from './conformance-mesh-cases.ts'

/** A test whose routes are set on the Service `echo`. */
export type RouteTest = Omit<MeshTest, 'isOfGateways'>

const to = (version: 1 | 2 | 3, path: string, more: MeshCase = {}): MeshCase => ({ path, url: path, backend: `echo-v${version}`, ...more })
const fails = (path: string, more: MeshCase = {}): MeshCase => ({ path, status: 404, ...more })

const MATCHES: readonly RouteTest[] = [
  {
    name: 'HTTPRouteExactPathMatching',
    file: 'httproute-exact-path-matching',
    cases: [to(1, '/one'), to(2, '/two'), ...['/', '/one/example', '/two/', '/Two'].map((path) => fails(path))],
  },
  {
    name: 'HTTPRouteHeaderMatching',
    file: 'httproute-header-matching',
    cases: [
      to(1, '/', { headers: { Version: 'one' } }),
      to(2, '/', { headers: { Version: 'two' } }),
      to(1, '/', { headers: { Version: 'two', Color: 'orange' } }),
      to(2, '/', { headers: { Version: 'two', Color: 'blue' } }),
      fails('/', { headers: { Color: 'orange' } }),
      fails('/', { headers: { 'Some-Other-Header': 'one' } }),
      to(1, '/', { headers: { Color: 'blue' } }),
      to(1, '/', { headers: { Color: 'green' } }),
      to(2, '/', { headers: { Color: 'red' } }),
      to(2, '/', { headers: { Color: 'yellow' } }),
      fails('/', { headers: { Color: 'purple' } }),
    ],
  },
  {
    name: 'HTTPRouteMethodMatching',
    file: 'httproute-method-matching',
    cases: [
      to(1, '/', { method: 'POST' }),
      to(2, '/', { method: 'GET' }),
      fails('/', { method: 'HEAD' }),
      to(1, '/path1', { method: 'GET' }),
      to(2, '/', { method: 'PUT', headers: { version: 'one' } }),
      to(3, '/path2', { method: 'POST', headers: { version: 'two' } }),
      to(1, '/path3', { method: 'PATCH' }),
      to(1, '/path4', { method: 'DELETE', headers: { version: 'three' } }),
      fails('/', { method: 'PUT' }),
      fails('/path4', { method: 'DELETE' }),
      to(1, '/path5', { method: 'PATCH' }),
      to(2, '/', { method: 'PATCH', headers: { version: 'four' } }),
    ],
  },
  {
    name: 'HTTPRoutePathMatchOrder',
    file: 'httproute-path-match-order',
    cases: [
      to(3, '/match/exact/one'),
      to(2, '/match/exact'),
      to(1, '/match'),
      to(2, '/match/prefix/one/any'),
      to(1, '/match/prefix/any'),
      to(3, '/match/any'),
    ],
  },
]

const BACKENDS: readonly RouteTest[] = [
  {
    name: 'HTTPRouteInvalidNonExistentBackendRef',
    file: 'httproute-invalid-nonexistent-backendref',
    unresolved: 'BackendNotFound',
    cases: [{ path: '/', status: 500 }],
  },
  {
    name: 'HTTPRouteInvalidBackendRefUnknownKind',
    file: 'httproute-invalid-backendref-unknown-kind',
    unresolved: 'InvalidKind',
    cases: [{ path: '/v2', status: 500 }],
  },
  {
    name: 'HTTPRouteOmittedBackendRefs',
    file: 'httproute-omitted-backendrefs',
    cases: [to(1, '/forward'), { path: '/omitted-no-forward', status: 500 }, { path: '/empty-no-forward', status: 500 }],
  },
  {
    name: 'HTTPRouteTimeoutRequest',
    file: 'httproute-timeout-request',
    cases: [
      { path: '/request-timeout' },
      { path: '/request-timeout?delay=1s', status: 504 },
      { path: '/disable-request-timeout?delay=1s' },
    ],
  },
  {
    name: 'HTTPRouteTimeoutBackendRequest',
    file: 'httproute-timeout-backend-request',
    cases: [
      { path: '/backend-timeout' },
      { path: '/backend-timeout?delay=1s', status: 504 },
      { path: '/disable-backend-timeout?delay=1s' },
    ],
  },
]

/** All of them. */
export const ROUTE_TESTS: readonly MeshTest[] = [...MATCHES, ...BACKENDS, ...FILTER_TESTS].map((test) => ({
  ...test,
  isOfGateways: true,
}))
