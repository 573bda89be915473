// Tests of the gateway half of the conformance suite that are about filters; see conformance-route-cases.ts.
import type { MeshCase } from './conformance-answers.ts'
import type { RouteTest } from './conformance-route-cases.ts'

const to = (version: 1 | 2, path: string, more: MeshCase): MeshCase => ({ path, url: path, backend: `echo-v${version}`, ...more })
const EDITED: MeshCase = {
  headers: { 'X-Header-Remove': 'remove-val', 'X-Header-Add-Append': 'append-val-1' },
  seen: { 'X-Header-Add': 'header-val-1', 'X-Header-Add-Append': 'append-val-1,header-val-2', 'X-Header-Set': 'set-overwrites-values' },
  unseen: ['X-Header-Remove'],
}

/** What the backend is asked to answer with: Istio's application has a parameter where the suite's own has a header. */
const answering = (path: string, headers: Readonly<Record<string, string>>): MeshCase => ({
  path: `${path}?headers=${Object.entries(headers)
    .map((pair) => pair.join(':'))
    .join(',')}`,
  backend: 'echo-v1',
})

const FILTERS: readonly RouteTest[] = [
  {
    name: 'HTTPRouteResponseHeaderModifier',
    file: 'httproute-response-header-modifier',
    cases: [
      {
        ...answering('/set', { 'Some-Other-Header': 'val' }),
        answered: { 'Some-Other-Header': 'val', 'X-Header-Set': 'set-overwrites-values' },
      },
      {
        ...answering('/set', { 'Some-Other-Header': 'val', 'X-Header-Set': 'some-other-value' }),
        answered: { 'Some-Other-Header': 'val', 'X-Header-Set': 'set-overwrites-values' },
      },
      {
        ...answering('/add', { 'Some-Other-Header': 'val' }),
        answered: { 'Some-Other-Header': 'val', 'X-Header-Add': 'add-appends-values' },
      },
      {
        ...answering('/add', { 'Some-Other-Header': 'val', 'X-Header-Add': 'some-other-value' }),
        answered: { 'Some-Other-Header': 'val', 'X-Header-Add': 'some-other-value,add-appends-values' },
      },
      { ...answering('/remove', { 'X-Header-Remove': 'val' }), unanswered: ['X-Header-Remove'] },
      {
        ...answering('/multiple', {
          'X-Header-Set-2': 'set-val-2',
          'X-Header-Add-2': 'add-val-2',
          'X-Header-Remove-2': 'remove-val-2',
          'Another-Header': 'another-header-val',
          'X-Header-Remove-1': 'val',
        }),
        answered: {
          'X-Header-Set-1': 'header-set-1',
          'X-Header-Set-2': 'header-set-2',
          'X-Header-Add-1': 'header-add-1',
          'X-Header-Add-2': 'add-val-2,header-add-2',
          'X-Header-Add-3': 'header-add-3',
          'Another-Header': 'another-header-val',
        },
        unanswered: ['X-Header-Remove-1', 'X-Header-Remove-2'],
      },
      {
        ...answering('/case-insensitivity', {
          'x-header-set': 'original-val-set',
          'x-header-add': 'original-val-add',
          'x-header-remove': 'original-val-remove',
          'Another-Header': 'another-header-val',
        }),
        answered: {
          'X-Header-Set': 'header-set',
          'X-Header-Add': 'original-val-add,header-add',
          'X-Lowercase-Add': 'lowercase-add',
          'X-Mixedcase-Add-1': 'mixedcase-add-1',
          'X-Mixedcase-Add-2': 'mixedcase-add-2',
          'X-Uppercase-Add': 'uppercase-add',
          'Another-Header': 'another-header-val',
        },
        unanswered: ['X-Header-Remove'],
      },
      {
        ...EDITED,
        ...answering('/response-and-request-header-modifiers', {
          'X-Header-Set-2': 'set-val-2',
          'X-Header-Add-2': 'add-val-2',
          'X-Header-Remove-2': 'remove-val-2',
          'Another-Header': 'another-header-val',
          'X-Header-Remove-1': 'remove-val-1',
          'X-Header-Echo': 'echo',
        }),
        answered: {
          'X-Header-Set-1': 'header-set-1',
          'X-Header-Set-2': 'header-set-2',
          'X-Header-Add-1': 'header-add-1',
          'X-Header-Add-2': 'add-val-2,header-add-2',
          'Another-Header': 'another-header-val',
          'X-Header-Echo': 'echo',
        },
        unanswered: ['X-Header-Remove-1', 'X-Header-Remove-2'],
      },
    ],
  },
  {
    name: 'HTTPRouteRewriteHost',
    file: 'httproute-rewrite-host',
    cases: [
      to(1, '/one', { seenHost: 'one.example.org' }),
      to(2, '/two', { seenHost: 'example.org' }),
      to(2, '/rewrite-host-and-modify-headers', { ...EDITED, seenHost: 'test.example.org' }),
    ],
  },
  {
    name: 'HTTPRouteRedirectPortAndScheme',
    file: 'httproute-redirect-port-and-scheme',
    cases: [
      ...(
        [
          ['echo', '/scheme-nil-and-port-nil', 'http://example.org'],
          ['echo', '/scheme-nil-and-port-80', 'http://example.org'],
          ['echo', '/scheme-nil-and-port-8080', 'http://example.org:8080'],
          ['echo', '/scheme-https-and-port-nil', 'https://example.org'],
          ['echo', '/scheme-https-and-port-443', 'https://example.org'],
          ['echo', '/scheme-https-and-port-8443', 'https://example.org:8443'],
          ['echo:8080', '/scheme-nil-and-port-nil', 'http://example.org:8080'],
          ['echo:8080', '/scheme-nil-and-port-80', 'http://example.org'],
          ['echo:8080', '/scheme-https-and-port-nil', 'https://example.org'],
        ] as const
      ).map(([host, path, origin]) => ({ host, path, status: 302, location: `${origin}${path}` })),
    ],
  },
]

