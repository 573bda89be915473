// Back-pressure of the HTTP/2 codec in both roles, counted in bytes: a reader that takes nothing, or a peer that takes nothing,
// holds a bounded number of them, and what is held is delivered later.
import assert from 'node:assert/strict'
import { channelDuplex, WRITE_QUEUE_BYTES } from '../../../http/channel-duplex.ts'
import type { BodyWriter, ServerExchange } from '../../../http/exchange.ts'
import { connectHttp2 } from '../../../http/h2-client.ts'
import { CONNECTION_WINDOW_BYTES, STREAM_WINDOW_BYTES } from '../../../http/h2-limits.ts'
import { serveHttp2 } from '../../../http/h2-server.ts'
import { HTTP_LIMITS } from '../../../http/options.ts'
import { systemClock } from '../../../kit/clock.ts'
import type { RequestHead } from '../../../model/http.ts'
import { channelPair } from '../../support/channel-pair.ts'
import { answerHandlers, pump, settled, wholeBody } from '../../support/h2-ends.ts'

const PIECE = Buffer.alloc(16 * 1024, 'p')
const TOTAL = 8 * 1024 * 1024
/** Readable's and Writable's own buffers on the way, at both ends. */
const BUFFERS = 512 * 1024

const POST: RequestHead = {
  version: 'HTTP/2',
  method: 'POST',
  scheme: 'http',
  authority: 'server.test',
  path: '/',
  query: undefined,
  headers: [],
  upgrade: undefined,
}

/** Writes as long as the writer takes bytes; tells how many it took so far. */
function flood(writer: BodyWriter, total = TOTAL): { taken: number } {
  const state = { taken: 0 }
  const go = (): void => {
    while (state.taken < total) {
      state.taken += PIECE.length
      if (!writer.write(PIECE)) return
    }
    writer.end()
  }
  writer.onDrain = go
  go()
  return state
}

/** Our client and our server on a pair of channels. */
function ends(handler: (exchange: ServerExchange) => void) {
  const [near, far] = channelPair()
  const base = { limits: HTTP_LIMITS, clock: systemClock }
  const server = serveHttp2(far, { ...base, handler, scheme: 'http' })
  const client = connectHttp2(near, base)
  return { client, server, near, far, [Symbol.dispose]: () => client.close() }
}

describe('http/h2: back-pressure', () => {
  it('a request body that nobody reads stops at the stream window', async () => {
    const held: ServerExchange[] = []
    using pair = ends((exchange) => void held.push(exchange))
    const handlers = answerHandlers()
    const { body } = pair.client.request(POST, undefined, handlers)
    const state = flood(body)
    for (let round = 0; round < 5; round++) await settled()
    assert.ok(state.taken < STREAM_WINDOW_BYTES + BUFFERS, `${state.taken} bytes were taken`)
    assert.ok(pair.far.delivered < STREAM_WINDOW_BYTES + BUFFERS, `${pair.far.delivered} bytes arrived`)
    const exchange = held[0] as ServerExchange
    assert.equal((await wholeBody(exchange.body)).bytes.length, TOTAL)
    exchange.respond({ status: 200, headers: [] }, 0).end()
    assert.equal((await handlers.answer).head.status, 200)
  })

  it('a paused response body stops as well, and goes on when resumed', async () => {
    let state = { taken: 0 }
    using pair = ends((exchange) => {
      state = flood(exchange.respond({ status: 200, headers: [] }, TOTAL))
    })
    let got = 0
    const done = Promise.withResolvers<void>()
    pair.client.request(POST, 0, {
      ...answerHandlers(),
      onResponse: (_head, body) => {
        body.start({
          onData: (chunk) => {
            if (got === 0) {
              body.pause()
              void (async () => {
                for (let round = 0; round < 5; round++) await settled()
                const before = got
                assert.ok(state.taken < STREAM_WINDOW_BYTES + BUFFERS, `${state.taken} bytes were taken`)
                await settled()
                assert.equal(got, before)
                body.resume()
              })().catch(done.reject)
            }
            got += chunk.length
          },
          onEnd: () => done.resolve(),
          onError: done.reject,
        })
      },
    })
    await done.promise
    assert.equal(got, TOTAL)
  })

  it('stuck streams do not stop the others of their connection', async () => {
    const held: ServerExchange[] = []
    using pair = ends((exchange) => {
      if (exchange.request.path === '/stuck') held.push(exchange)
      else pump(exchange.body, exchange.respond({ status: 200, headers: [] }, undefined))
    })
    for (let at = 0; at < 40; at++) {
      flood(pair.client.request({ ...POST, path: '/stuck' }, undefined, { ...answerHandlers(), onFailed: () => undefined }).body)
    }
    for (let round = 0; round < 5; round++) await settled()
    assert.equal(held.length, 40)
    assert.ok(pair.far.delivered > CONNECTION_WINDOW_BYTES, `${pair.far.delivered} bytes arrived`)
    assert.ok(pair.far.delivered < 40 * (STREAM_WINDOW_BYTES + 1024) + CONNECTION_WINDOW_BYTES, `${pair.far.delivered} bytes arrived`)
    const handlers = answerHandlers()
    flood(pair.client.request(POST, undefined, handlers).body)
    assert.equal((await handlers.answer).bytes.length, TOTAL)
  })

  it('a peer that reads nothing at all bounds what we take from the user', async () => {
    const [near, far] = channelPair()
    const client = connectHttp2(near, { limits: HTTP_LIMITS, clock: systemClock })
    const stuck = channelDuplex(far) // nobody reads it
    const state = flood(client.request(POST, undefined, { ...answerHandlers(), onFailed: () => undefined }).body, 10 * WRITE_QUEUE_BYTES)
    for (let round = 0; round < 5; round++) await settled()
    assert.ok(state.taken < 64 * 1024 + BUFFERS, `${state.taken} bytes were taken`)
    assert.ok(far.mostWaiting < 256 * 1024 + BUFFERS, `${far.mostWaiting} bytes waited`)
    client.close()
    stuck.destroy()
  })

  it('both directions at full speed do not stand still', async () => {
    using pair = ends((exchange) => {
      flood(exchange.respond({ status: 200, headers: [] }, undefined))
      exchange.body.start({ onData: () => undefined, onEnd: () => undefined, onError: () => undefined })
    })
    const answers = Array.from({ length: 8 }, () => {
      const handlers = answerHandlers()
      flood(pair.client.request(POST, undefined, handlers).body)
      return handlers.answer
    })
    for (const { bytes } of await Promise.all(answers)) assert.equal(bytes.length, TOTAL)
  }).timeout(20_000)
})
