// HTTP/1.1 as a server: how connections end, in order and otherwise.
import assert from 'node:assert/strict'
import { httpFailure } from '../../../http/errors.ts'
import type { ServerExchange } from '../../../http/exchange.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { logBody, QUICK_LIMITS, type Served, serveRaw, settle } from '../../support/http1-ends.ts'

const GET = 'GET /a HTTP/1.1\r\nHost: h\r\n\r\n'
const OK = { status: 200, headers: [] }

describe('http/http1-server: ends', () => {
  describe('drain', () => {
    it('closes an idle connection when nothing more can be on its way', async () => {
      const clock = new FakeClock()
      const { raw, connection, closed } = serveRaw((exchange) => exchange.respond(OK, 0), clock)
      connection.drain()
      await clock.advance(QUICK_LIMITS.drainMs - 1)
      assert.equal(raw.isEnded, false)
      await clock.advance(1)
      await settle()
      assert.equal(raw.isEnded, true)
      await raw.end()
      assert.deepEqual([closed, clock.pending], [['-'], 0])
    })

    it('answers a request that was on its way', async () => {
      const clock = new FakeClock()
      const { raw, connection, closed } = serveRaw((exchange) => exchange.respond(OK, 0), clock)
      connection.drain()
      await clock.advance(QUICK_LIMITS.drainMs - 1)
      await raw.send(GET)
      assert.equal(raw.text, 'HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n')
      await settle()
      assert.equal(raw.isEnded, true)
      await raw.end()
      assert.deepEqual([closed, clock.pending], [['-'], 0])
    })

    it('lets the request under way end and says so', async () => {
      const { raw, connection, exchanges } = serveRaw()
      await raw.send(GET + GET)
      connection.drain()
      exchanges[0]!.respond(OK, 0)
      await settle()
      assert.equal(raw.text, 'HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n')
      assert.deepEqual([exchanges.length, raw.isEnded], [1, true])
    })
  })

  describe('time', () => {
    it('closes a connection that is not used', async () => {
      const clock = new FakeClock()
      const served = serveRaw((exchange) => exchange.respond(OK, 0), clock)
      await clock.advance(QUICK_LIMITS.idleTimeoutMs - 1000)
      await served.raw.send(GET)
      await clock.advance(QUICK_LIMITS.idleTimeoutMs - 1000)
      await settle()
      assert.equal(served.raw.isEnded, false)
      await clock.advance(1000)
      await settle()
      assert.equal(served.raw.isEnded, true)
      await served.raw.end()
      assert.deepEqual([served.closed, clock.pending], [['IDLE_TIMEOUT'], 0])
    })

    it('does not count a request under way as idle', async () => {
      const clock = new FakeClock()
      const { raw, connection } = serveRaw(() => undefined, clock)
      await raw.send(GET)
      await clock.advance(QUICK_LIMITS.idleTimeoutMs * 3)
      await settle()
      assert.equal(raw.isEnded, false)
      connection.close()
    })

    it('answers 408 to a head that does not end', async () => {
      const clock = new FakeClock()
      const { raw, closed } = serveRaw(() => undefined, clock)
      await raw.send('GET / HTTP/1.1\r\nHo')
      await clock.advance(QUICK_LIMITS.headTimeoutMs - 1)
      await raw.send('st: h')
      assert.equal(raw.text, '')
      await clock.advance(1)
      await settle()
      assert.match(raw.text, /^HTTP\/1.1 408 .*connection: close/s)
      await clock.advance(QUICK_LIMITS.drainMs)
      await settle()
      assert.deepEqual([raw.isClosed, closed, clock.pending], [true, ['HEAD_TIMEOUT'], 0])
    })

    it('does not count a lone empty line as a head', async () => {
      const clock = new FakeClock()
      const { raw, connection } = serveRaw(() => undefined, clock)
      await raw.send('\r\n')
      await clock.advance(QUICK_LIMITS.headTimeoutMs * 2)
      await settle()
      assert.equal(raw.text, '')
      connection.close()
    })
  })

  describe('a client that goes', () => {
    it('by a reset', async () => {
      const { raw, exchanges, gone, closed } = serveRaw()
      await raw.send('POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhe')
      const log = logBody(exchanges[0]!.body)
      raw.channel.reset()
      await settle()
      assert.deepEqual([log.error, gone, closed], ['CLIENT_GONE', ['CLIENT_GONE'], ['CHANNEL_RESET']])
    })

    it('in the middle of a body', async () => {
      const { raw, exchanges, gone, closed } = serveRaw()
      await raw.send('POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhe')
      const log = logBody(exchanges[0]!.body)
      await raw.end()
      assert.deepEqual([log.error, gone, closed], ['CLIENT_GONE', ['CLIENT_GONE'], ['CLIENT_GONE']])
    })

    it('half, and still gets a response that is near', async () => {
      const { raw, exchanges, gone, closed } = serveRaw()
      await raw.send(GET)
      await raw.end()
      exchanges[0]!.respond(OK, 0)
      await settle()
      assert.match(raw.text, /^HTTP\/1.1 200 /)
      assert.deepEqual([gone, closed, raw.isClosed], [[], ['-'], true])
    })

    it('half, and the response is not near', async () => {
      const clock = new FakeClock()
      const { raw, gone, closed } = serveRaw(() => undefined, clock)
      await raw.send(GET)
      await raw.end()
      assert.deepEqual(gone, [])
      await clock.advance(QUICK_LIMITS.drainMs)
      assert.deepEqual([gone, closed], [['CLIENT_GONE'], ['CLIENT_GONE']])
    })

    it('half, after it said that this is its last request', async () => {
      const clock = new FakeClock()
      const { raw, exchanges, gone } = serveRaw(() => undefined, clock)
      await raw.send('GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n')
      await raw.end()
      await clock.advance(60_000)
      exchanges[0]!.respond(OK, 0)
      await settle()
      assert.match(raw.text, /^HTTP\/1.1 200 /)
      assert.deepEqual(gone, [])
    })
  })

  describe('breaks', () => {
    it('a body that turns bad before the response: 400', async () => {
      const { raw, exchanges, gone } = serveRaw()
      await raw.send('POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n')
      const log = logBody(exchanges[0]!.body)
      await raw.send('XX')
      assert.match(raw.text, /^HTTP\/1.1 400 .*a bad chunk size/s)
      assert.deepEqual([log.text, log.error, gone], ['hello', 'BAD_MESSAGE', ['BAD_MESSAGE']])
      exchanges[0]!.respond(OK, 0).end()
      exchanges[0]!.reset(httpFailure('CANCELLED'))
      await settle()
      assert.doesNotMatch(raw.text, /200/)
    })

    it('a body that turns bad within the response: the response is cut', async () => {
      const { raw, exchanges, gone, closed } = serveRaw()
      await raw.send('POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n')
      logBody(exchanges[0]!.body)
      exchanges[0]!.respond(OK, undefined).write(Buffer.from('x'))
      await raw.send('XX')
      assert.deepEqual([raw.isClosed, gone, closed], [true, ['BAD_MESSAGE'], ['BAD_MESSAGE']])
      assert.doesNotMatch(raw.text, /400|0\r\n\r\n$/)
    })

    it('reset ends the connection without a response', async () => {
      const { raw, gone, closed } = serveRaw((exchange) => exchange.reset(httpFailure('CANCELLED')))
      await raw.send(GET)
      assert.deepEqual([raw.text, raw.isClosed, gone, closed], ['', true, [], ['CANCELLED']])
    })

    const broken: readonly (readonly [name: string, respond: (exchange: ServerExchange) => void])[] = [
      ['too many bytes', (exchange) => exchange.respond(OK, 2).write(Buffer.from('hello'))],
      ['too few bytes', (exchange) => exchange.respond(OK, 2).end()],
      ['abort', (exchange) => exchange.respond(OK, undefined).abort(httpFailure('UPSTREAM_RESET'))],
    ]
    for (const [name, respond] of broken)
      it(`${name}: the client sees that the response is not whole`, async () => {
        const { raw, connection } = serveRaw(respond)
        await raw.send(GET)
        assert.equal(raw.isClosed, true)
        assert.notEqual(raw.error, undefined)
        assert.equal(connection.isIdle, true)
      })

    const heads: readonly (readonly [name: string, status: number, field: readonly [string, string]])[] = [
      ['a name with a capital', 200, ['X', 'a']],
      ['a name with a blank', 200, ['a b', 'a']],
      ['an empty name', 200, ['', 'a']],
      ['a value with a line end', 200, ['a', 'b\r\nc: d']],
      ['a value with LF', 200, ['a', 'b\nc']],
      ['a value with NUL', 200, ['a', '\0']],
      ['a value beyond a byte', 200, ['a', '\u010a']],
      ['status 99', 99, ['a', 'b']],
      ['status 600', 600, ['a', 'b']],
      ['status 200.5', 200.5, ['a', 'b']],
      ['an interim status', 103, ['a', 'b']],
      ['status 101', 101, ['a', 'b']],
    ]
    for (const [name, status, field] of heads)
      it(`${name} is never sent`, async () => {
        const { raw, gone } = serveRaw((exchange) => exchange.respond({ status, headers: [field] }, 0))
        await raw.send(GET)
        assert.match(raw.text, /^HTTP\/1.1 500 .*connection: close/s)
        assert.deepEqual(gone, ['BAD_HEAD'])
      })
  })

  it('gives up everything on close', async () => {
    const clock = new FakeClock()
    const served: Served = serveRaw(() => undefined, clock)
    await served.raw.send('POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhe')
    const log = logBody(served.exchanges[0]!.body)
    served.connection.close()
    served.connection.close()
    await settle()
    assert.deepEqual([log.error, served.gone, served.closed, clock.pending], ['CANCELLED', ['CANCELLED'], ['CANCELLED'], 0])
  })
})
