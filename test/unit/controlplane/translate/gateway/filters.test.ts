// Filters: taken over, or their rule answers 500; never skipped.
import { answers500, BACKEND, checkRows, filter, GOOD, ruleOf, type RouteRow } from '../../../../support/route-rows.ts'

const ROWS: readonly RouteRow[] = [
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
      GOOD[0],
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
]

checkRows('controlplane/translate/gateway/filters', ROWS)
