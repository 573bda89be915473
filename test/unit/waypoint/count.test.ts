// Requests through the proxy loop as Prometheus sees them.
import assert from 'node:assert/strict'
import { HttpMetrics } from '../../../telemetry/http-metrics.ts'
import { RequestCounter } from '../../../waypoint/count.ts'
import { openRecord } from '../../../waypoint/record.ts'
import type { RequestRecord } from '../../../waypoint/record.ts'
import { GRPC } from '../../support/flow-case.ts'
import { ip, serviceOf } from '../../support/mesh-values.ts'
import { podOf, requestOf, WaypointLab } from '../../support/waypoint-lab.ts'

const ENDPOINT = { to: { ip: ip('10.0.1.1'), port: 8080 }, workload: podOf('reviews-1', '10.0.1.1', ['reviews', 'canary']) }
const MESSAGE = Buffer.from([0, 0, 0, 0, 1, 7])

describe('RequestCounter', () => {
  let metrics: HttpMetrics
  let counter: RequestCounter
  const { client } = new WaypointLab().downstream()
  const service = serviceOf('reviews', ['10.96.0.1'])

  beforeEach(() => {
    metrics = new HttpMetrics()
    counter = new RequestCounter(metrics)
  })

  function record(change: Partial<RequestRecord> = {}, head = requestOf()): RequestRecord {
    return Object.assign(openRecord(client, service, head, 0), { status: 200, endMs: 3, backend: service, endpoint: ENDPOINT }, change)
  }

  const find = (pattern: RegExp): string[] =>
    [...metrics.text()]
      .join('')
      .split('\n')
      .filter((line) => pattern.test(line))

  it('labels who called whom', async () => {
    counter.ended(record())
    const [line = ''] = find(/^istio_requests_total\{/)
    for (const label of [
      'reporter="waypoint"',
      'source_principal="spiffe://cluster.local/ns/shop/sa/productpage"',
      'source_workload_namespace="shop"',
      'destination_workload="reviews-1"',
      'destination_principal="spiffe://cluster.local/ns/shop/sa/reviews-1"',
      'destination_service="reviews.shop.svc.cluster.local"',
      'destination_service_name="reviews"',
      'destination_service_namespace="shop"',
      'connection_security_policy="mutual_tls"',
    ])
      assert.ok(line.includes(label), `${label} is not in ${line}`)
  })

  it('tells services of one endpoint apart', async () => {
    const canary = serviceOf('canary', ['10.96.0.3'])
    counter.ended(record())
    counter.ended(record({ backend: canary }))
    assert.equal(find(/^istio_requests_total\{.*destination_service_name="reviews".* 1$/).length, 1)
    assert.equal(find(/^istio_requests_total\{.*destination_service_name="canary".* 1$/).length, 1)
  })

  it('counts what has no endpoint', async () => {
    counter.ended(record({ backend: undefined, endpoint: undefined, status: 404, flags: new Set(['NR']) }))
    const pattern = /destination_workload="unknown".*destination_service_name="reviews".*response_code="404".*response_flags="NR"/
    assert.equal(find(pattern).filter((line) => line.startsWith('istio_requests_total')).length, 1)
  })

  it('counts messages of a call while it lasts, and each once', async () => {
    const call = record({}, requestOf(GRPC))
    counter.answering(call)
    call.messages?.request.take(MESSAGE)
    assert.equal(find(/^istio_request_messages_total\{.* 1$/).length, 1)
    assert.equal(find(/^istio_requests_total\{/).length, 0)
    call.messages?.request.take(MESSAGE)
    call.messages?.response.take(MESSAGE)
    counter.ended(call)
    assert.equal(find(/^istio_request_messages_total\{.* 2$/).length, 1)
    assert.equal(find(/^istio_response_messages_total\{.* 1$/).length, 1)
    assert.equal(find(/^istio_requests_total\{.*request_protocol="grpc".* 1$/).length, 1)
  })

  it('counts messages of a call that was never answered', async () => {
    const call = record({ status: 0 }, requestOf(GRPC))
    call.messages?.request.take(MESSAGE)
    counter.ended(call)
    assert.equal(find(/^istio_request_messages_total\{.* 1$/).length, 1)
  })
})
