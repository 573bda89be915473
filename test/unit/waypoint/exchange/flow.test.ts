// The proxy loop: what happens when client, endpoint or configuration go away or slow down, without sockets.
import assert from 'node:assert/strict'
import { httpFailure } from '../../../../http/errors.ts'
import type { HeaderField } from '../../../../model/http.ts'
import type { SpiffeId } from '../../../../model/identity.ts'
import { ONE_POD, OTHER, RATINGS, REVIEWS, backend, deny, limits, policy, route } from '../../../support/flow-case.ts'
import { ip } from '../../../support/mesh-values.ts'
import { FakeBody, podOf, turns, WaypointLab } from '../../../support/waypoint-lab.ts'
import type { FakeExchange } from '../../../support/waypoint-lab.ts'

describe('flow', () => {
  it("routes of the caller's namespace come first", async () => {
    const consumerRoutes = new Map([['other', [route({ backends: [backend(RATINGS)] }, {}, 'consumer')]]])
    const lab = new WaypointLab({ listener: { routes: [route()], consumerRoutes } })
    const client = {
      identity: OTHER,
      id: 'spiffe://cluster.local/ns/other/sa/eve' as SpiffeId,
      source: { namespace: 'other', app: '', version: '' },
    }
    const exchange = await lab.request({}, undefined, client)
    await turns()
    assert.equal(exchange.writer.text, 'ratings-1')
  })

  it('connections are shared by requests of one client only', async () => {
    const lab = new WaypointLab({ pods: ONE_POD })
    for (const id of ['a', 'a', 'b']) {
      await lab.request({}, undefined, { id: `spiffe://cluster.local/ns/shop/sa/${id}` as SpiffeId })
      await turns()
    }
    assert.equal(lab.connected.length, 2)
  })

  it('a stale connection costs a safe request nothing', async () => {
    const lab = new WaypointLab({
      pods: ONE_POD,
      answer: (request, index) => (index === 1 ? request.fail('CONNECTION_CLOSED', true) : request.respond(200)),
    })
    await lab.request()
    await turns()
    const second = await lab.request()
    await turns()
    assert.equal(second.status, 200)
    assert.equal(lab.upstream.length, 3)
  })

  it('a stale connection fails a POST', async () => {
    const lab = new WaypointLab({
      pods: ONE_POD,
      answer: (request, index) => (index === 1 ? request.fail('CONNECTION_CLOSED', true) : request.respond(200)),
    })
    await lab.request()
    await turns()
    const second = await lab.request({ method: 'POST' })
    await turns()
    assert.equal(second.status, 503)
  })

  it('maxConnections: a second request waits for the first', async () => {
    const lab = new WaypointLab({ pods: ONE_POD, backends: limits({ maxConnections: 1 }), answer: () => undefined })
    const first = await lab.request()
    const second = await lab.request()
    await turns()
    assert.equal(lab.upstream.length, 1)
    lab.upstream[0]?.respond(200, 'one')
    await turns()
    lab.upstream[1]?.respond(200, 'two')
    await turns()
    assert.deepEqual([first.writer.text, second.writer.text, lab.connected.length], ['one', 'two', 1])
  })

  it('the client goes before the response: the try is cancelled', async () => {
    const lab = new WaypointLab({ answer: () => undefined })
    const exchange = await lab.request()
    await turns()
    exchange.leave()
    assert.equal(lab.upstream[0]?.cancelled?.code, 'CLIENT_GONE')
    assert.deepEqual([...(lab.records[0]?.flags ?? [])], ['DC'])
    assert.equal(lab.records[0]?.status, 0)
  })

  it('the client goes in the middle of the response', async () => {
    const lab = new WaypointLab({ answer: (request) => void request.begin(200).data('ab') })
    const exchange = await lab.request()
    await turns()
    exchange.leave()
    assert.equal(lab.upstream[0]?.cancelled?.code, 'CLIENT_GONE')
    assert.equal(lab.records.length, 1)
  })

  it('the client goes while a fault delays it', async () => {
    const lab = new WaypointLab({ listener: { routes: [route({ fault: { delay: { fixedMs: 700, percent: 100 }, abort: undefined } })] } })
    const exchange = await lab.request()
    exchange.leave()
    await lab.clock.advance(1000)
    await turns()
    assert.equal(lab.upstream.length, 0)
    assert.equal(lab.clock.pending, 0)
  })

  it('the endpoint breaks its response off: the client sees it', async () => {
    const body = { current: undefined as FakeBody | undefined }
    const lab = new WaypointLab({
      answer: (request) => {
        body.current = request.begin(200).data('ab')
      },
    })
    const exchange = await lab.request()
    await turns()
    body.current?.fail(httpFailure('CONNECTION_CLOSED'))
    assert.equal(exchange.writer.text, 'ab')
    assert.equal(exchange.writer.aborted?.code, 'CONNECTION_CLOSED')
    assert.deepEqual([...(lab.records[0]?.flags ?? [])], ['UC'])
  })

  it('the request timeout passes in the middle of the response', async () => {
    const lab = new WaypointLab({
      listener: { routes: [route({ timeouts: { requestMs: 500, backendRequestMs: undefined } })] },
      answer: (request) => void request.begin(200).data('ab'),
    })
    const exchange = await lab.request()
    await turns()
    await lab.clock.advance(500)
    assert.equal(exchange.writer.aborted?.code, 'REQUEST_TIMEOUT')
    assert.equal(lab.upstream[0]?.cancelled?.code, 'REQUEST_TIMEOUT')
  })

  it('the client breaks its body off', async () => {
    const lab = new WaypointLab({ answer: () => undefined })
    const body = new FakeBody(10)
    const exchange = await lab.request({ method: 'POST' }, body)
    await turns()
    body.data('abc').fail(httpFailure('BAD_MESSAGE'))
    assert.equal(exchange.wasReset?.code, 'BAD_MESSAGE')
    assert.equal(lab.upstream[0]?.cancelled?.code, 'BAD_MESSAGE')
  })

  it('a client that goes while it sends is not held against the endpoint', async () => {
    const lab = new WaypointLab({ answer: () => undefined })
    const body = new FakeBody(10)
    await lab.request({ method: 'POST' }, body)
    await turns()
    const upstream = lab.upstream[0]
    assert.ok(upstream)
    upstream.body.abort = () => upstream.fail('UPSTREAM_RESET', true) // as codecs do
    body.data('abc').fail(httpFailure('CLIENT_GONE'))
    assert.deepEqual([lab.records[0]?.status, ...(lab.records[0]?.flags ?? [])], [0, 'DC'])
    assert.equal(upstream.cancelled?.code, 'CLIENT_GONE')
  })

  it('nothing is read from the client before a connection is there', async () => {
    const lab = new WaypointLab({ backends: limits({ maxConnections: 1 }), pods: ONE_POD, answer: () => undefined })
    await lab.request()
    const body = new FakeBody(3).data('abc').end()
    await lab.request({ method: 'POST' }, body)
    await turns()
    assert.equal(body.isStarted, false)
  })

  it('a slow endpoint slows the client down', async () => {
    const lab = new WaypointLab({ answer: () => undefined })
    const body = new FakeBody(undefined)
    await lab.request({ method: 'POST' }, body)
    await turns()
    const writer = lab.upstream[0]?.body
    assert.ok(writer)
    writer.takesMore = false
    body.data('abc')
    assert.equal(body.isPaused, true)
    writer.onDrain?.()
    assert.equal(body.isPaused, false)
  })

  it('a slow client slows the endpoint down', async () => {
    const body = { current: undefined as FakeBody | undefined }
    const lab = new WaypointLab({
      answer: (request) => {
        body.current = request.begin(200)
      },
    })
    const exchange = await lab.request()
    await turns()
    exchange.writer.takesMore = false
    body.current?.data('abc')
    assert.equal(body.current?.isPaused, true)
    exchange.writer.onDrain?.()
    assert.equal(body.current?.isPaused, false)
  })

  it('an answer before the body has ended: the try is given up, the rest is dropped', async () => {
    const lab = new WaypointLab({ answer: (request) => request.respond(413) })
    const body = new FakeBody(undefined).data('abc')
    const exchange = await lab.request({ method: 'POST' }, body)
    await turns()
    body.data('def')
    assert.equal(exchange.status, 413)
    assert.equal(lab.upstream[0]?.cancelled?.code, 'SUPERSEDED')
    assert.equal(lab.upstream[0]?.body.text, 'abc')
  })

  describe('upgrade', () => {
    const upgraded = async (lab: WaypointLab): Promise<{ exchange: FakeExchange; reader: FakeBody; written: () => string }> => {
      const exchange = await lab.request({ upgrade: 'websocket' })
      await turns()
      const reader = new FakeBody(undefined)
      const { body, handlers } = lab.upstream[0] ?? assert.fail('nothing was sent')
      handlers.onUpgrade({ status: 101, headers: [['upgrade', 'websocket']] as HeaderField[] }, { reader, writer: body })
      return { exchange, reader, written: () => body.text }
    }

    it('bytes pass both ways until both have ended', async () => {
      const lab = new WaypointLab({
        answer: () => undefined,
        listener: { routes: [route({ timeouts: { requestMs: 500, backendRequestMs: undefined } })] },
      })
      const { exchange, reader } = await upgraded(lab)
      reader.data('to client')
      exchange.raw.reader.data('to endpoint')
      await lab.clock.advance(1000)
      assert.equal(exchange.raw.writer.text, 'to client')
      assert.equal(lab.records.length, 0)
      reader.end()
      exchange.raw.reader.end()
      assert.deepEqual([lab.records[0]?.status, lab.records[0]?.bytesSent, lab.records[0]?.bytesReceived], [101, 9, 11])
      assert.equal(lab.context.live.size, 0)
    })

    it('a policy that forbids it now ends it', async () => {
      const lab = new WaypointLab({ answer: () => undefined })
      const { exchange } = await upgraded(lab)
      lab.context.config.apply({ policies: { upserts: [deny('cluster.local/ns/shop/sa/productpage')], removes: [] } })
      lab.context.live.recheck()
      assert.equal(exchange.raw.writer.aborted?.code, 'POLICY_CHANGED')
      assert.equal(lab.upstream[0]?.cancelled?.code, 'POLICY_CHANGED')
    })

    it('the end of the process ends it', async () => {
      const lab = new WaypointLab({ answer: () => undefined })
      const { exchange, reader } = await upgraded(lab)
      reader.data('abc')
      lab.context.live.close()
      assert.equal(lab.records[0]?.bytesSent, 3)
      assert.equal(exchange.raw.writer.aborted?.code, 'DRAINED')
    })
  })

  describe('configuration', () => {
    it('a request goes on with the routes that it began with', async () => {
      const lab = new WaypointLab({ answer: () => undefined, listener: { routes: [route({}, {}, 'old')] } })
      const exchange = await lab.request()
      await turns()
      const name = `shop/waypoint/${REVIEWS}/80`
      lab.context.config.applyListeners({ upserts: [], removes: [name] })
      lab.upstream[0]?.respond(200)
      await turns()
      assert.deepEqual([exchange.status, lab.records[0]?.route], [200, 'old'])
    })

    it('a new endpoint is used, one that is gone is not', async () => {
      const lab = new WaypointLab({ pods: ONE_POD })
      await lab.request()
      await turns()
      lab.context.config.apply({
        workloads: { upserts: [podOf('reviews-9', '10.0.1.9', ['reviews'])], removes: ['Kubernetes//Pod/shop/reviews-1'] },
      })
      const exchange = await lab.request()
      await turns()
      assert.equal(exchange.writer.text, 'reviews-9')
    })

    it('another policy of the backend: requests under way end on their connections', async () => {
      const lab = new WaypointLab({ pods: ONE_POD, answer: () => undefined })
      const first = await lab.request()
      await turns()
      lab.context.config.applyBackends({ upserts: policy({ http: 'HTTP/2' }), removes: [] })
      await lab.request()
      await turns()
      lab.upstream[0]?.respond(200, 'old')
      await turns()
      assert.equal(first.writer.text, 'old')
      assert.deepEqual(lab.connected, ['reviews-1 HTTP/1.1', 'reviews-1 HTTP/2'])
    })
  })

  it('traffic to a pod by its address goes to that pod', async () => {
    const lab = new WaypointLab()
    const workload = lab.context.config.mesh.workloadByAddress('', ip('10.0.1.2')) ?? assert.fail('no such pod')
    const exchange = await lab.request(
      {},
      undefined,
      {},
      { kind: 'workload', workload, to: { ip: ip('10.0.1.2'), port: 8080 }, service: undefined },
    )
    await turns()
    assert.equal(exchange.writer.text, 'reviews-2')
  })
})
