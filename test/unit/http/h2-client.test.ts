// connectHttp2 with Node's server and with one that writes any frame: responses, failures and what may be tried again.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { ServerHttp2Stream } from 'node:http2'
import { encodeFrame, Flag, FrameType } from '../../../hbone/frame.ts'
import { httpFailure } from '../../../http/errors.ts'
import type { BodyReader, ClientExchange } from '../../../http/exchange.ts'
import type { MeshError } from '../../../kit/error.ts'
import type { HeaderField, RequestHead, ResponseHead } from '../../../model/http.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { answerHandlers, attackedClient, ourClient, settled, wholeBody } from '../../support/h2-ends.ts'
import { data, headers, repeat, settings, word } from '../../support/raw-h2.ts'

const GET: RequestHead = {
  version: 'HTTP/1.1',
  method: 'GET',
  scheme: 'http',
  authority: 'server.test',
  path: '/',
  query: undefined,
  headers: [],
  upgrade: undefined,
}
const OK: HeaderField[] = [[':status', '200']]

/** GOAWAY. */
function goAway(lastStream: number, code: number): Buffer {
  const payload = Buffer.alloc(8)
  payload.writeUInt32BE(lastStream, 0)
  payload.writeUInt32BE(code, 4)
  return encodeFrame(FrameType.goAway, 0, 0, payload)
}

/** What a request failed with. */
async function failureOf(answer: Promise<unknown>): Promise<{ code: string; wasSent: boolean | undefined; reset: unknown }> {
  const error = (await answer.then(
    () => assert.fail('it was answered'),
    (reason) => reason,
  )) as MeshError & { wasSent?: boolean }
  return { code: error.code, wasSent: error.wasSent, reset: error.detail?.reset }
}

/** A GET whose answer is awaited. */
function ask(client: { request: (head: RequestHead, length: number, handlers: ReturnType<typeof answerHandlers>) => ClientExchange }) {
  const handlers = answerHandlers()
  client.request(GET, 0, handlers)
  return handlers.answer
}

