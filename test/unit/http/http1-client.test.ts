// HTTP/1.1 as a client: what is written, when a connection may be used again, how it ends.
import assert from 'node:assert/strict'
import { httpFailure } from '../../../http/errors.ts'
import type { RequestHead } from '../../../model/http.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { ask, describeAnswer, dialRaw, logBody, QUICK_LIMITS, settle } from '../../support/http1-ends.ts'

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi'

const WRITTEN: readonly {
  readonly head: Partial<RequestHead>
  readonly length?: number
  readonly isChunked?: boolean
  readonly want: string
}[] = [
  { head: {}, want: 'GET / HTTP/1.1\r\nhost: h\r\n\r\n' },
  { head: { path: '/a', query: 'b=c', authority: 'x.y:80' }, want: 'GET /a?b=c HTTP/1.1\r\nhost: x.y:80\r\n\r\n' },
  { head: { query: '' }, want: 'GET /? HTTP/1.1\r\nhost: h\r\n\r\n' },
  { head: { method: 'OPTIONS', path: '*' }, want: 'OPTIONS * HTTP/1.1\r\nhost: h\r\n\r\n' },
  { head: { method: 'POST' }, want: 'POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\r\n' },
  { head: { method: 'DELETE' }, want: 'DELETE / HTTP/1.1\r\nhost: h\r\n\r\n' },
  { head: { method: 'PUT' }, length: 2, want: 'PUT / HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\nhi' },
  { head: {}, length: 2, want: 'GET / HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\nhi' },
  {
    head: { method: 'POST' },
    isChunked: true,
    want: 'POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n',
  },
  {
    head: {
      headers: [
        ['a', 'b'],
        ['a', 'c'],
        ['x', ''],
      ],
    },
    want: 'GET / HTTP/1.1\r\nhost: h\r\na: b\r\na: c\r\nx: \r\n\r\n',
  },
  { head: { headers: [['x', '\xe9\t']] }, want: 'GET / HTTP/1.1\r\nhost: h\r\nx: \xe9\t\r\n\r\n' },
  { head: { headers: [['te', 'trailers']] }, want: 'GET / HTTP/1.1\r\nhost: h\r\nte: trailers\r\nconnection: te\r\n\r\n' },
  {
    head: {
      headers: [
        ['host', 'x'],
        ['content-length', '9'],
        ['transfer-encoding', 'x'],
        ['connection', 'close'],
        ['upgrade', 'x'],
      ],
    },
    want: 'GET / HTTP/1.1\r\nhost: h\r\n\r\n',
  },
  { head: { upgrade: 'websocket' }, want: 'GET / HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n' },
]

const REFUSED_HEADS: readonly Partial<RequestHead>[] = [
  { method: 'CONNECT' },
  { method: '' },
  { method: 'G T' },
  { method: 'GET\r\nX: y' },
  { path: '' },
  { path: 'a' },
  { path: '/a b' },
  { path: '/a\r\nX: y' },
  { path: '/a?b' },
  { path: '/a#b' },
  { path: '/\xe9' },
  { path: '/\u010a' },
  { path: '*', query: 'a' },
  { query: 'a b' },
  { query: 'a#b' },
  { query: 'a\r\n' },
  { authority: '' },
  { authority: 'H' },
  { authority: 'h\r\nX: y' },
  { authority: 'u@h' },
  { authority: 'h:0' },
  { headers: [['A', 'b']] },
  { headers: [['a b', 'c']] },
  { headers: [['', 'c']] },
  { headers: [['a:', 'c']] },
  { headers: [['a', 'b\r\nc: d']] },
  { headers: [['a', '\n']] },
  { headers: [['a', '\0']] },
  { headers: [['a', '\u20ac']] },
  { upgrade: 'a, b' },
  { upgrade: '' },
  { upgrade: 'a\r\nb' },
]

