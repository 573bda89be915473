// serveHttp2 with Node's client: what a handler sees of a request, and what a client sees of a response.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import http2, { type ClientHttp2Stream, type IncomingHttpHeaders } from 'node:http2'
import { text } from 'node:stream/consumers'
import type { ServerExchange } from '../../../http/exchange.ts'
import { ourServer, wholeBody } from '../../support/h2-ends.ts'

/** What a client got. */
async function received(stream: ClientHttp2Stream): Promise<{ headers: IncomingHttpHeaders; body: string }> {
  const [headers] = await once(stream, 'response')
  return { headers, body: await text(stream) }
}

describe('http/h2-server', () => {
  it('gives the handler a normalised request and the client its response', async () => {
    const seen: ServerExchange[] = []
    using ends = ourServer((exchange) => {
      seen.push(exchange)
      const writer = exchange.respond(
        {
          status: 200,
          headers: [
            ['x-answer', 'a'],
            ['x-answer', 'b'],
          ],
        },
        5,
      )
      writer.write(Buffer.from('hello'))
      writer.end()
    })
    const { headers, body } = await received(
      ends.session.request({ ':path': '/a/b?c=d', 'x-one': ['1', '2'], ':authority': 'Server.Test' }),
    )
    assert.equal(body, 'hello')
    assert.equal(headers['x-answer'], 'a, b')
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
      writer.end([...trailers, ['x-more', '2']])
    })
    const stream = ends.session.request({ ':method': 'POST' }, { waitForTrailers: true })
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sum': '1' }))
    stream.end('body')
    const trailers = once(stream, 'trailers')
    assert.equal((await received(stream)).body, 'body')
    const [got] = await trailers
    assert.deepEqual({ ...got, [http2.sensitiveHeaders]: undefined }, { 'x-sum': '1', 'x-more': '2', [http2.sensitiveHeaders]: undefined })
  })
})
