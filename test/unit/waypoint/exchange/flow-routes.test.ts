// The proxy loop: routes, filters and faults, case by case, without sockets and with a fake clock.
import assert from 'node:assert/strict'
import { GRPC, NO_EDITS, PREFIX, RATINGS, REVIEWS, backend, header, route, runCase } from '../../../support/flow-case.ts'
import type { Case } from '../../../support/flow-case.ts'
import { podOf } from '../../../support/waypoint-lab.ts'

const EXACT = (value: string): Parameters<typeof route>[1] => ({ path: { kind: 'exact', value, ignoresCase: false } })

const CASES: readonly Case[] = [
  { name: 'no routes: to the service itself', status: 200, text: 'reviews-1', flags: '', routeName: 'default', pods: ['reviews-1'] },
  {
    name: 'the first route that matches counts',
    routes: [route({}, PREFIX('/a'), 'a'), route({ backends: [backend(RATINGS)] }, {}, 'b')],
    request: { path: '/b' },
    status: 200,
    text: 'ratings-1',
    routeName: 'b',
  },
  ...[
    { path: '/admin;x=y', status: 400 },
    { path: '/admin;', status: 400 },
    { path: '/admin;x=y/keys', status: 400 },
    { path: '/admin%3Bx=y/keys', status: 400 },
    { path: '/admin/keys;x=y', status: 500, routeName: 'admin' },
    { path: '/admin/k;x/y;z', status: 500, routeName: 'admin' },
    { path: '/cart;x=y', status: 400 },
    { path: '/cart;x=z', status: 200, routeName: 'spelled' },
    { path: '/other;x=y', status: 200, routeName: 'rest' },
    { path: '/other;x=y/admin', status: 200, routeName: 'rest' },
  ].map(
    ({ path, status, routeName }): Case => ({
      name: `parameters must not lead to another rule: ${path}`,
      routes: [
        route({ backends: [] }, PREFIX('/admin'), 'admin'),
        route({ backends: [backend(RATINGS)] }, EXACT('/cart'), 'cart'),
        route({ backends: [backend(RATINGS)] }, EXACT('/cart;x=z'), 'spelled'),
        route({ backends: [backend(REVIEWS)] }, {}, 'rest'),
      ],
      request: { path },
      status,
      flags: status === 400 ? 'DPE' : status === 500 ? 'NC' : '',
      ...(routeName === undefined ? { pods: [] } : { routeName }),
    }),
  ),
  {
    name: 'paths with parameters that no rule takes, as before',
    routes: [route({}, PREFIX('/a'))],
    request: { path: '/b;c' },
    status: 404,
    flags: 'NR',
  },
  { name: 'no route matches', routes: [route({}, PREFIX('/a'))], status: 404, flags: 'NR', pods: [] },
  {
    name: 'no route matches a gRPC call',
    routes: [route({}, PREFIX('/a'))],
    request: GRPC,
    status: 200,
    flags: 'NR',
    check: header('grpc-status', '12'),
  },
  {
    name: 'weight 0 gets nothing',
    routes: [route({ backends: [backend(REVIEWS, 0), backend(RATINGS, 1)] })],
    status: 200,
    text: 'ratings-1',
  },
  {
    name: 'a share by weight',
    lab: { random: () => 0.6 },
    routes: [route({ backends: [backend(REVIEWS, 50), backend(RATINGS, 50)] })],
    status: 200,
    text: 'ratings-1',
  },
  {
    name: 'an invalid backend keeps its share',
    routes: [route({ backends: [{ kind: 'invalid', weight: 1, filters: [], reason: 'gone' }] })],
    status: 500,
    flags: 'NC',
    pods: [],
  },
  {
    name: 'an invalid backend of a gRPC call is UNAVAILABLE',
    routes: [route({ backends: [{ kind: 'invalid', weight: 1, filters: [], reason: 'gone' }] })],
    request: GRPC,
    status: 200,
    check: header('grpc-status', '14'),
  },
  { name: 'no backend at all', routes: [route({ backends: [] })], status: 500, flags: 'NC' },
  {
    name: 'an unknown service',
    routes: [route({ backends: [backend('shop/nobody.shop.svc.cluster.local')] })],
    status: 503,
    flags: 'UH',
    text: 'no healthy upstream',
  },
  {
    name: 'no ready endpoint',
    lab: { pods: [podOf('reviews-1', '10.0.1.1', ['reviews'], { health: 'UNHEALTHY' })] },
    status: 503,
    flags: 'UH',
    pods: [],
  },
  { name: 'no ready endpoint for gRPC', lab: { pods: [] }, request: GRPC, status: 200, flags: 'UH', check: header('grpc-status', '14') },
  {
    name: 'a pod whose enrolment failed is no endpoint',
    lab: { pods: [podOf('reviews-1', '10.0.1.1', ['reviews'], { isPending: true })] },
    status: 503,
    flags: 'UH',
  },
  { name: 'x-request-id is added', status: 200, check: (_, lab) => assert.equal(lab.upstream[0]?.header('x-request-id'), 'id-1') },
  {
    name: 'x-request-id stays',
    request: { headers: [['x-request-id', 'mine']] },
    status: 200,
    check: (_, lab) => assert.equal(lab.upstream[0]?.header('x-request-id'), 'mine'),
  },
  {
    name: 'a forged client certificate header is dropped',
    request: { headers: [['x-forwarded-client-cert', 'By=x']] },
    status: 200,
    check: (_, lab) => assert.equal(lab.upstream[0]?.header('x-forwarded-client-cert'), undefined),
  },
  {
    name: 'request headers are edited',
    routes: [route({ filters: [{ kind: 'requestHeaders', edits: { set: [['a', '2']], add: [['b', '3']], remove: ['c'] } }] })],
    request: {
      headers: [
        ['a', '1'],
        ['c', '4'],
      ],
    },
    status: 200,
    check: (_, lab) =>
      assert.deepEqual([lab.upstream[0]?.header('a'), lab.upstream[0]?.header('b'), lab.upstream[0]?.header('c')], ['2', '3', undefined]),
  },
  {
    name: 'response headers are edited, by the rule and by the backend',
    routes: [
      route({
        filters: [{ kind: 'responseHeaders', edits: { ...NO_EDITS, set: [['a', '1']] } }],
        backends: [backend(REVIEWS, 1, [{ kind: 'responseHeaders', edits: { ...NO_EDITS, add: [['b', '2']] } }])],
      }),
    ],
    status: 200,
    check: (exchange) => assert.deepEqual([exchange.header('a'), exchange.header('b')], ['1', '2']),
  },
  {
    name: 'a redirect is answered here',
    routes: [
      route({ filters: [{ kind: 'redirect', scheme: undefined, hostname: 'elsewhere', port: undefined, path: undefined, status: 302 }] }),
    ],
    request: { path: '/x' },
    status: 302,
    pods: [],
    check: (exchange) => assert.match(exchange.header('location') ?? '', /elsewhere\/x|elsewhere:80\/x/),
  },
  {
    name: 'a rewrite changes host and path',
    routes: [route({ filters: [{ kind: 'rewrite', hostname: 'inner', path: { kind: 'full', value: '/new' } }] })],
    request: { path: '/old' },
    status: 200,
    check: (_, lab) => assert.deepEqual([lab.upstream[0]?.head.authority, lab.upstream[0]?.head.path], ['inner', '/new']),
  },
  {
    name: 'a CORS preflight is answered here',
    routes: [
      route({
        filters: [
          {
            kind: 'cors',
            policy: {
              allowOrigins: ['http://a'],
              allowMethods: ['GET'],
              allowHeaders: [],
              exposeHeaders: [],
              allowCredentials: false,
              maxAgeSeconds: 5,
            },
          },
        ],
      }),
    ],
    request: {
      method: 'OPTIONS',
      headers: [
        ['origin', 'http://a'],
        ['access-control-request-method', 'GET'],
      ],
    },
    status: 204,
    pods: [],
    check: header('access-control-allow-origin', 'http://a'),
  },
  {
    name: 'CORS fields are added to a response',
    routes: [
      route({
        filters: [
          {
            kind: 'cors',
            policy: {
              allowOrigins: ['http://a'],
              allowMethods: ['GET'],
              allowHeaders: [],
              exposeHeaders: [],
              allowCredentials: false,
              maxAgeSeconds: 5,
            },
          },
        ],
      }),
    ],
    request: { headers: [['origin', 'http://a']] },
    status: 200,
    pods: ['reviews-1'],
    check: header('access-control-allow-origin', 'http://a'),
  },
  {
    name: 'fault: abort',
    routes: [route({ fault: { delay: undefined, abort: { status: 418, grpcStatus: undefined, percent: 100 } } })],
    status: 418,
    flags: 'FI',
    pods: [],
  },
  {
    name: 'fault: abort of a gRPC call',
    routes: [route({ fault: { delay: undefined, abort: { status: 503, grpcStatus: 9, percent: 100 } } })],
    request: GRPC,
    status: 200,
    flags: 'FI',
    check: header('grpc-status', '9'),
  },
  {
    name: 'fault: a share that is not drawn',
    lab: { random: () => 0.99 },
    routes: [route({ fault: { delay: undefined, abort: { status: 418, grpcStatus: undefined, percent: 50 } } })],
    status: 200,
  },
  {
    name: 'fault: delay',
    routes: [route({ fault: { delay: { fixedMs: 700, percent: 100 }, abort: undefined } })],
    advanceMs: 700,
    status: 200,
    flags: 'DI',
    check: (_, lab) => assert.equal(lab.records[0]?.responseMs, 1_000_700),
  },
  {
    name: 'fault: a delay beyond the request timeout',
    routes: [
      route({
        fault: { delay: { fixedMs: 700, percent: 100 }, abort: undefined },
        timeouts: { requestMs: 500, backendRequestMs: undefined },
      }),
    ],
    advanceMs: 700,
    status: 504,
    flags: 'DI,UT',
    pods: [],
  },
]

describe('flow: routes, filters, faults', () => {
  for (const row of CASES) it(row.name, () => runCase(row))
})
