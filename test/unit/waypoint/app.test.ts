// A whole waypoint on loopback: from xDS and certificates to a client's bytes at an endpoint.
import assert from 'node:assert/strict'
import http from 'node:http'
import http2 from 'node:http2'
import net from 'node:net'
import { text } from 'node:stream/consumers'
import { codeOf } from '../../../kit/error.ts'
import { TCP_LABELS } from '../../../telemetry/names.ts'
import { deny, limits, REVIEWS, route } from '../../support/flow-case.ts'
import { listenerOf } from '../../support/route-values.ts'
import { CLIENT_ID, WaypointWorld } from '../../support/waypoint-world.ts'

describe('app', function () {
  this.timeout('20s')

  it('carries HTTP/1.1 to the endpoint as the waypoint, and names the client', async () => {
    await using world = await WaypointWorld.start()
    const answer = await world.request('/a/../b?c=d', { method: 'POST', body: 'hello' })
    assert.equal(answer.status, 200)
    const seen = JSON.parse(answer.text) as { url: string; body: string; headers: Record<string, string> }
    assert.deepEqual([seen.url, seen.body], ['/b?c=d', 'hello'])
    assert.match(seen.headers['x-request-id'] ?? '', /^[0-9a-f-]{36}$/)
    const connect = world.connects[0]
    assert.deepEqual(
      [connect?.extra?.['x-weft-source'], connect?.forwarded, connect?.baggage],
      [CLIENT_ID, 'for="127.0.0.1";host=reviews.shop.svc.cluster.local', 'k8s.namespace.name=shop'],
    )
    const line = world.lines.find((text) => text.includes('request complete')) ?? assert.fail(world.lines.join(''))
    const fields = JSON.parse(line) as Record<string, unknown>
    assert.deepEqual(
      [
        fields.method,
        fields.path,
        fields.response_code,
        fields.response_flags,
        fields.route_name,
        fields['src.identity'],
        fields['dst.service'],
      ],
      ['POST', '/b', 200, '-', 'default', 'spiffe://cluster.local/ns/shop/sa/client', 'reviews.shop.svc.cluster.local'],
    )
  })

  it('follows routes as they are pushed', async () => {
    await using world = await WaypointWorld.start({
      listener: { routes: [route({}, { path: { kind: 'exact', value: '/ok', ignoresCase: false } }, 'r')] },
    })
    assert.equal((await world.request('/ok')).status, 200)
    assert.equal((await world.request('/no')).status, 404)
  })

  it('denies by the endpoint policies, with 403 and without a try', async () => {
    await using world = await WaypointWorld.start({ policies: [deny('cluster.local/ns/shop/sa/client')] })
    const answer = await world.request('/')
    assert.deepEqual([answer.status, answer.text, world.connects.length], [403, 'RBAC: access denied', 0])
  })

  it('carries HTTP/2 with trailers', async () => {
    const app = http2.createServer((request, response) => {
      request.resume()
      request.on('end', () => {
        response.setHeader('content-type', 'application/grpc')
        response.on('wantTrailers', () => undefined)
        response.addTrailers({ 'grpc-status': '0' })
        response.end(`${request.method} ${request.url}`)
      })
    })
    await using world = await WaypointWorld.start({ app, appProtocol: 'HTTP2' })
    const stream = await world.tunnel('10.96.0.1:80')
    const session = http2.connect('http://reviews', { createConnection: () => stream })
    const calls = await Promise.all(
      ['/a', '/b', '/c'].map(async (path) => {
        const call = session.request({ ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers' })
        call.end(Buffer.from([0, 0, 0, 0, 1, 120]))
        let trailers: http2.IncomingHttpHeaders = {}
        call.once('trailers', (fields) => {
          trailers = fields
        })
        return `${await text(call)} ${trailers['grpc-status']}`
      }),
    )
    assert.deepEqual(calls, ['POST /a 0', 'POST /b 0', 'POST /c 0'])
    assert.equal(world.connects.length, 1, 'one connection to the endpoint')
    assert.match((await world.page('stats', '/metrics')).text, /istio_request_messages_total\{.*\} 3/)
    session.destroy()
  })

  it('dials an endpoint outside the mesh in plaintext', async () => {
    await using world = await WaypointWorld.start({ isPlain: true })
    assert.equal((await world.request('/')).status, 200)
    assert.equal(world.connects.length, 0)
  })

  it('refuses what it does not serve', async () => {
    await using world = await WaypointWorld.start()
    for (const authority of ['10.96.0.7:80', '10.96.0.1:81', 'nobody.shop.svc.cluster.local:80']) {
      const refusal = await world.tunnel(authority).then(
        () => 'opened',
        (error: unknown) => `${codeOf(error)} ${(error as { detail: { status: number } }).detail.status}`,
      )
      assert.equal(refusal, 'CONNECT_REFUSED 404', authority)
    }
  })

  it('waits for a listener that the node of its client knows already', async () => {
    await using world = await WaypointWorld.start()
    const early = world.tunnel('10.96.0.1:81')
    const other = await world.tunnel('10.96.0.1:80') // the one before has been looked at
    const listener = { ...listenerOf('shop/waypoint', 'reviews'), name: 'shop/waypoint/late', port: 81 }
    world.waypoint.context.config.applyListeners({ upserts: [listener], removes: [] })
    const stream = await early
    assert.equal(stream.destroyed, false)
    for (const each of [stream, other]) each.destroy()
  })

  for (const [name, listener] of [
    ['a TCP port', { protocol: 'TCP' }],
    ['what is not HTTP on a port of unknown protocol', { protocol: 'DETECT' }],
  ] as const) {
    it(`carries ${name} as it is`, async () => {
      const app = net.createServer({ allowHalfOpen: true }, (socket) => socket.on('data', (data) => socket.end(`\0got ${data.length}`)))
      await using world = await WaypointWorld.start({ app, listener })
      const stream = await world.tunnel('10.96.0.1:80')
      const chunks: Buffer[] = []
      stream.on('data', (chunk: Buffer) => void chunks.push(chunk))
      const ended = new Promise((resolve) => stream.once('end', resolve))
      stream.end(Buffer.from([0, 1, 2, 3]))
      await ended
      assert.equal(Buffer.concat(chunks).toString(), '\0got 4')
    })
  }

  it('counts TCP connections, and names who spoke to whom', async () => {
    const app = net.createServer({ allowHalfOpen: true }, (socket) => socket.on('data', (data) => socket.end(`\0got ${data.length}`)))
    await using world = await WaypointWorld.start({ app, listener: { protocol: 'TCP' } })
    const metric = async (name: string): Promise<Record<string, string>> => {
      const { text: all } = await world.page('stats', '/metrics')
      const line = all.split('\n').find((each) => each.startsWith(`istio_tcp_${name}{`)) ?? ''
      const pairs = [...line.matchAll(/(\w+)="([^"]*)"/g)].map(([, key = '', value = '']) => [key, value])
      return { ...Object.fromEntries(pairs), value: line.split(' ').at(-1) ?? '' }
    }
    const stream = await world.tunnel('10.96.0.1:80')
    assert.equal((await metric('sockets_open')).value, '1')
    const answer = text(stream)
    stream.end(Buffer.from([0, 1, 2, 3]))
    assert.equal(await answer, '\0got 4')
    await world.line('connection complete')
    const closed = await metric('connections_closed_total')
    assert.deepEqual(Object.keys(closed), [...TCP_LABELS, 'value'])
    const { reporter, source_principal, source_workload_namespace, destination_principal, destination_service_name, value } = closed
    assert.deepEqual(
      { reporter, source_principal, source_workload_namespace, destination_principal, destination_service_name, value },
      {
        reporter: 'waypoint',
        source_principal: CLIENT_ID,
        source_workload_namespace: 'shop',
        destination_principal: 'spiffe://cluster.local/ns/shop/sa/reviews-1',
        destination_service_name: 'reviews',
        value: '1',
      },
    )
    for (const [name, want] of [
      ['connections_opened_total', '1'],
      ['received_bytes_total', '4'],
      ['sent_bytes_total', '6'],
      ['sockets_open', '0'],
    ] as const)
      assert.equal((await metric(name)).value, want, name)
    const line = await world.line('connection complete')
    assert.deepEqual(
      [line['src.identity'], line['dst.service'], line['dst.workload'], line['dst.hbone_addr'], line.bytes_recv, line.bytes_sent],
      [CLIENT_ID, 'reviews.shop.svc.cluster.local', 'reviews-1', '10.96.0.1:80', 4, 6],
    )
    assert.deepEqual([line.upstream_cluster, line.response_flags], ['inbound-vip|80|http|reviews.shop.svc.cluster.local', '-'])
  })

  it('counts TCP connections that found no endpoint', async () => {
    const app = net.createServer()
    await using world = await WaypointWorld.start({ app, listener: { protocol: 'TCP' } })
    world.waypoint.context.config.apply({ workloads: { upserts: [], removes: ['Kubernetes//Pod/shop/reviews-1'] } })
    await assert.rejects(world.tunnel('10.96.0.1:80'), (error) => codeOf(error) === 'CONNECT_REFUSED')
    const { text: metrics } = await world.page('stats', '/metrics')
    assert.match(metrics, /istio_tcp_connections_failed_total\{reporter="waypoint",[^}]*response_flags="UH"[^}]*\} 1/)
    const line = await world.line('connection complete')
    assert.deepEqual([line.code, line.response_flags, line['dst.service']], ['NO_HEALTHY_UPSTREAM', 'UH', 'reviews.shop.svc.cluster.local'])
  })

  it('a server that speaks first is heard on a port of unknown protocol', async () => {
    const app = net.createServer((socket) => socket.write('220 hello'))
    await using world = await WaypointWorld.start({ app, listener: { protocol: 'DETECT' } })
    const stream = await world.tunnel('10.96.0.1:80')
    const first = await new Promise<Buffer>((resolve) => stream.once('data', resolve))
    assert.equal(first.toString(), '220 hello')
    stream.destroy()
  })

  it('shows its configuration, metrics and readiness', async () => {
    await using world = await WaypointWorld.start()
    await world.request('/')
    const dump = JSON.parse((await world.page('admin', '/config_dump')).text) as {
      listeners: { service: string }[]
      clusters: { name: string }[]
      certificates: { id: string }[]
    }
    assert.equal(dump.listeners[0]?.service, REVIEWS)
    assert.equal(dump.clusters[0]?.name, 'inbound-vip|80|http|reviews.shop.svc.cluster.local')
    assert.equal(dump.certificates[0]?.id, 'spiffe://cluster.local/ns/shop/sa/waypoint')
    const { text: metrics } = await world.page('stats', '/metrics')
    assert.match(
      metrics,
      /istio_requests_total\{[^}]*source_principal="spiffe:\/\/cluster.local\/ns\/shop\/sa\/client"[^}]*response_code="200"[^}]*\} 1/,
    )
  })

  it('passes a protocol switch', async () => {
    const app = http.createServer()
    app.on('upgrade', (_request, socket) => {
      socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nfirst')
      socket.on('data', (data) => socket.end(`echo ${data}`))
    })
    await using world = await WaypointWorld.start({ app })
    const stream = await world.tunnel('10.96.0.1:80')
    stream.write('GET /ws HTTP/1.1\r\nhost: reviews\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: x\r\n\r\n')
    stream.write('hello') // not before the answer, a real client says; it must arrive all the same
    const all = await text(stream)
    assert.match(all, /^HTTP\/1\.1 101 /)
    assert.ok(all.endsWith('firstecho hello'), all)
    stream.end()
  })

  it('carries large bodies both ways', async () => {
    const size = 8 * 1024 * 1024
    const app = http.createServer((request, response) => {
      response.writeHead(200, { 'content-length': size })
      request.pipe(response)
    })
    await using world = await WaypointWorld.start({ app })
    const answer = await world.request('/', { method: 'POST', body: 'x'.repeat(size) })
    assert.equal(answer.text.length, size)
  })

  it('a client that goes away ends the request at the endpoint', async () => {
    const gone = Promise.withResolvers<void>()
    const came = Promise.withResolvers<void>()
    const app = http.createServer((request) => {
      came.resolve()
      request.once('close', () => gone.resolve())
    })
    await using world = await WaypointWorld.start({ app })
    const stream = await world.tunnel('10.96.0.1:80')
    stream.write('GET / HTTP/1.1\r\nhost: reviews\r\n\r\n')
    await came.promise
    stream.destroy()
    await gone.promise
  })

  it('carries no more TCP connections than the backend allows', async () => {
    const app = net.createServer((socket) => socket.pipe(socket))
    await using world = await WaypointWorld.start({ app, listener: { protocol: 'TCP' }, backends: limits({ maxConnections: 1 }) })
    const first = await world.tunnel('10.96.0.1:80')
    await assert.rejects(world.tunnel('10.96.0.1:80'), (error) => codeOf(error) === 'CONNECT_REFUSED')
    const closed = new Promise((resolve) => first.resume().once('close', resolve))
    first.end()
    await closed
    const again = await world.tunnel('10.96.0.1:80')
    again.destroy()
  })

  it('a policy that forbids it now ends a TCP connection', async () => {
    const app = net.createServer((socket) => socket.pipe(socket))
    await using world = await WaypointWorld.start({ app, listener: { protocol: 'TCP' } })
    const stream = await world.tunnel('10.96.0.1:80')
    stream.write('ping')
    await new Promise((resolve) => stream.once('data', resolve))
    const failed = new Promise((resolve) => stream.once('error', resolve))
    world.waypoint.context.config.apply({ policies: { upserts: [deny('cluster.local/ns/shop/sa/client')], removes: [] } })
    await failed
    const line = world.lines.find((entry) => entry.includes('POLICY_CHANGED'))
    assert.ok(line)
  })

  it('ends in order: a request under way is answered', async () => {
    let answer: (() => void) | undefined
    const app = net.createServer((socket) =>
      socket.once('data', () => {
        answer = () => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok')
      }),
    )
    await using world = await WaypointWorld.start({ app })
    const response = world.request('/')
    while (answer === undefined) await new Promise((resolve) => setTimeout(resolve, 5))
    const drained = world.waypoint.drain()
    setTimeout(answer, 50)
    assert.deepEqual([(await response).status, (await response).text], [200, 'ok'])
    await drained
  })
})
