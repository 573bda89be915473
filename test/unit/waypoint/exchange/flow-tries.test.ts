// The proxy loop: timeouts, retries, limits, policy, versions, mirrors, case by case, without sockets and with a fake clock.
import assert from 'node:assert/strict'
import { ANSWER, BUCKET, GRPC, RATINGS, deny, header, limits, policy, retry, route, runCase } from '../../../support/flow-case.ts'
import type { Case } from '../../../support/flow-case.ts'
import { FakeBody } from '../../../support/waypoint-lab.ts'

const CASES: readonly Case[] = [
  {
    name: 'request timeout',
    lab: { answer: ANSWER('silence') },
    routes: [route({ timeouts: { requestMs: 500, backendRequestMs: undefined } })],
    advanceMs: 500,
    status: 504,
    flags: 'UT',
    text: 'request timeout',
    check: (_, lab) => assert.equal(lab.upstream[0]?.cancelled?.code, 'REQUEST_TIMEOUT'),
  },
  {
    name: 'request timeout of a gRPC call',
    lab: { answer: ANSWER('silence') },
    routes: [route({ timeouts: { requestMs: 500, backendRequestMs: undefined } })],
    request: GRPC,
    advanceMs: 500,
    status: 200,
    flags: 'UT',
    check: header('grpc-status', '4'),
  },
  {
    name: 'timeout of one try',
    lab: { answer: ANSWER('silence') },
    routes: [route({ timeouts: { requestMs: undefined, backendRequestMs: 300 } })],
    advanceMs: 300,
    status: 504,
    flags: 'UT',
    pods: ['reviews-1'],
  },
  {
    name: 'timeout of one try, then another endpoint',
    lab: { answer: ANSWER('silence', 200) },
    routes: [route({ retry: retry({ perTryMs: 300 }) })],
    advanceMs: 400,
    status: 200,
    pods: ['reviews-1', 'reviews-2'],
  },
  {
    name: 'retry of a status',
    lab: { answer: ANSWER(503, 200) },
    routes: [route({ retry: retry({}) })],
    advanceMs: 25,
    status: 200,
    text: 'reviews-2',
    flags: '',
    pods: ['reviews-1', 'reviews-2'],
  },
  {
    name: 'retries are used up: the last answer',
    lab: { answer: ANSWER(503) },
    routes: [route({ retry: retry({}) })],
    advanceMs: 500,
    status: 503,
    flags: 'URX',
    pods: ['reviews-1', 'reviews-2', 'reviews-1'],
  },
  {
    name: 'no retry of what is not named',
    lab: { answer: ANSWER(404) },
    routes: [route({ retry: retry({}) })],
    advanceMs: 500,
    status: 404,
    flags: '',
    pods: ['reviews-1'],
  },
  {
    name: 'no retry of a POST that was seen',
    lab: { answer: ANSWER(503) },
    routes: [route({ retry: retry({}) })],
    request: { method: 'POST' },
    advanceMs: 500,
    status: 503,
    pods: ['reviews-1'],
  },
  {
    name: 'a PUT is sent again with its body',
    lab: { answer: ANSWER(503, 200) },
    routes: [route({ retry: retry({}) })],
    request: { method: 'PUT' },
    body: () => new FakeBody(undefined).data('abc').data('def').end(),
    advanceMs: 100,
    status: 200,
    check: (_, lab) =>
      assert.deepEqual(
        lab.upstream.map(({ body }) => body.text),
        ['abcdef', 'abcdef'],
      ),
  },
  {
    name: 'a body beyond the limit is sent once',
    lab: { answer: ANSWER(503), settings: { replayBytes: 4 } },
    routes: [route({ retry: retry({}) })],
    request: { method: 'PUT' },
    body: () => new FakeBody(undefined).data('abc').data('def').end(),
    advanceMs: 100,
    status: 503,
    pods: ['reviews-1'],
  },
  { name: 'a reset before the response', lab: { answer: ANSWER('reset') }, status: 503, flags: 'UC', pods: ['reviews-1'] },
  {
    name: 'a reset, then a retry by the policy',
    lab: { answer: ANSWER('reset', 200) },
    routes: [route({ retry: retry({ conditions: ['reset'] }) })],
    advanceMs: 100,
    status: 200,
    pods: ['reviews-1', 'reviews-2'],
  },
  {
    name: 'a refused stream was not processed: tried again at once',
    lab: { answer: ANSWER('refused', 200) },
    request: { method: 'POST' },
    status: 200,
    pods: ['reviews-1', 'reviews-2'],
  },
  {
    name: 'a malformed response is 502',
    lab: { answer: (request) => request.fail('UPSTREAM_BAD_MESSAGE', true) },
    status: 502,
    flags: 'UPE',
  },
  {
    name: 'a connect that fails goes to another endpoint',
    lab: {
      connect: ({ endpoint }) => {
        if (endpoint.workload.name === 'reviews-1') throw new Error('ECONNREFUSED')
      },
    },
    request: { method: 'POST' },
    status: 200,
    text: 'reviews-2',
    pods: ['reviews-2'],
  },
  {
    name: 'nobody can be connected to',
    lab: {
      connect: () => {
        throw new Error('ECONNREFUSED')
      },
    },
    status: 503,
    flags: 'UF',
    pods: [],
  },
  {
    name: 'rate limit of the listener',
    lab: { listener: { rateLimits: [{ ...BUCKET, burst: 0, requests: 0 }] } },
    status: 429,
    flags: 'RL',
    pods: [],
  },
  {
    name: 'rate limit of a rule',
    routes: [route({ rateLimits: [{ ...BUCKET, burst: 0, requests: 0 }] })],
    status: 429,
    flags: 'RL',
    routeName: 'HTTPRoute/shop/r/0',
    check: (exchange) => assert.ok(Number(exchange.header('retry-after')) >= 1),
  },
  {
    name: 'policy denies the client',
    lab: { policies: [deny('cluster.local/ns/shop/sa/productpage')] },
    status: 403,
    text: 'RBAC: access denied',
    flags: '',
    pods: [],
  },
  {
    name: 'policy denies the client of a gRPC call',
    lab: { policies: [deny('cluster.local/ns/shop/sa/productpage')] },
    request: GRPC,
    status: 200,
    check: header('grpc-status', '7'),
  },
  { name: 'policy denies somebody else', lab: { policies: [deny('cluster.local/ns/shop/sa/eve')] }, status: 200 },
  {
    name: 'HTTP/1.1 unless something asks for more',
    status: 200,
    check: (_, lab) => assert.deepEqual(lab.connected, ['reviews-1 HTTP/1.1']),
  },
  { name: 'HTTP/2 for gRPC', request: GRPC, status: 200, check: (_, lab) => assert.deepEqual(lab.connected, ['reviews-1 HTTP/2']) },
  {
    name: 'HTTP/2 by the backend policy',
    lab: { backends: policy({ http: 'HTTP/2' }) },
    status: 200,
    check: (_, lab) => assert.deepEqual(lab.connected, ['reviews-1 HTTP/2']),
  },
  {
    name: 'trailers and grpc-status reach client and record',
    lab: { answer: (request) => request.respond(200, 'x', [], [['grpc-status', '5']]) },
    request: GRPC,
    status: 200,
    check: (exchange, lab) => assert.deepEqual([exchange.writer.trailers, lab.records[0]?.grpcStatus], [[['grpc-status', '5']], 5]),
  },
  {
    name: 'interim responses pass',
    lab: {
      answer: (request) => {
        request.handlers.onInform({ status: 103, headers: [] })
        request.respond(200)
      },
    },
    status: 200,
    check: (exchange) => assert.deepEqual(exchange.informs, [103]),
  },
  {
    name: 'a mirror gets a copy',
    routes: [
      route({
        filters: [{ kind: 'mirror', mirror: { backend: { service: RATINGS, port: 80, subset: undefined }, numerator: 1, denominator: 1 } }],
      }),
    ],
    request: { method: 'POST', authority: 'reviews:80' },
    body: () => new FakeBody(3).data('abc').end(),
    status: 200,
    text: 'reviews-1',
    check: (_, lab) => {
      const copy = lab.upstream.find(({ pod }) => pod === 'ratings-1')
      assert.deepEqual([copy?.head.authority, copy?.body.text, lab.records.length], ['reviews-shadow:80', 'abc', 1])
    },
  },
  {
    name: 'a body beyond the limit is not mirrored',
    lab: { settings: { replayBytes: 2 } },
    routes: [
      route({
        filters: [{ kind: 'mirror', mirror: { backend: { service: RATINGS, port: 80, subset: undefined }, numerator: 1, denominator: 1 } }],
      }),
    ],
    request: { method: 'POST' },
    body: () => new FakeBody(3).data('abc').end(),
    status: 200,
    pods: ['reviews-1'],
  },
  {
    name: 'a session cookie names the endpoint',
    routes: [route({ sessionPersistence: { name: 's', kind: 'cookie', cookiePath: '/', absoluteTimeoutSeconds: undefined } })],
    status: 200,
    check: (exchange) => assert.match(exchange.header('set-cookie') ?? '', /^s=w1\./),
  },
  { name: 'more requests than allowed', lab: { backends: limits({ maxRequests: 0 }) }, status: 503, flags: 'UO', pods: [] },
  { name: 'more waiting requests than allowed', lab: { backends: limits({ maxPendingRequests: 0 }) }, status: 503, flags: 'UO', pods: [] },
  { name: 'HEAD of an error has no body', lab: { pods: [] }, request: { method: 'HEAD' }, status: 503, text: '' },
]

describe('flow: tries', () => {
  for (const row of CASES) it(row.name, () => runCase(row))
})