const MIRRORS: readonly RouteTest[] = [
  {
    name: 'HTTPRouteRequestMirror',
    file: 'httproute-request-mirror',
    cases: [
      to(1, '/mirror', { mirrored: { 'echo-v2': 1 } }),
      to(1, '/mirror-and-modify-headers', { ...EDITED, mirrored: { 'echo-v2': 1 } }),
    ],
  },
  {
    name: 'HTTPRouteRequestMultipleMirrors',
    file: 'httproute-request-multiple-mirrors',
    cases: [
      to(1, '/multi-mirror', { mirrored: { 'echo-v2': 1, 'echo-v3': 1 } }),
      to(1, '/multi-mirror-and-modify-request-headers', { ...EDITED, mirrored: { 'echo-v2': 1, 'echo-v3': 1 } }),
    ],
  },
  {
    name: 'HTTPRouteRequestPercentageMirror',
    file: 'httproute-request-percentage-mirror',
    cases: [
      to(1, '/percent-mirror', { mirrored: { 'echo-v2': 0.2 } }),
      to(1, '/percent-mirror-fraction', { mirrored: { 'echo-v2': 0.5 } }),
      to(1, '/percent-mirror-and-modify-headers', { ...EDITED, mirrored: { 'echo-v2': 0.35 } }),
    ],
  },
]

const PREFLIGHT = [200, 204]
const asks = (origin: string, method: string, headers?: string): Record<string, string> => ({
  Origin: origin,
  'access-control-request-method': method,
  ...(headers === undefined ? {} : { 'access-control-request-headers': headers }),
})
const BOTH = 'x-header-1, x-header-2'
const EITHER = ['x-header-1,x-header-2', 'x-header-2,x-header-1']