describe('http/http1-client', () => {
  for (const { head, length, isChunked, want } of WRITTEN) {
    it(`writes ${JSON.stringify(want)}`, async () => {
      const { raw, connection } = dialRaw()
      const bodyLength = isChunked === true ? 'unknown' : (length ?? 0)
      const { exchange } = ask(connection, head, bodyLength)
      exchange.body.write(Buffer.from('hi'))
      exchange.body.end()
      await settle()
      assert.equal(raw.text, want)
      connection.close()
    })
  }

  for (const head of REFUSED_HEADS) {
    it(`never writes ${JSON.stringify(head)}`, async () => {
      const { raw, connection } = dialRaw()
      const answer = ask(connection, head)
      assert.equal(answer.failed, undefined, 'the caller has no exchange yet')
      await settle()
      assert.deepEqual([answer.failed, answer.wasSent, raw.text, connection.canRequest], ['BAD_HEAD', false, '', true])
      connection.close()
    })
  }

  it('uses a connection again and again', async () => {
    const { raw, connection } = dialRaw()
    for (let i = 1; i <= 3; i++) {
      const answer = ask(connection)
      assert.deepEqual([connection.canRequest, connection.active], [false, 1])
      await raw.send(OK)
      assert.equal(describeAnswer(answer), '200 hi')
      assert.equal(connection.requests, i)
    }
    connection.close()
  })

  it('says once per request that it is free', async () => {
    const dialled = dialRaw()
    ask(dialled.connection)
    await dialled.raw.send(OK)
    ask(dialled.connection)
    await dialled.raw.send(OK)
    assert.equal(dialled.idles, 2)
    dialled.connection.close()
  })

  it('refuses a second request at the same time', async () => {
    const { connection } = dialRaw()
    ask(connection)
    const second = ask(connection)
    await settle()
    assert.deepEqual([second.failed, second.wasSent], ['STREAM_REFUSED', false])
    connection.close()
  })

  it('closes when bytes come that answer no request', async () => {
    for (const bytes of ['x', OK, '\r\n']) {
      const { raw, connection, closed } = dialRaw()
      ask(connection)
      await raw.send(OK)
      await raw.send(bytes)
      assert.deepEqual([connection.canRequest, closed], [false, ['UPSTREAM_BAD_MESSAGE']])
    }
  })

  it('closes when bytes come before the first request', async () => {
    const { raw, connection, closed } = dialRaw()
    await raw.send(OK)
    assert.deepEqual([connection.canRequest, closed], [false, ['UPSTREAM_BAD_MESSAGE']])
  })

  it('a used connection that ends before a byte: the caller may know that it was used', async () => {
    const { raw, connection } = dialRaw()
    ask(connection)
    await raw.send(OK)
    const second = ask(connection)
    raw.channel.reset()
    await settle()
    assert.deepEqual([second.failed, second.wasSent], ['CONNECTION_CLOSED', true])
  })

  it('a connection that ended cannot be used', async () => {
    const { raw, connection, closed } = dialRaw()
    await raw.end()
    assert.equal(connection.canRequest, false)
    await settle()
    assert.deepEqual(closed, ['-'])
    const answer = ask(connection)
    await settle()
    assert.deepEqual([answer.failed, answer.wasSent], ['STREAM_REFUSED', false])
  })

  it('nothing was sent before the first bytes of the body', async () => {
    const { raw, connection } = dialRaw()
    const answer = ask(connection, { method: 'POST' }, 5)
    connection.close()
    await settle()
    assert.deepEqual([answer.failed, answer.wasSent, raw.text], ['CONNECTION_CLOSED', false, ''])
  })

  it('delivers a response that came before the request ended', async () => {
    const dialled = dialRaw()
    const { raw, connection } = dialled
    const answer = ask(connection, { method: 'POST' }, 'unknown')
    answer.exchange.body.write(Buffer.from('a'))
    await raw.send(OK)
    assert.equal(describeAnswer(answer), '200 hi')
    assert.deepEqual([connection.canRequest, dialled.idles], [false, 0])
    answer.exchange.body.end()
    assert.deepEqual([connection.canRequest, dialled.idles], [true, 1])
    connection.close()
  })

  it('gives the rest of a request up when the response was the last', async () => {
    const { raw, connection } = dialRaw()
    const answer = ask(connection, { method: 'POST' }, 'unknown')
    answer.exchange.body.write(Buffer.from('a'))
    await raw.send('HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi')
    assert.equal(describeAnswer(answer), '413 hi')
    assert.deepEqual([connection.active, connection.canRequest], [0, false])
    answer.exchange.body.write(Buffer.from('b'))
    answer.exchange.body.end()
    await raw.end()
    assert.doesNotMatch(raw.text, /b\r\n/)
  })

  it('delivers what came before a reset, at the pace of the reader', async () => {
    const { raw, connection, closed } = dialRaw()
    const answer = ask(connection, {}, 0, false)
    await raw.send('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi')
    raw.channel.reset()
    await settle()
    assert.deepEqual(closed, ['CHANNEL_RESET'])
    const log = logBody(answer.reader!)
    assert.deepEqual([log.text, log.trailers, log.error], ['hi', [], undefined])
  })

  it('a body that lasts to the end is not whole after a reset', async () => {
    const { raw, connection } = dialRaw()
    const answer = ask(connection)
    await raw.send('HTTP/1.1 200 OK\r\n\r\nhi')
    raw.channel.reset()
    await settle()
    assert.equal(describeAnswer(answer), '200 hi UPSTREAM_RESET')
  })

  it('slows a server down whose response is not read', async () => {
    const { raw, near, connection } = dialRaw()
    const answer = ask(connection, {}, 0, false)
    await raw.send('HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n')
    for (let i = 0; i < 100; i++) await raw.send('x'.repeat(10_000))
    assert.ok(near.delivered < 50_000)
    const log = logBody(answer.reader!)
    await settle()
    assert.deepEqual([log.text.length, log.trailers, connection.canRequest], [1_000_000, [], true])
    connection.close()
  })

  describe('cancel', () => {
    it('before anything was sent leaves the connection usable', async () => {
      const { raw, connection } = dialRaw()
      const first = ask(connection, { method: 'POST' }, 5)
      first.exchange.cancel(httpFailure('CANCELLED'))
      assert.equal(connection.canRequest, true)
      const second = ask(connection)
      await raw.send(OK)
      assert.equal(raw.text, 'GET / HTTP/1.1\r\nhost: h\r\n\r\n')
      assert.deepEqual([first.failed, describeAnswer(second)], [undefined, '200 hi'])
      connection.close()
    })

    it('ends the connection, also within the response', async () => {
      for (const bytes of ['', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi']) {
        const { raw, connection, closed } = dialRaw()
        const answer = ask(connection)
        await raw.send(bytes)
        answer.exchange.cancel(httpFailure('CANCELLED'))
        answer.exchange.cancel(httpFailure('CANCELLED'))
        await settle()
        assert.deepEqual([answer.failed, answer.body.error, closed, raw.isClosed], [undefined, undefined, ['CANCELLED'], true])
      }
    })
  })

  describe('switch', () => {
    const SWITCH = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\nX: y\r\n\r\n'

    it('carries raw bytes both ways', async () => {
      const { raw, connection, closed } = dialRaw()
      const answer = ask(connection, { upgrade: 'websocket' })
      await raw.send(`${SWITCH}early`)
      assert.deepEqual(answer.head, { status: 101, headers: [['x', 'y']] })
      const log = logBody(answer.raw!.reader)
      answer.raw!.writer.write(Buffer.from('up'))
      await raw.send('down')
      await raw.end()
      assert.deepEqual([log.text, log.trailers], ['earlydown', []])
      answer.raw!.writer.end()
      await settle()
      assert.match(raw.text, /\r\n\r\nup$/)
      assert.deepEqual([raw.isEnded, closed, connection.canRequest], [true, ['-'], false])
    })

    it('refused by the server is a response, and the last', async () => {
      const { raw, connection } = dialRaw()
      const answer = ask(connection, { upgrade: 'websocket' })
      await raw.send(OK)
      assert.deepEqual([describeAnswer(answer), connection.canRequest], ['200 hi', false])
      connection.close()
    })

    for (const bytes of [
      SWITCH.replace('WebSocket', 'other'),
      SWITCH.replace('Connection: Upgrade\r\n', ''),
      SWITCH.replace('Upgrade: WebSocket\r\n', ''),
    ])
      it(`is not believed: ${JSON.stringify(bytes.slice(34, 70))}`, async () => {
        const { raw, connection } = dialRaw()
        const answer = ask(connection, { upgrade: 'websocket' })
        await raw.send(bytes)
        assert.equal(answer.failed, 'UPSTREAM_BAD_MESSAGE')
      })
  })

  it('breaks a request off so that the server sees it', async () => {
    const { raw, connection } = dialRaw()
    const answer = ask(connection, { method: 'POST' }, 'unknown')
    answer.exchange.body.write(Buffer.from('a'))
    answer.exchange.body.abort(httpFailure('CLIENT_GONE'))
    await settle()
    assert.deepEqual([answer.failed, answer.wasSent, raw.isClosed], ['CLIENT_GONE', true, true])
    assert.doesNotMatch(raw.text, /0\r\n\r\n$/)
  })

  it('a body that has not its length ends the connection', async () => {
    for (const body of ['hello!', 'he']) {
      const { raw, connection } = dialRaw()
      const answer = ask(connection, { method: 'POST' }, 5)
      answer.exchange.body.write(Buffer.from(body))
      answer.exchange.body.end()
      await settle()
      assert.deepEqual([answer.failed, raw.isClosed], ['BODY_MISMATCH', true])
    }
  })

  it('drains: at once, or after the request under way', async () => {
    const idle = dialRaw()
    idle.connection.drain()
    await idle.raw.end()
    assert.deepEqual(idle.closed, ['-'])
    const busy = dialRaw()
    const answer = ask(busy.connection)
    busy.connection.drain()
    await busy.raw.send(OK)
    await busy.raw.end()
    assert.deepEqual([describeAnswer(answer), busy.closed, busy.idles], ['200 hi', ['-'], 0])
  })

  it('closes when it is not used, and leaves no timer', async () => {
    const clock = new FakeClock()
    const { raw, closed, connection } = dialRaw(clock)
    await clock.advance(QUICK_LIMITS.idleTimeoutMs)
    await raw.end()
    assert.deepEqual([closed, clock.pending, connection.canRequest], [['IDLE_TIMEOUT'], 0, false])
  })

  it('does not wait for ever for a server that does not end its half', async () => {
    const clock = new FakeClock()
    const { raw, closed, connection } = dialRaw(clock)
    connection.drain()
    await settle()
    assert.deepEqual([raw.isEnded, closed], [true, []])
    await clock.advance(QUICK_LIMITS.drainMs)
    assert.deepEqual([closed, clock.pending], [['-'], 0])
  })
})
