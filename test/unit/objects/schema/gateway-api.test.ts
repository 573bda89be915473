// Routes, classes and grants at the API's door: what the CRDs refuse is refused here, with the path of the field.
import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import { formatFault, validate } from '../../../../objects/schema/validate.ts'

const ref = { name: 'a', port: 80 }
const http = (rule: object): unknown => ({
  apiVersion: 'gateway.networking.k8s.io/v1',
  kind: 'HTTPRoute',
  metadata: { name: 'r' },
  spec: { rules: [rule] },
})
const grpc = (rule: object): unknown => ({
  apiVersion: 'gateway.networking.k8s.io/v1',
  kind: 'GRPCRoute',
  metadata: { name: 'r' },
  spec: { rules: [rule] },
})
const other = (kind: string, spec: object, apiVersion = 'gateway.networking.k8s.io/v1'): unknown => ({
  apiVersion,
  kind,
  metadata: { name: 'r' },
  spec,
})
const filter = (type: string, settings: object): unknown => http({ filters: [{ type, ...settings }] })

/** Fault as an expression; absent = valid. */
const ROWS: readonly { readonly name: string; readonly object: unknown; readonly fault?: RegExp }[] = [
  { name: 'a route without anything', object: other('HTTPRoute', {}) },
  { name: 'an older version', object: other('HTTPRoute', {}, 'gateway.networking.k8s.io/v1beta1') },
  { name: 'a version that is not known', object: other('HTTPRoute', {}, 'gateway.networking.k8s.io/v2'), fault: /^apiVersion: / },
  { name: 'a misspelt field', object: http({ match: [] }), fault: /^spec\.rules\[0\]: .*match/ },
  {
    name: 'a relative path',
    object: http({ matches: [{ path: { value: 'a' } }] }),
    fault: /^spec\.rules\[0\]\.matches\[0\]\.path\.value: must start with \//,
  },
  {
    name: 'a path with an empty element',
    object: http({ matches: [{ path: { value: '/a//b' } }] }),
    fault: /path\.value: must not contain/,
  },
  { name: 'a path with dots', object: http({ matches: [{ path: { value: '/a/../b' } }] }), fault: /path\.value: must not contain/ },
  { name: 'a path that ends in dots', object: http({ matches: [{ path: { value: '/a/..' } }] }), fault: /path\.value: must not contain/ },
  {
    name: 'a path with an encoded slash',
    object: http({ matches: [{ path: { value: '/a%2Fb' } }] }),
    fault: /path\.value: must not contain/,
  },
  { name: 'a path with names that begin with dots', object: http({ matches: [{ path: { value: '/.well-known/..a' } }] }) },
  { name: 'a regex may be anything', object: http({ matches: [{ path: { type: 'RegularExpression', value: '(//' } }] }) },
  { name: 'a method that is none', object: http({ matches: [{ method: 'get' }] }), fault: /matches\[0\]\.method/ },
  {
    name: 'a header name with a space',
    object: http({ matches: [{ headers: [{ name: 'a b', value: 'c' }] }] }),
    fault: /headers\[0\]\.name: is not a header name/,
  },
  { name: '65 matches', object: http({ matches: Array.from({ length: 65 }, () => ({})) }), fault: /rules\[0\]\.matches/ },
  {
    name: 'a backend without port',
    object: http({ backendRefs: [{ name: 'a' }] }),
    fault: /backendRefs\[0\]\.port: must have a port for a Service/,
  },
  { name: 'a backend of another kind without port', object: http({ backendRefs: [{ name: 'a', group: 'x.example', kind: 'Bucket' }] }) },
  { name: 'a negative weight', object: http({ backendRefs: [{ ...ref, weight: -1 }] }), fault: /backendRefs\[0\]\.weight/ },
  { name: 'a weight over 1,000,000', object: http({ backendRefs: [{ ...ref, weight: 1_000_001 }] }), fault: /backendRefs\[0\]\.weight/ },
  { name: '17 backends', object: http({ backendRefs: Array.from({ length: 17 }, () => ref) }), fault: /rules\[0\]\.backendRefs/ },
  { name: 'a duration without unit', object: http({ timeouts: { request: '10' } }), fault: /timeouts\.request: must be a duration/ },
  { name: 'a status that is not retried', object: http({ retry: { codes: [200] } }), fault: /retry\.codes\[0\]/ },
  {
    name: 'a filter without its settings',
    object: filter('URLRewrite', {}),
    fault: /filters\[0\]\.urlRewrite: is required for type URLRewrite/,
  },
  {
    name: 'a filter with the settings of another',
    object: filter('URLRewrite', { urlRewrite: {}, cors: {} }),
    fault: /filters\[0\]\.cors: goes with type CORS/,
  },
  { name: 'a filter of an unknown type', object: filter('Magic', {}), fault: /filters\[0\]\.type/ },
  {
    name: 'a filter twice',
    object: http({
      filters: [
        { type: 'CORS', cors: {} },
        { type: 'CORS', cors: {} },
      ],
    }),
    fault: /filters: CORS cannot be repeated/,
  },
  { name: 'two mirrors', object: http({ filters: [1, 2].map(() => ({ type: 'RequestMirror', requestMirror: { backendRef: ref } })) }) },
  {
    name: 'redirect and rewrite',
    object: http({
      filters: [
        { type: 'RequestRedirect', requestRedirect: {} },
        { type: 'URLRewrite', urlRewrite: {} },
      ],
    }),
    fault: /only one of RequestRedirect and URLRewrite/,
  },
  {
    name: 'redirect and backends',
    object: http({ filters: [{ type: 'RequestRedirect', requestRedirect: {} }], backendRefs: [ref] }),
    fault: /filters: RequestRedirect must not be used together with backendRefs/,
  },
  { name: 'a redirect with status 200', object: filter('RequestRedirect', { requestRedirect: { statusCode: 200 } }), fault: /statusCode/ },
  {
    name: 'percent and fraction',
    object: filter('RequestMirror', { requestMirror: { backendRef: ref, percent: 1, fraction: { numerator: 1 } } }),
    fault: /only one of percent and fraction/,
  },
  {
    name: 'more than all',
    object: filter('RequestMirror', { requestMirror: { backendRef: ref, fraction: { numerator: 101 } } }),
    fault: /fraction: the numerator is larger/,
  },
  {
    name: 'a path of the other type',
    object: filter('URLRewrite', { urlRewrite: { path: { type: 'ReplaceFullPath', replacePrefixMatch: '/' } } }),
    fault: /replaceFullPath goes with its type/,
  },
  {
    name: 'a permanent cookie without end',
    object: http({ sessionPersistence: { cookie: { lifetimeType: 'Permanent' } } }),
    fault: /absoluteTimeout: is required/,
  },
  {
    name: 'two rules of one name',
    object: other('HTTPRoute', { rules: [{ name: 'a' }, { name: 'a' }] }),
    fault: /rules: names of rules must differ/,
  },
  { name: 'a gRPC match without method', object: grpc({ matches: [{ method: {} }] }), fault: /method: needs service, method or both/ },
  {
    name: 'a gRPC service with a slash',
    object: grpc({ matches: [{ method: { service: 'a/b' } }] }),
    fault: /method\.service: is not a name/,
  },
  { name: 'a gRPC route with timeouts', object: grpc({ timeouts: {} }), fault: /timeouts/ },
  { name: 'a class', object: other('GatewayClass', { controllerName: 'weft.dev/gateway-controller' }) },
  { name: 'a class of nobody', object: other('GatewayClass', {}), fault: /spec\.controllerName/ },
  {
    name: 'a Gateway that admits nobody knows whom',
    object: other('Gateway', {
      gatewayClassName: 'x',
      listeners: [{ name: 'a', port: 1, protocol: 'HBONE', allowedRoutes: { namespaces: { from: 'Some' } } }],
    }),
    fault: /namespaces\.from/,
  },
  {
    name: 'a grant',
    object: other('ReferenceGrant', { from: [{ group: 'g', kind: 'HTTPRoute', namespace: 'a' }], to: [{ group: '', kind: 'Service' }] }),
  },
  {
    name: 'a grant to nothing',
    object: other('ReferenceGrant', { from: [{ group: 'g', kind: 'HTTPRoute', namespace: 'a' }], to: [] }),
    fault: /spec\.to/,
  },
]

describe('objects/schema/gateway-api', () => {
  for (const { name, object, fault } of ROWS) {
    it(name, () => {
      const result = validate(object)
      const texts = result.is === 'invalid' ? result.faults.map(formatFault).join('\n') : result.is
      if (fault === undefined) assert.equal(texts, 'valid')
      else assert.match(texts, fault)
    })
  }
})