const CORS: RouteTest = {
  name: 'HTTPRouteCORS',
  file: 'httproute-cors',
  cases: [
    ...['https://www.foo.com', 'https://www.bar.com', 'https://xpto.www.bar.com'].map((origin) => ({
      path: '/cors-1',
      method: 'OPTIONS',
      headers: asks(origin, 'GET', BOTH),
      status: PREFLIGHT,
      answered: {
        'access-control-allow-origin': origin,
        'access-control-allow-methods': ['GET,OPTIONS', 'OPTIONS,GET'],
        'access-control-allow-headers': EITHER,
        'access-control-expose-headers': ['x-header-3,x-header-4', 'x-header-4,x-header-3'],
        'access-control-max-age': '3600',
        'access-control-allow-credentials': 'true',
      },
    })),
    {
      path: '/cors-1',
      method: 'OPTIONS',
      headers: asks('https://foobar.com', 'GET'),
      status: [...PREFLIGHT, 403],
      unanswered: ['access-control-allow-origin'],
    },
    ...['https://www.foo.com', 'https://www.bar.com'].map((origin) => ({
      path: '/cors-1',
      headers: asks(origin, 'GET', BOTH),
      answered: { 'access-control-allow-origin': origin },
    })),
    { path: '/cors-1', headers: asks('https://foobar.com', 'GET'), unanswered: ['access-control-allow-origin'] },
    {
      path: '/cors-2',
      method: 'OPTIONS',
      headers: asks('https://www.foo.com', 'POST'),
      status: PREFLIGHT,
      answered: { 'access-control-allow-methods': ['POST', '*'], 'access-control-allow-origin': 'https://www.foo.com' },
      unanswered: ['access-control-allow-credentials'],
    },
    ...['https://foobar.com', 'https://foobar.com:12345'].flatMap((origin) => [
      {
        path: '/cors-wildcard-origin',
        method: 'OPTIONS',
        headers: asks(origin, 'PUT'),
        status: PREFLIGHT,
        answered: { 'access-control-allow-origin': [origin, '*'], 'access-control-allow-methods': 'PUT' },
        unanswered: ['access-control-allow-credentials'],
      },
      {
        path: '/cors-wildcard-origin',
        method: 'PUT',
        headers: { Origin: origin },
        answered: { 'access-control-allow-origin': [origin, '*'] },
        unanswered: ['access-control-allow-credentials'],
      },
    ]),
    {
      path: '/cors-wildcard-methods-headers',
      method: 'OPTIONS',
      headers: asks('https://other.foo.com', 'PUT', BOTH),
      status: PREFLIGHT,
      answered: {
        'access-control-allow-origin': 'https://other.foo.com',
        'access-control-allow-methods': 'PUT',
        'access-control-allow-headers': EITHER,
        'access-control-allow-credentials': 'true',
      },
    },
    {
      path: '/cors-wildcard-methods-headers-unauth',
      method: 'OPTIONS',
      headers: asks('https://other.foo.com', 'PUT', BOTH),
      status: PREFLIGHT,
      answered: {
        'access-control-allow-origin': ['https://other.foo.com', '*'],
        'access-control-allow-methods': ['PUT', '*'],
        'access-control-allow-headers': [...EITHER, '*'],
      },
      unanswered: ['access-control-allow-credentials'],
    },
    {
      path: '/cors-wildcard-methods-headers',
      headers: { Origin: 'https://other.foo.com' },
      answered: { 'access-control-allow-origin': 'https://other.foo.com', 'access-control-allow-credentials': 'true' },
    },
    {
      path: '/cors-wildcard-methods-headers-unauth',
      headers: { Origin: 'https://other.foo.com' },
      answered: { 'access-control-allow-origin': ['https://other.foo.com', '*'] },
      unanswered: ['access-control-allow-credentials'],
    },
  ],
}

/** All of them. */
export const FILTER_TESTS: readonly RouteTest[] = [...FILTERS, ...MIRRORS, CORS]
