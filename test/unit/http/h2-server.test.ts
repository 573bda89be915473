// serveHttp2 with Node's client: what a handler sees of a request, and what a client sees of a response.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import http2, { type ClientHttp2Stream, type IncomingHttpHeaders } from 'node:http2'
import { text } from 'node:stream/consumers'
import type { ServerExchange } from '../../../http/exchange.ts'
import { httpFailure } from '../../../http/errors.ts'
import { serveHttp2 } from '../../../http/h2-server.ts'
import { HTTP_LIMITS } from '../../../http/options.ts'
import type { MeshError } from '../../../kit/error.ts'
import type { HeaderField } from '../../../model/http.ts'
import { channelPair } from '../../support/channel-pair.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { ourServer, pump, settled, wholeBody } from '../../support/h2-ends.ts'

/** What a client got. */
async function received(stream: ClientHttp2Stream): Promise<{ headers: IncomingHttpHeaders; body: string }> {
  const [headers] = await once(stream, 'response')
  return { headers, body: await text(stream) }
}

/** The code that a stream was reset with. */
async function resetOf(stream: ClientHttp2Stream): Promise<number> {
  stream.on('error', () => undefined)
  stream.resume()
  if (!stream.destroyed) await once(stream, 'close').catch(() => undefined)
  return stream.rstCode
}

const answer =
  (status: number, headers: HeaderField[] = []) =>
  (exchange: ServerExchange) => {
    exchange.respond({ status, headers }, 0).end()
  }

