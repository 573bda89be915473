// CORS by the Gateway API's words; the rows named "conformance" are the requests of its suite.
import assert from 'node:assert/strict'
import type { RequestHead } from '../../../../model/http.ts'
import type { CorsPolicy } from '../../../../model/route.ts'
import { addCors, corsFor } from '../../../../policy/http/cors.ts'
import { requestOf } from '../../../support/request-values.ts'

const NONE: CorsPolicy = {
  allowOrigins: [],
  allowMethods: [],
  allowHeaders: [],
  exposeHeaders: [],
  allowCredentials: false,
  maxAgeSeconds: 5,
}
const FOO: CorsPolicy = {
  allowOrigins: ['https://www.foo.com', 'https://*.bar.com'],
  allowMethods: ['GET', 'OPTIONS'],
  allowHeaders: ['x-header-1', 'x-header-2'],
  exposeHeaders: ['x-header-3', 'x-header-4'],
  allowCredentials: true,
  maxAgeSeconds: 3600,
}
const ANY: CorsPolicy = { ...NONE, allowOrigins: ['*'], allowMethods: ['*'], allowHeaders: ['*'], exposeHeaders: ['*'] }
const ask = (origin: string, method = 'GET', headers?: string): RequestHead =>
  requestOf(
    '/',
    { origin, 'access-control-request-method': method, ...(headers === undefined ? {} : { 'access-control-request-headers': headers }) },
    { method: 'OPTIONS' },
  )
const from = (origin: string): RequestHead => requestOf('/', { origin })
const FOO_LISTS =
  'access-control-allow-methods: GET, OPTIONS|access-control-allow-headers: x-header-1, x-header-2|access-control-max-age: 3600'
const exposed = (origin: string): string =>
  `access-control-allow-origin: ${origin}|access-control-allow-credentials: true|access-control-expose-headers: x-header-3, x-header-4|vary: origin`
const REFUSED = 'preflight 204 vary: origin'

const CASES: readonly { readonly name: string; readonly given: readonly [RequestHead, CorsPolicy]; readonly want: string }[] = [
  { name: 'no origin', given: [requestOf('/'), FOO], want: 'none' },
  {
    name: 'conformance: preflight, exact',
    given: [ask('https://www.foo.com', 'GET', 'x-header-1, x-header-2'), FOO],
    want: `preflight 204 ${exposed('https://www.foo.com')}|${FOO_LISTS}`,
  },
  {
    name: 'conformance: preflight, wildcard',
    given: [ask('https://www.bar.com'), FOO],
    want: `preflight 204 ${exposed('https://www.bar.com')}|${FOO_LISTS}`,
  },
  {
    name: 'conformance: preflight, several labels',
    given: [ask('https://xpto.www.bar.com'), FOO],
    want: `preflight 204 ${exposed('https://xpto.www.bar.com')}|${FOO_LISTS}`,
  },
  { name: 'conformance: preflight, other origin', given: [ask('https://foobar.com'), FOO], want: REFUSED },
  { name: 'conformance: actual, exact', given: [from('https://www.foo.com'), FOO], want: `actual ${exposed('https://www.foo.com')}` },
  { name: 'conformance: actual, wildcard', given: [from('https://www.bar.com'), FOO], want: `actual ${exposed('https://www.bar.com')}` },
  { name: 'conformance: actual, other origin', given: [from('https://foobar.com'), FOO], want: 'none' },
  {
    name: 'conformance: any method',
    given: [ask('https://www.foo.com', 'POST'), { ...NONE, allowOrigins: ['https://www.foo.com'], allowMethods: ['*'] }],
    want: 'preflight 204 access-control-allow-origin: https://www.foo.com|vary: origin|access-control-allow-methods: POST|access-control-max-age: 5',
  },
  {
    name: 'conformance: any origin',
    given: [ask('https://foobar.com:12345', 'PUT'), { ...NONE, allowOrigins: ['*'], allowMethods: ['PUT'] }],
    want: 'preflight 204 access-control-allow-origin: *|access-control-allow-methods: PUT|access-control-max-age: 5',
  },
  {
    name: 'everything allowed',
    given: [ask('https://a.b', 'PUT', 'x, y'), ANY],
    want: 'preflight 204 access-control-allow-origin: *|access-control-expose-headers: *|access-control-allow-methods: PUT|access-control-allow-headers: x, y|access-control-max-age: 5',
  },
  {
    name: 'everything allowed, no headers asked for',
    given: [ask('https://a.b', 'PUT'), ANY],
    want: 'preflight 204 access-control-allow-origin: *|access-control-expose-headers: *|access-control-allow-methods: PUT|access-control-max-age: 5',
  },
  {
    name: 'everything allowed with credentials: no asterisk',
    given: [ask('https://a.b', 'PUT', 'x'), { ...ANY, allowCredentials: true }],
    want: 'preflight 204 access-control-allow-origin: https://a.b|access-control-allow-credentials: true|vary: origin|access-control-allow-methods: PUT|access-control-allow-headers: x|access-control-max-age: 5',
  },
  { name: 'null origin with credentials', given: [from('null'), { ...ANY, allowCredentials: true }], want: 'none' },
  { name: 'null origin without', given: [from('null'), { ...NONE, allowOrigins: ['*'] }], want: 'actual access-control-allow-origin: *' },
  {
    name: 'OPTIONS that is no preflight',
    given: [requestOf('/', { origin: 'https://a.b' }, { method: 'OPTIONS' }), { ...NONE, allowOrigins: ['*'] }],
    want: 'actual access-control-allow-origin: *',
  },
  {
    name: 'no lists, no age',
    given: [ask('https://a.b'), { ...NONE, allowOrigins: ['https://a.b'], maxAgeSeconds: 0 }],
    want: 'preflight 204 access-control-allow-origin: https://a.b|vary: origin',
  },
]

