// serveHttp2 with a client that writes any frame: resets, broken messages, floods.
import assert from 'node:assert/strict'
import { encodeFrame, Flag, FrameType } from '../../../hbone/frame.ts'
import { httpFailure } from '../../../http/errors.ts'
import type { ServerExchange } from '../../../http/exchange.ts'
import type { MeshError } from '../../../kit/error.ts'
import type { HeaderField } from '../../../model/http.ts'
import { attackedServer, settled, wholeBody } from '../../support/h2-ends.ts'
import { data, headers, ids, repeat, settings, word } from '../../support/raw-h2.ts'

const POST: HeaderField[] = [
  [':method', 'POST'],
  [':scheme', 'http'],
  [':path', '/'],
  [':authority', 'server.test'],
]

const SWITCH: HeaderField[] = [
  [':method', 'CONNECT'],
  [':protocol', 'websocket'],
  [':scheme', 'http'],
  [':path', '/'],
  [':authority', 'server.test'],
]

/** A piece of a header block that goes on: one literal field. */
const FRAGMENT = encodeFrame(FrameType.continuation, 0, 1, Buffer.from('00017801' + '79', 'hex'))

describe('http/h2-server: a hostile client', () => {
  for (const { name, code, reset } of [
    { name: 'CANCEL', code: 8, reset: 'CANCEL' },
    { name: 'NO_ERROR, which is no end of a body', code: 0, reset: 'NO_ERROR' },
    { name: 'a code that nobody knows', code: 99, reset: '99' },
  ]) {
    it(`tells the handler once that the client is gone, and breaks the body off: ${name}`, async () => {
      const told: MeshError[] = []
      const outcome = Promise.withResolvers<string>()
      using ends = attackedServer((exchange) => {
        exchange.onClosed = (error) => told.push(error)
        wholeBody(exchange.body).then(
          () => outcome.resolve('whole'),
          (error: MeshError) => outcome.resolve(error.code),
        )
      })
      ends.peer.send(headers(1, POST), data(1, 100))
      await settled()
      ends.peer.send(word(FrameType.rstStream, 1, code))
      assert.equal(await outcome.promise, 'CLIENT_GONE')
      await settled()
      assert.deepEqual(
        told.map((error) => [error.code, error.detail.reset]),
        [['CLIENT_GONE', reset]],
      )
    })
  }

  it('takes a body that ended before the stream was reset', async () => {
    const outcome = Promise.withResolvers<number>()
    using ends = attackedServer((exchange) => {
      wholeBody(exchange.body).then(({ bytes }) => outcome.resolve(bytes.length), outcome.reject)
    })
    ends.peer.send(headers(1, POST), data(1, 100), data(1, 50, Flag.endStream))
    await settled()
    ends.peer.send(word(FrameType.rstStream, 1, 0))
    assert.equal(await outcome.promise, 150)
  })

  for (const { name, answer } of [
    { name: 'a response', answer: (exchange: ServerExchange) => exchange.respond({ status: 200, headers: [] }, undefined) },
    { name: 'a response of known length', answer: (exchange: ServerExchange) => exchange.respond({ status: 200, headers: [] }, 50) },
    { name: 'a switched stream', answer: (exchange: ServerExchange) => exchange.upgrade({ status: 101, headers: [] }).writer },
  ]) {
    it(`an abort of ${name} is never preceded by an end of it`, async () => {
      using ends = attackedServer((exchange) => {
        const writer = answer(exchange)
        writer.write(Buffer.from('part'))
        setImmediate(() => writer.abort(httpFailure('UPSTREAM_RESET')))
      })
      ends.peer.send(headers(1, name.includes('switched') ? SWITCH : POST))
      assert.equal(await ends.peer.reset(1), 2)
      const ended = ends.peer.frames.filter(({ type, flags }) => type !== FrameType.settings && (flags & Flag.endStream) !== 0)
      assert.deepEqual(ended, [])
    })
  }

  it('does not take a body for whole that ended and was reset with an error at once', async () => {
    const outcome = Promise.withResolvers<string>()
    using ends = attackedServer((exchange) => {
      wholeBody(exchange.body).then(
        () => outcome.resolve('whole'),
        (error: MeshError) => outcome.resolve(error.code),
      )
    })
    ends.peer.send(headers(1, POST), data(1, 100))
    await settled()
    ends.peer.send(Buffer.concat([data(1, 0, Flag.endStream), word(FrameType.rstStream, 1, 2)]))
    assert.equal(await outcome.promise, 'CLIENT_GONE')
  })

  it('breaks a body off whose trailers are malformed', async () => {
    const outcome = Promise.withResolvers<string>()
    using ends = attackedServer((exchange) => {
      wholeBody(exchange.body).then(
        () => outcome.resolve('whole'),
        (error: MeshError) => outcome.resolve(error.code),
      )
    })
    ends.peer.send(headers(1, POST), data(1, 100), headers(1, [['connection', 'close']], Flag.endStream))
    assert.equal(await outcome.promise, 'BAD_MESSAGE')
  })

  for (const { name, frames } of [
    { name: 'PING', frames: () => repeat(encodeFrame(FrameType.ping, 0, 0, Buffer.alloc(8)), 2000) },
    { name: 'SETTINGS', frames: () => repeat(settings(), 2000) },
    { name: 'PRIORITY', frames: () => repeat(encodeFrame(FrameType.priority, 0, 1, Buffer.alloc(5)), 2000) },
    { name: 'empty DATA', frames: () => Buffer.concat([headers(1, POST), repeat(data(1, 0), 2000)]) },
    { name: 'WINDOW_UPDATE', frames: () => repeat(word(FrameType.windowUpdate, 0, 1), 2000) },
    { name: 'frames of unknown type', frames: () => repeat(encodeFrame(0x77, 0, 0, Buffer.alloc(3)), 2000) },
    {
      name: 'rapid resets',
      frames: () => Buffer.concat(ids(2000).map((id) => Buffer.concat([headers(id, POST), word(FrameType.rstStream, id, 8)]))),
    },
    {
      name: 'requests that make us reset them',
      frames: () => Buffer.concat(ids(2000).flatMap((id) => [headers(id, [...POST, ['content-length', '5']]), data(id, 10)])),
    },
  ]) {
    it(`closes the connection on a flood of ${name}`, async () => {
      let handled = 0
      using ends = attackedServer(() => void handled++)
      ends.peer.send(frames())
      const error = await ends.closed
      assert.match(error?.code ?? '', /^(CLIENT_ABUSE|BAD_MESSAGE)$/) // nghttp2 has bounds of its own
      assert.ok(handled <= 1000, `${handled} requests reached the handler`)
    })
  }

  for (const { name, frames } of [
    { name: 'a window that overflows', frames: () => word(FrameType.windowUpdate, 0, 0x7fffffff) },
    { name: 'a frame larger than allowed', frames: () => encodeFrame(FrameType.data, 0, 1, Buffer.alloc(20_000)) },
    { name: 'a head without end', frames: () => Buffer.concat([encodeFrame(FrameType.headers, 0, 1), repeat(FRAGMENT, 200)]) },
    { name: 'HTTP/1.1', frames: () => Buffer.from('GET / HTTP/1.1\r\nhost: a\r\n\r\n') },
    { name: 'an HPACK index that does not exist', frames: () => encodeFrame(FrameType.headers, 0x5, 1, Buffer.from([0xff, 0xff, 0x7f])) },
  ]) {
    it(`frees the connection after ${name}`, async () => {
      using ends = attackedServer(() => assert.fail('the handler saw a request'))
      ends.peer.send(frames())
      assert.match((await ends.closed)?.code ?? '', /^(CLIENT_ABUSE|BAD_MESSAGE)$/)
      assert.equal(ends.far.isClosed, true)
    })
  }

  it('bears many streams, pings and window updates of a busy client', async () => {
    let handled = 0
    using ends = attackedServer((exchange) => {
      handled++
      exchange.respond({ status: 200, headers: [] }, 0).end()
    })
    for (let round = 0; round < 20; round++) {
      for (let at = 0; at < 50; at++) {
        const id = 1 + 2 * (round * 50 + at)
        ends.peer.send(headers(id, POST), data(id, 1000, Flag.endStream), word(FrameType.windowUpdate, 0, 1000))
        if (at % 10 === 0) ends.peer.send(encodeFrame(FrameType.ping, 0, 0, Buffer.alloc(8)))
      }
      await settled()
    }
    assert.equal(handled, 1000)
    assert.equal(ends.far.isClosed, false)
  })
})
