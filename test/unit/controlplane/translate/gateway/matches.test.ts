// Matches of both kinds of routes: what is compared with what, and what drops a rule.
import { answers500, BACKEND, checkRows, filter, first, type RouteRow } from '../../../../support/route-rows.ts'

const ROWS: readonly RouteRow[] = [
  {
    name: 'a path in the spelling that requests have',
    rules: [{ matches: [{ path: { type: 'Exact', value: '/%61%7e%c3%a9' } }] }],
    want: (all) => first(all).match.path?.value,
    is: '/a~%C3%A9',
  },
  {
    name: 'a path that no request can have',
    rules: [{ matches: [{ path: { value: '/a%00b' } }] }],
    want: (all) => all.length,
    is: 0,
    says: [/no request has this path/, /^ResolvedRefs/],
  },
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
]

checkRows('controlplane/translate/gateway/matches', ROWS)