describe('http/h2-server', () => {
  it('gives the handler a normalised request and the client its response', async () => {
    const seen: ServerExchange[] = []
    using ends = ourServer((exchange) => {
      seen.push(exchange)
      const headers: HeaderField[] = [
        ['x-answer', 'a'],
        ['x-answer', 'b'],
        ['set-cookie', 'one=1'],
        ['set-cookie', 'two=2'],
      ]
      const writer = exchange.respond({ status: 200, headers }, 5)
      writer.write(Buffer.from('hello'))
      writer.end()
    })
    const { headers, body } = await received(
      ends.session.request({ ':path': '/a/./b?c=d', 'x-one': ['1', '2'], ':authority': 'Server.Test', te: 'trailers' }),
    )
    assert.equal(body, 'hello')
    assert.equal(headers['x-answer'], 'a, b')
    assert.deepEqual(headers['set-cookie'], ['one=1', 'two=2'])
    assert.equal(headers['content-length'], '5')
    assert.equal(headers.date, undefined)
    const { request, body: reader } = seen[0] as ServerExchange
    assert.deepEqual(request, {
      version: 'HTTP/2',
      method: 'GET',
      scheme: 'http',
      authority: 'server.test',
      path: '/a/b',
      query: 'c=d',
      headers: [
        ['x-one', '1'],
        ['x-one', '2'],
        ['te', 'trailers'],
      ],
      upgrade: undefined,
    })
    assert.equal(reader.length, 0)
  })

  it('streams bodies and trailers both ways', async () => {
    using ends = ourServer(async (exchange) => {
      const { bytes, trailers } = await wholeBody(exchange.body)
      const writer = exchange.respond({ status: 200, headers: [] }, undefined)
      writer.write(bytes)
      writer.end([...trailers, ['x-more', '2'], ['x-more', '3'], ['content-length', '9']])
    })
    const stream = ends.session.request({ ':method': 'POST' }, { waitForTrailers: true })
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sum': '1' }))
    stream.end('body')
    const trailers = once(stream, 'trailers')
    assert.equal((await received(stream)).body, 'body')
    assert.deepEqual((await trailers)[2], ['x-sum', '1', 'x-more', '2', 'x-more', '3'])
  })

  it('joins the crumbs of a cookie at its first place', async () => {
    let fields: readonly HeaderField[] = []
    using ends = ourServer((exchange) => {
      fields = exchange.request.headers
      answer(200)(exchange)
    })
    await received(ends.session.request({ cookie: ['a=1', 'b=2', 'c=3'], 'x-after': '1' }))
    assert.deepEqual(fields, [
      ['cookie', 'a=1; b=2; c=3'],
      ['x-after', '1'],
    ])
  })

  it('gives HEAD and 304 a length without a body, and 204 none', async () => {
    using ends = ourServer((exchange) => {
      const status = Number(exchange.request.path.slice(1))
      const writer = exchange.respond({ status, headers: [['content-length', '7']] }, exchange.request.method === 'HEAD' ? 0 : 7)
      writer.write(Buffer.from('dropped'))
      writer.end()
    })
    for (const [method, status, length] of [
      ['HEAD', 200, '7'],
      ['GET', 304, '7'],
      ['GET', 204, undefined],
    ] as const) {
      const { headers, body } = await received(ends.session.request({ ':method': method, ':path': `/${status}` }))
      assert.equal(headers[':status'], status)
      assert.equal(headers['content-length'], length)
      assert.equal(body, '')
    }
  })

  it('sends interim responses first', async () => {
    using ends = ourServer((exchange) => {
      exchange.inform({
        status: 103,
        headers: [
          ['link', '</a>'],
          ['link', '</b>'],
        ],
      })
      exchange.inform({ status: 101, headers: [] })
      answer(200)(exchange)
      exchange.inform({ status: 103, headers: [] })
    })
    const stream = ends.session.request({})
    const informs: string[][] = []
    stream.on('headers', (_headers, _flags, raw) => informs.push(raw as unknown as string[]))
    await received(stream)
    assert.deepEqual(informs, [[':status', '103', 'link', '</a>', 'link', '</b>']])
  })

  for (const { name, headers, status } of [
    { name: 'a host that differs from :authority', headers: { ':authority': 'a', host: 'b' }, status: 400 },
    { name: 'a path above the root', headers: { ':path': '/a/../..' }, status: 400 },
    { name: 'an escaped separator', headers: { ':path': '/a%2fb' }, status: 400 },
    { name: 'another scheme', headers: { ':scheme': 'ftp' }, status: 400 },
    { name: 'CONNECT', headers: { ':method': 'CONNECT', ':authority': 'a:1' }, status: 405 },
    { name: 'too many fields', headers: { 'x-many': Array.from({ length: 120 }, () => '1') }, status: 431 },
    { name: 'a head that is too long', headers: { 'x-long': ['y'.repeat(40_000), 'y'.repeat(21_500)] }, status: 431 },
  ]) {
    it(`refuses ${name} without the handler`, async () => {
      using ends = ourServer(() => assert.fail('the handler saw it'))
      const outcome = await received(ends.session.request(headers))
      assert.equal(outcome.headers[':status'], status)
    })
  }

  it('takes a host that names the same as :authority, and one alone', async () => {
    using ends = ourServer((exchange) => answer(200, [['x-seen', exchange.request.authority]])(exchange))
    const both = await received(ends.session.request({ ':authority': 'A.test', host: 'a.test' }))
    const alone = await received(ends.session.request({ host: 'B.test' }))
    assert.deepEqual([both.headers['x-seen'], alone.headers['x-seen']], ['a.test', 'b.test'])
  })

  it('breaks a body off that differs from its content-length', async () => {
    const outcome = Promise.withResolvers<string>()
    using ends = ourServer((exchange) => {
      assert.equal(exchange.body.length, 10)
      wholeBody(exchange.body).then(
        () => outcome.resolve('whole'),
        (error: MeshError) => outcome.resolve(error.code),
      )
    })
    const stream = ends.session.request({ ':method': 'POST', 'content-length': '10' })
    const reset = resetOf(stream)
    stream.end('short')
    assert.equal(await outcome.promise, 'BAD_MESSAGE')
    assert.equal(await reset, http2.constants.NGHTTP2_PROTOCOL_ERROR)
  })

  it('breaks a response off that differs from the promised length, and one whose head is no HTTP', async () => {
    using ends = ourServer((exchange) => {
      const isBadHead = exchange.request.path === '/head'
      const writer = exchange.respond({ status: 200, headers: isBadHead ? [['x', 'a\r\nb: c']] : [] }, 5)
      writer.write(Buffer.from(exchange.request.path))
      writer.end()
    })
    for (const path of ['/longer', '/s', '/head']) {
      const stream = ends.session.request({ ':path': path })
      assert.equal(await resetOf(stream), http2.constants.NGHTTP2_INTERNAL_ERROR, path)
    }
  })

  it('passes on why a request or a body was reset', async () => {
    using ends = ourServer((exchange) => {
      if (exchange.request.path === '/gone') exchange.reset(httpFailure('UPSTREAM_RESET', { reset: 'ENHANCE_YOUR_CALM' }))
      else if (exchange.request.path === '/bad') exchange.reset(httpFailure('BAD_MESSAGE'))
      else {
        const writer = exchange.respond({ status: 200, headers: [] }, undefined)
        writer.write(Buffer.from('part'))
        setImmediate(() => writer.abort(httpFailure('UPSTREAM_RESET')))
      }
    })
    const codes: number[] = []
    for (const path of ['/gone', '/bad', '/part']) codes.push(await resetOf(ends.session.request({ ':path': path })))
    assert.deepEqual(codes, [0xb, 0x1, 0x2])
  })

  it('serves a WebSocket of HTTP/2 as an upgrade', async () => {
    const seen: ServerExchange[] = []
    using ends = ourServer((exchange) => {
      seen.push(exchange)
      const raw = exchange.upgrade({
        status: 101,
        headers: [
          ['sec-websocket-accept', 'x'],
          ['sec-websocket-protocol', 'chat'],
        ],
      })
      pump(raw.reader, raw.writer)
    })
    await once(ends.session, 'remoteSettings')
    assert.equal(ends.session.remoteSettings.enableConnectProtocol, true)
    const stream = ends.session.request({ ':method': 'CONNECT', ':protocol': 'websocket', ':path': '/ws' }, { endStream: false })
    const [headers] = await once(stream, 'response')
    assert.equal(headers[':status'], 200)
    assert.equal(headers['sec-websocket-protocol'], 'chat')
    assert.equal(headers['sec-websocket-accept'], undefined)
    stream.write('ping')
    assert.equal(String((await once(stream, 'data'))[0]), 'ping')
    stream.end()
    await once(stream, 'end')
    const request = seen[0]?.request
    assert.equal(request?.method, 'GET')
    assert.equal(request?.upgrade, 'websocket')
    assert.match(request?.headers.find(([name]) => name === 'sec-websocket-key')?.[1] ?? '', /^[A-Za-z0-9+/]{22}==$/)
  })

  it('asks a client to stop that goes on sending after its response', async () => {
    const clock = new FakeClock()
    using ends = ourServer(answer(413), { clock })
    const stream = ends.session.request({ ':method': 'POST' })
    stream.write('more')
    const { headers } = await received(stream)
    assert.equal(headers[':status'], 413)
    await settled()
    await clock.advance(1000)
    assert.equal(await resetOf(stream), http2.constants.NGHTTP2_NO_ERROR)
  })

  it('drains: announces it, serves what is under way, then closes', async () => {
    const clock = new FakeClock()
    const held: ServerExchange[] = []
    using ends = ourServer((exchange) => void held.push(exchange), { clock })
    const stream = ends.session.request({})
    await settled()
    assert.equal(ends.connection.isIdle, false)
    const goaways: number[] = []
    ends.session.on('goaway', (_code, last) => goaways.push(last))
    ends.connection.drain()
    await settled()
    await clock.advance(1000)
    await settled()
    assert.deepEqual(goaways, [2 ** 31 - 1, 1])
    answer(200)(held[0] as ServerExchange)
    assert.equal((await received(stream)).headers[':status'], 200)
    await settled()
    await clock.advance(1000)
    assert.equal(await ends.closed, undefined)
    assert.equal(ends.far.isClosed, true)
    assert.equal(clock.pending, 0)
  })

  it('closes at once, whatever is under way', async () => {
    const told: string[] = []
    using ends = ourServer((exchange) => {
      exchange.onClosed = (error) => told.push(error.code)
    })
    const stream = ends.session.request({})
    await settled()
    ends.connection.close()
    await resetOf(stream)
    assert.equal(await ends.closed, undefined)
    assert.deepEqual(told, ['CLIENT_GONE'])
  })

  it('closes a connection that never says anything, and one that is idle', async () => {
    const clock = new FakeClock()
    const silent = channelPair()
    const ended = Promise.withResolvers<MeshError | undefined>()
    serveHttp2(silent[1], { handler: answer(200), scheme: 'http', limits: HTTP_LIMITS, clock, onClosed: ended.resolve })
    await clock.advance(15_000)
    await settled()
    await clock.advance(1000)
    assert.equal((await ended.promise)?.code, 'HEAD_TIMEOUT')
    const quiet = ourServer(answer(200), { clock })
    await received(quiet.session.request({}))
    await settled()
    await clock.advance(3_600_000)
    await settled()
    await clock.advance(1000)
    await settled()
    await clock.advance(1000)
    assert.equal(await quiet.closed, undefined)
    assert.equal(clock.pending, 0)
  })

  it('tells what broke the connection', async () => {
    const told: string[] = []
    using ends = ourServer((exchange) => {
      exchange.onClosed = (error) => told.push(error.code)
    })
    ends.session.request({}).on('error', () => undefined)
    await settled()
    ends.near.reset()
    assert.equal((await ends.closed)?.code, 'CHANNEL_RESET')
    assert.deepEqual(told, ['CLIENT_GONE'])
  })

  it('takes 256 streams at once and no more', async () => {
    const held: ServerExchange[] = []
    using ends = ourServer((exchange) => void held.push(exchange))
    await once(ends.session, 'remoteSettings')
    assert.equal(ends.session.remoteSettings.maxConcurrentStreams, 256)
    const streams = Array.from({ length: 260 }, () => ends.session.request({}).on('error', () => undefined))
    await settled()
    assert.equal(held.length, 256)
    for (const exchange of held.slice(0, 10)) answer(200)(exchange)
    for (const stream of streams) stream.resume()
    await settled()
    assert.equal(held.length, 260)
  })
})
