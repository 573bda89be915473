// HTTP/2 and HTTP/1.1 on either side of a relay, with Node's clients and servers outside: lengths, trailers, HEAD, interim
// responses, WebSockets and broken messages mean the same on both sides.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import http from 'node:http'
import http2 from 'node:http2'
import type { Duplex } from 'node:stream'
import { text } from 'node:stream/consumers'
import { channelDuplex } from '../../../http/channel-duplex.ts'
import { connectHttp2 } from '../../../http/h2-client.ts'
import { serveHttp2 } from '../../../http/h2-server.ts'
import { connectHttp1 } from '../../../http/http1-client.ts'
import { serveHttp1 } from '../../../http/http1-server.ts'
import { HTTP_LIMITS, type HttpConnection } from '../../../http/options.ts'
import { systemClock } from '../../../kit/clock.ts'
import { channelPair } from '../../support/channel-pair.ts'
import { relay } from '../../support/h2-ends.ts'

const BASE = { limits: HTTP_LIMITS, clock: systemClock }
const BODY = 'b'.repeat(300_000)

/** Node's HTTP/1.1 client before a relay to Node's HTTP/2 server. */
function oneToTwo(onStream: (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => void) {
  const [near, far] = channelPair()
  const [up, down] = channelPair()
  const session = http2.performServerHandshake(channelDuplex(down), { settings: { enableConnectProtocol: true } })
  session.on('stream', (stream, headers) => {
    stream.on('error', () => undefined)
    onStream(stream, headers)
  })
  session.on('error', () => undefined)
  const client = connectHttp2(up, BASE)
  const server = serveHttp1(far, { ...BASE, scheme: 'http', handler: relay(() => client) })
  const duplex = channelDuplex(near)
  duplex.on('error', () => undefined)
  const ask = (options: http.RequestOptions): http.ClientRequest =>
    http
      .request({ ...options, createConnection: () => duplex, headers: { host: 'server.test', ...options.headers } })
      .on('error', () => undefined)
  const close = (): void => {
    client.close()
    server.close()
  }
  return { ask, [Symbol.dispose]: close }
}

/** Node's HTTP/2 client before a relay to Node's HTTP/1.1 server. */
function twoToOne(listener: http.RequestListener, onUpgrade?: (request: http.IncomingMessage, socket: Duplex) => void) {
  const [near, far] = channelPair()
  const server = http.createServer(listener)
  if (onUpgrade !== undefined) server.on('upgrade', onUpgrade)
  const clients: HttpConnection[] = []
  const handler = relay(() => {
    const [up, down] = channelPair()
    server.emit(
      'connection',
      channelDuplex(down).on('error', () => undefined),
    )
    const client = connectHttp1(up, BASE)
    clients.push(client)
    return client
  })
  serveHttp2(far, { ...BASE, scheme: 'http', handler })
  const duplex = channelDuplex(near)
  const session = http2.connect('http://server.test', { createConnection: () => duplex })
  session.on('error', () => undefined)
  const close = (): void => {
    session.destroy()
    for (const client of clients) client.close()
  }
  return { session, [Symbol.dispose]: close }
}

describe('http/h2-exchange: HTTP/1.1 on the other side', () => {
  it('1.1 to 2: a body of known length, and the response chunked', async () => {
    const seen: http2.IncomingHttpHeaders[] = []
    using pair = oneToTwo((stream, headers) => {
      seen.push(headers)
      stream.respond({ ':status': 201, 'x-a': ['1', '2'] })
      stream.pipe(stream)
    })
    const request = pair.ask({
      method: 'POST',
      path: '/p?q',
      headers: { 'content-length': BODY.length, connection: 'x-gone', 'x-gone': '1' },
    })
    request.end(BODY)
    const [response] = (await once(request, 'response')) as [http.IncomingMessage]
    assert.equal(await text(response), BODY)
    assert.equal(response.statusCode, 201)
    assert.equal(response.headers['transfer-encoding'], 'chunked')
    assert.deepEqual(response.headersDistinct['x-a'], ['1', '2'])
    assert.equal(seen[0]?.['content-length'], String(BODY.length))
    assert.equal(seen[0]?.[':path'], '/p?q')
    assert.equal(seen[0]?.['x-gone'], undefined)
  })

  it('1.1 to 2: chunked with trailers both ways', async () => {
    using pair = oneToTwo((stream) => {
      let trailers: http2.IncomingHttpHeaders = {}
      stream.on('trailers', (headers) => {
        trailers = headers
      })
      stream.respond({}, { waitForTrailers: true })
      stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sum': `${trailers['x-sum']}!` }))
      stream.pipe(stream)
    })
    const request = pair.ask({ method: 'POST', headers: { te: 'trailers', trailer: 'x-sum' } })
    request.addTrailers({ 'x-sum': '7' })
    request.end('abc')
    const [response] = (await once(request, 'response')) as [http.IncomingMessage]
    assert.equal(await text(response), 'abc')
    assert.deepEqual(response.trailers, { 'x-sum': '7!' })
  })

  for (const { method, path, length } of [
    { method: 'HEAD', path: '/200', length: '9' },
    { method: 'GET', path: '/304', length: '9' },
    { method: 'GET', path: '/204', length: undefined },
  ]) {
    it(`1.1 to 2: the length of ${method} ${path}`, async () => {
      using pair = oneToTwo((stream, headers) => {
        const status = Number(String(headers[':path']).slice(1))
        stream.respond({ ':status': status, ...(status === 204 ? {} : { 'content-length': '9' }) }, { endStream: true })
      })
      const request = pair.ask({ method, path })
      request.end()
      const [response] = (await once(request, 'response')) as [http.IncomingMessage]
      assert.equal(await text(response), '')
      assert.equal(response.headers['content-length'], length)
    })
  }

  it('1.1 to 2: a response that breaks off is not taken for a whole one', async () => {
    using pair = oneToTwo((stream) => {
      stream.respond({}, { waitForTrailers: true }) // without, Node would send END_STREAM before the reset
      stream.write('part')
      setTimeout(() => stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR), 20)
    })
    const request = pair.ask({ path: '/' })
    request.end()
    const [response] = (await once(request, 'response')) as [http.IncomingMessage]
    await assert.rejects(text(response))
  })

  it('1.1 to 2: a WebSocket', async () => {
    using pair = oneToTwo((stream, headers) => {
      assert.equal(headers[':protocol'], 'websocket')
      stream.respond({ ':status': 200 })
      stream.pipe(stream)
    })
    const key = 'dGhlIHNhbXBsZSBub25jZQ=='
    const request = pair.ask({ path: '/ws', headers: { connection: 'upgrade', upgrade: 'websocket', 'sec-websocket-key': key } })
    request.end()
    const [response, socket] = (await once(request, 'upgrade')) as [http.IncomingMessage, Duplex]
    assert.equal(response.statusCode, 101)
    assert.equal(response.headers['sec-websocket-accept'], 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=')
    socket.on('error', () => undefined)
    socket.write('ping')
    assert.equal(String((await once(socket, 'data'))[0]), 'ping')
    socket.destroy()
  })

  it('2 to 1.1: bodies, trailers and interim responses', async () => {
    using pair = twoToOne((request, response) => {
      response.writeEarlyHints({ link: '</a>' })
      response.writeHead(200, { trailer: 'x-sum', 'x-length': request.headers['content-length'] ?? 'unknown' })
      request.on('end', () => {
        response.addTrailers({ 'x-sum': '3' })
        response.end()
      })
      request.pipe(response, { end: false })
    })
    for (const length of [String(BODY.length), undefined]) {
      const stream = pair.session.request({ ':method': 'POST', ...(length === undefined ? {} : { 'content-length': length }) })
      const informs: unknown[] = []
      stream.on('headers', (headers) => informs.push(headers[':status']))
      const trailers = once(stream, 'trailers')
      stream.end(BODY)
      const [headers] = await once(stream, 'response')
      assert.equal(await text(stream), BODY)
      assert.equal(headers['x-length'], length ?? 'unknown')
      assert.equal((await trailers)[0]['x-sum'], '3')
      assert.deepEqual(informs, [103])
    }
  })

  it('2 to 1.1: HEAD, 204 and a response without a body', async () => {
    using pair = twoToOne((request, response) => {
      if (request.url === '/204') response.writeHead(204).end()
      else response.writeHead(200, { 'content-length': request.method === 'HEAD' ? 9 : 0 }).end()
    })
    for (const [method, path, length] of [
      ['HEAD', '/', '9'],
      ['GET', '/204', undefined],
      ['GET', '/', undefined],
    ] as const) {
      const stream = pair.session.request({ ':method': method, ':path': path })
      const [headers] = await once(stream, 'response')
      assert.equal(await text(stream), '')
      assert.equal(headers['content-length'], length)
    }
  })

  it('2 to 1.1: a cancel closes the connection behind, a broken response resets the stream', async () => {
    const gone = Promise.withResolvers<void>()
    using pair = twoToOne((request, response) => {
      if (request.url === '/cancel') {
        request.on('close', gone.resolve)
        response.writeHead(200).write('part')
        return
      }
      response.writeHead(200, { 'content-length': 100 }).write('part')
      setTimeout(() => response.destroy(), 20)
    })
    const cancelled = pair.session.request({ ':path': '/cancel' })
    await once(cancelled, 'response')
    cancelled.close(http2.constants.NGHTTP2_CANCEL)
    await gone.promise
    const broken = pair.session.request({ ':path': '/broken' })
    await assert.rejects(text(broken))
  })

  it('2 to 1.1: a WebSocket', async () => {
    using pair = twoToOne(
      () => assert.fail('no upgrade'),
      (request, socket) => {
        const accept = createHash('sha1')
          .update(`${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
          .digest('base64')
        socket.write(
          `HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: ${accept}\r\n\r\n`,
        )
        socket.pipe(socket)
      },
    )
    await once(pair.session, 'remoteSettings')
    const stream = pair.session.request({ ':method': 'CONNECT', ':protocol': 'websocket', ':path': '/ws' }, { endStream: false })
    const [headers] = await once(stream, 'response')
    assert.equal(headers[':status'], 200)
    stream.write('ping')
    assert.equal(String((await once(stream, 'data'))[0]), 'ping')
    stream.close()
  })
})