describe('http/h2-client', () => {
  it('sends a request and gives its response', async () => {
    let fields: string[] = []
    using ends = ourClient((session) =>
      session.on('stream', (stream, sent, _flags, raw) => {
        fields = raw
        stream.respond({ ':status': 200, 'x-path': sent[':path'], 'set-cookie': ['a=1', 'b=2'] }, { waitForTrailers: true })
        stream.on('wantTrailers', () => stream.sendTrailers({ 'x-end': '1' }))
        stream.pipe(stream)
      }),
    )
    const handlers = answerHandlers()
    const head = { ...GET, method: 'POST', path: '/p', query: '', headers: [['x-a', '1'] as const, ['x-a', '2'] as const] }
    const exchange = ends.client.request(head, 3, handlers)
    exchange.body.write(Buffer.from('abc'))
    exchange.body.end()
    const answer = await handlers.answer
    assert.equal(answer.head.status, 200)
    assert.deepEqual(
      answer.head.headers.filter(([name]) => name !== 'date'),
      [
        ['x-path', '/p?'],
        ['set-cookie', 'a=1'],
        ['set-cookie', 'b=2'],
      ],
    )
    assert.equal(answer.bytes.toString(), 'abc')
    assert.deepEqual(answer.trailers, [['x-end', '1']])
    const want = [':method', 'POST', ':scheme', 'http', ':authority', 'server.test', ':path', '/p?', 'x-a', '1', 'x-a', '2']
    assert.deepEqual(fields, [...want, 'content-length', '3'])
  })

  it('gives lengths: known, none, unknown, and those of HEAD and 304', async () => {
    using ends = ourClient((session) =>
      session.on('stream', (stream, sent) => {
        const path = String(sent[':path'])
        if (path === '/known') stream.respond({ 'content-length': '2' })
        else if (path === '/none') return stream.respond({ 'content-length': '0' }, { endStream: true })
        else if (path === '/unknown') stream.respond({})
        else return stream.respond({ ':status': path === '/304' ? 304 : 200, 'content-length': '77' }, { endStream: true })
        stream.end('ok')
      }),
    )
    const seen: unknown[] = []
    for (const path of ['/known', '/none', '/unknown', '/head', '/304']) {
      const handlers = answerHandlers()
      ends.client.request({ ...GET, path, method: path === '/head' ? 'HEAD' : 'GET' }, 0, handlers)
      const { length, bytes, head } = await handlers.answer
      seen.push([path, length, bytes.length, head.headers.find(([name]) => name === 'content-length')?.[1]])
    }
    assert.deepEqual(seen, [
      ['/known', 2, 2, undefined],
      ['/none', 0, 0, undefined],
      ['/unknown', undefined, 2, undefined],
      ['/head', 0, 0, '77'],
      ['/304', 0, 0, '77'],
    ])
  })

  it('gives interim responses, and a response before the request has ended', async () => {
    using ends = ourClient((session) =>
      session.on('stream', (stream) => {
        stream.additionalHeaders({ ':status': 103, link: '</a>' })
        stream.respond({})
        stream.end('early')
      }),
    )
    const handlers = answerHandlers()
    const exchange = ends.client.request({ ...GET, method: 'POST' }, undefined, handlers)
    const { bytes, informs } = await handlers.answer
    assert.equal(bytes.toString(), 'early')
    assert.deepEqual(informs, [{ status: 103, headers: [['link', '</a>']] }])
    exchange.body.end()
    await settled()
    assert.equal(ends.client.active, 0)
  })

  it('cancels with CANCEL and calls no handler any more', async () => {
    const streams: ServerHttp2Stream[] = []
    using ends = ourClient((session) =>
      session.on('stream', (stream) => {
        stream.on('error', () => undefined)
        streams.push(stream)
      }),
    )
    const never = (): never => assert.fail('a handler was called')
    const exchange = ends.client.request(GET, 0, { onInform: never, onResponse: never, onUpgrade: never, onFailed: never })
    await settled()
    exchange.cancel(httpFailure('CANCELLED'))
    await settled()
    assert.equal(streams[0]?.rstCode, 8)
    assert.equal(ends.client.active, 0)
  })

  it('fails safe: a refused stream, one above GOAWAY, and one at the limit were not sent', async () => {
    using refused = attackedClient()
    const first = ask(refused.client)
    await settled()
    refused.peer.send(word(FrameType.rstStream, 1, 7))
    assert.deepEqual(await failureOf(first), { code: 'STREAM_REFUSED', wasSent: false, reset: undefined })

    using going = attackedClient()
    const [served, lost] = [ask(going.client), ask(going.client)]
    const lostFailure = failureOf(lost)
    await settled()
    going.peer.send(goAway(1, 0))
    assert.deepEqual(await lostFailure, { code: 'CONNECTION_DRAINED', wasSent: false, reset: undefined })
    assert.equal(going.client.canRequest, false)
    going.peer.send(headers(1, OK, Flag.endStream))
    assert.equal((await served).head.status, 200)
    assert.deepEqual(await failureOf(ask(going.client)), { code: 'STREAM_REFUSED', wasSent: false, reset: undefined })

    using full = attackedClient()
    full.peer.send(settings(3, 2))
    await settled()
    const held = [ask(full.client), ask(full.client)]
    assert.equal(full.client.canRequest, false)
    assert.deepEqual(await failureOf(ask(full.client)), { code: 'STREAM_REFUSED', wasSent: false, reset: undefined })
    for (const answer of held) answer.catch(() => undefined)
  })

  it('a GOAWAY with an error says which requests were not processed', async () => {
    using ends = attackedClient()
    const failures = [failureOf(ask(ends.client)), failureOf(ask(ends.client))]
    await settled()
    ends.peer.send(goAway(1, 11))
    assert.deepEqual(
      (await Promise.all(failures)).map(({ wasSent }) => wasSent),
      [true, false],
    )
    assert.equal((await ends.closed)?.code, 'CONNECTION_CLOSED')
  })

  it('names resets and lost connections, which may have been processed', async () => {
    using reset = attackedClient()
    const first = ask(reset.client)
    await settled()
    reset.peer.send(word(FrameType.rstStream, 1, 2))
    assert.deepEqual(await failureOf(first), { code: 'UPSTREAM_RESET', wasSent: true, reset: 'INTERNAL_ERROR' })

    const second = failureOf(ask(reset.client))
    await settled()
    reset.far.reset()
    assert.deepEqual(await second, { code: 'CHANNEL_RESET', wasSent: true, reset: undefined })
    assert.equal((await reset.closed)?.code, 'CHANNEL_RESET')
    assert.equal(reset.client.canRequest, false)

    using ended = attackedClient()
    const third = failureOf(ask(ended.client))
    await settled()
    ended.far.end()
    assert.deepEqual(await third, { code: 'CONNECTION_CLOSED', wasSent: true, reset: undefined })
  })

  for (const { name, frames } of [
    { name: 'a status that is none', frames: () => headers(1, [[':status', '99']], Flag.endStream) },
    { name: '101', frames: () => headers(1, [[':status', '101']], Flag.endStream) },
    { name: 'connection fields', frames: () => headers(1, [...OK, ['connection', 'close']], Flag.endStream) },
    { name: 'two lengths', frames: () => headers(1, [...OK, ['content-length', '1'], ['content-length', '2']]) },
    { name: 'no frames at all', frames: () => Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n') },
    { name: 'interim responses without end', frames: () => repeat(headers(1, [[':status', '103']]), 100) },
    { name: 'a flood', frames: () => repeat(settings(), 2000) },
  ]) {
    it(`refuses a server that sends ${name}`, async () => {
      using ends = attackedClient()
      const failure = failureOf(ask(ends.client))
      await settled()
      ends.peer.send(frames())
      const { code, wasSent } = await failure
      assert.deepEqual([code, wasSent], ['UPSTREAM_BAD_MESSAGE', true])
    })
  }

  for (const { name, frames } of [
    { name: 'a reset by NO_ERROR', frames: () => word(FrameType.rstStream, 1, 0) },
    { name: 'a reset by CANCEL', frames: () => word(FrameType.rstStream, 1, 8) },
    { name: 'malformed trailers', frames: () => headers(1, [[':status', '200']], Flag.endStream) },
    { name: 'an end before the promised length', frames: () => data(1, 1, Flag.endStream) },
  ]) {
    it(`breaks a response off at ${name}`, async () => {
      using ends = attackedClient()
      const failure = failureOf(ask(ends.client))
      await settled()
      ends.peer.send(headers(1, [...OK, ['content-length', '500']]), data(1, 100))
      await settled()
      ends.peer.send(frames())
      assert.match((await failure).code, /^UPSTREAM_(RESET|BAD_MESSAGE)$/)
    })
  }

  it('gives a whole response to a slow reader although the connection has ended since', async () => {
    using ends = attackedClient()
    const got = Promise.withResolvers<BodyReader>()
    const handlers = answerHandlers()
    ends.client.request(GET, 0, { ...handlers, onResponse: (_head, body) => got.resolve(body) })
    await settled()
    ends.peer.send(headers(1, OK), data(1, 15_000), data(1, 15_000, Flag.endStream))
    const body = await got.promise
    await settled()
    ends.far.reset()
    await settled()
    assert.equal((await wholeBody(body)).bytes.length, 30_000)
  })

  it('does not send a head that is no HTTP', async () => {
    using ends = attackedClient()
    for (const headers of [[['x', 'a\r\nb: c']], [['x', 'nul\0']], [['x', 'wide \u{10a}']], [['X y', '']]] as const) {
      const handlers = answerHandlers()
      ends.client.request({ ...GET, headers }, 0, handlers)
      assert.deepEqual(await failureOf(handlers.answer), { code: 'BAD_HEAD', wasSent: false, reset: undefined })
    }
    const sent: HeaderField[] = [
      ['connection', 'close'],
      ['transfer-encoding', 'chunked'],
      ['te', 'gzip'],
      ['x', '1'],
    ]
    const handlers = answerHandlers()
    ends.client.request({ ...GET, headers: sent }, 0, handlers)
    await settled()
    ends.peer.send(headers(1, OK, Flag.endStream))
    assert.equal((await handlers.answer).head.status, 200)
  })

  it('breaks a request off whose body differs from its length', async () => {
    const codes: number[] = []
    using ends = ourClient((session) =>
      session.on('stream', (stream) => {
        stream.on('error', () => undefined)
        stream.on('close', () => codes.push(stream.rstCode))
        stream.resume()
      }),
    )
    for (const text of ['longer than it', 's']) {
      const handlers = answerHandlers()
      const { body } = ends.client.request({ ...GET, method: 'POST' }, 5, handlers)
      body.write(Buffer.from(text))
      body.end()
      assert.equal((await failureOf(handlers.answer)).code, 'BODY_MISMATCH')
    }
    await settled()
    assert.deepEqual(codes, [2, 2])
  })

  it('upgrades by extended CONNECT, also before the first SETTINGS, and computes the accept header', async () => {
    let fields: string[] = []
    using ends = ourClient(
      (session) =>
        session.on('stream', (stream, _headers, _flags, raw) => {
          fields = raw
          stream.respond({ ':status': 200, 'sec-websocket-protocol': 'chat' })
          stream.pipe(stream)
        }),
      {},
      { settings: { enableConnectProtocol: true } },
    )
    const head: RequestHead = { ...GET, upgrade: 'websocket', headers: [['sec-websocket-key', 'dGhlIHNhbXBsZSBub25jZQ==']] }
    const switched = Promise.withResolvers<{ head: ResponseHead; echo: string }>()
    ends.client.request(head, 0, {
      ...answerHandlers(),
      onUpgrade: (answer, raw) => {
        raw.reader.start({
          onData: (chunk) => switched.resolve({ head: answer, echo: chunk.toString() }),
          onEnd: () => undefined,
          onError: switched.reject,
        })
        raw.writer.write(Buffer.from('ping'))
      },
    })
    const { head: answer, echo } = await switched.promise
    assert.equal(echo, 'ping')
    assert.equal(answer.status, 101)
    const accept = answer.headers.find(([name]) => name === 'sec-websocket-accept')
    assert.equal(accept?.[1], 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=') // RFC 6455 §1.3
    const want = [':method', 'CONNECT', ':scheme', 'http', ':authority', 'server.test', ':path', '/', ':protocol', 'websocket']
    assert.deepEqual(fields, want)
  })

  it('does not upgrade at a server that takes no extended CONNECT', async () => {
    using ends = ourClient(() => undefined)
    const handlers = answerHandlers()
    ends.client.request({ ...GET, upgrade: 'websocket' }, 0, handlers)
    assert.deepEqual(await failureOf(handlers.answer), { code: 'UPSTREAM_BAD_MESSAGE', wasSent: false, reset: undefined })
  })

  it('tells when it can take more, and drains', async () => {
    let idle = 0
    const clock = new FakeClock()
    const streams: ServerHttp2Stream[] = []
    using ends = ourClient((session) => session.on('stream', (stream) => streams.push(stream)), { clock, onIdle: () => void idle++ })
    const [one, two] = [ask(ends.client), ask(ends.client)]
    await settled()
    assert.equal(ends.client.active, 2)
    streams[0]?.respond({}, { endStream: true })
    await one
    await settled()
    assert.equal(idle, 1)
    ends.client.drain()
    assert.equal(ends.client.canRequest, false)
    streams[1]?.respond({}, { endStream: true })
    assert.equal((await two).head.status, 200)
    await settled()
    await clock.advance(1000)
    assert.equal(await ends.closed, undefined)
    assert.equal(ends.near.isClosed, true)
    assert.equal(ends.client.requests, 2)
    assert.equal(clock.pending, 0)
  })

  it('a server that breaks the protocol and goes on sending is not read, and reset after a moment', async () => {
    const clock = new FakeClock()
    using ends = attackedClient({ clock })
    const failure = failureOf(ask(ends.client))
    await settled()
    ends.peer.send(headers(1, OK), data(0, 10))
    assert.equal((await failure).code, 'UPSTREAM_BAD_MESSAGE')
    const before = ends.near.delivered
    for (let sent = 0; sent < 64; sent++) {
      ends.peer.send(data(1, 16_000))
      await settled()
    }
    assert.ok(ends.near.delivered - before < 512 * 1024, `${ends.near.delivered - before} bytes were read`)
    await clock.advance(1000)
    assert.equal((await ends.closed)?.code, 'UPSTREAM_BAD_MESSAGE')
    assert.ok(ends.near.isClosed)
    assert.equal(clock.pending, 0)
  })

  it('closes at once with the reason of its owner', async () => {
    using ends = ourClient((session) => session.on('stream', (stream) => void once(stream, 'close').catch(() => undefined)))
    const failure = failureOf(ask(ends.client))
    await settled()
    ends.client.close(httpFailure('IDLE_TIMEOUT'))
    assert.deepEqual(await failure, { code: 'IDLE_TIMEOUT', wasSent: true, reset: undefined })
    assert.equal((await ends.closed)?.code, 'IDLE_TIMEOUT')
  })
})