const ORIGINS: readonly { readonly name: string; readonly given: readonly [pattern: string, origin: string]; readonly want: boolean }[] = [
  { name: 'default port written out in the pattern', given: ['https://a.b:443', 'https://a.b'], want: true },
  { name: 'default port written out in the origin', given: ['http://a.b', 'http://a.b:80'], want: true },
  { name: 'default port of the other scheme', given: ['http://a.b', 'http://a.b:443'], want: false },
  { name: 'another port', given: ['https://a.b', 'https://a.b:8443'], want: false },
  { name: 'another scheme', given: ['https://a.b', 'http://a.b'], want: false },
  { name: 'case', given: ['https://A.b', 'https://a.B'], want: true },
  { name: 'longer at the end', given: ['https://a.b', 'https://a.b.evil'], want: false },
  { name: 'apex is not below it', given: ['https://*.a.b', 'https://a.b'], want: false },
  { name: 'suffix without a dot', given: ['https://*.a.b', 'https://evila.b'], want: false },
  { name: 'wildcard host', given: ['https://*', 'https://any.where'], want: true },
  { name: 'wildcard host of another scheme', given: ['https://*', 'http://any.where'], want: false },
  { name: 'wildcard takes no path', given: ['https://*.a.b', 'https://evil/.a.b'], want: false },
  { name: 'wildcard with a port', given: ['https://*.a.b:8443', 'https://x.a.b:8443'], want: true },
  { name: 'wildcard in the middle', given: ['https://a.*.c', 'https://a.x.y.c'], want: true },
  { name: 'two wildcards', given: ['https://*.x.*', 'https://a.x.b'], want: true },
  { name: 'two wildcards, part missing', given: ['https://*.x.*', 'https://a.y.b'], want: false },
  { name: 'overlap of both ends', given: ['https://ab*ba', 'https://aba'], want: false },
  { name: 'wildcard scheme', given: ['*.a.b', 'https://x.a.b'], want: false },
]

describe('cors', () => {
  for (const row of CASES) {
    it(row.name, () => {
      const decision = corsFor(...row.given)
      const fields = decision.kind === 'none' ? [] : decision.kind === 'actual' ? decision.add : decision.response.headers
      const status = decision.kind === 'preflight' ? [decision.response.status] : []
      const text = fields.map(([name, value]) => `${name}: ${value}`).join('|')
      assert.equal([decision.kind, ...status, ...(text === '' ? [] : [text])].join(' '), row.want)
    })
  }

  for (const row of ORIGINS) {
    it(row.name, () => {
      const [pattern, origin] = row.given
      assert.equal(corsFor(from(origin), { ...NONE, allowOrigins: [pattern] }).kind, row.want ? 'actual' : 'none')
    })
  }

  it("replaces a backend's own fields, and adds to vary", () => {
    const headers = addCors(
      [
        ['access-control-allow-origin', '*'],
        ['vary', 'accept'],
        ['x', '1'],
      ],
      [
        ['access-control-allow-origin', 'https://a.b'],
        ['vary', 'origin'],
      ],
    )
    assert.deepEqual(headers, [
      ['vary', 'accept'],
      ['x', '1'],
      ['access-control-allow-origin', 'https://a.b'],
      ['vary', 'origin'],
    ])
  })
})
