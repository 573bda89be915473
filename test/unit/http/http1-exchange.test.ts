// Random messages written by our client and read by our server, and back: the same whatever the pieces they come in.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import type { HeaderField, RequestHead } from '../../../model/http.ts'
import { ask, type BodyLog, dialRaw, logBody, serveRaw, settle } from '../../support/http1-ends.ts'

const token = fc.stringMatching(/^[!#$%&'*+.^`|~0-9a-z][a-z0-9-]{0,6}$/)
const value = fc.stringMatching(/^(?:[!-~\x80-\xff](?:[\t -~\x80-\xff]{0,8}[!-~\x80-\xff])?)?$/)
const field: fc.Arbitrary<HeaderField> = fc.tuple(
  token.map((name) => `x-${name}`),
  value,
)
const segment = fc.stringMatching(/^[A-Za-z0-9_~!$&'()*+,=:@-]{1,5}$/)
const bytes = fc.string({ unit: fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code)), maxLength: 12 })
const message = fc.record({
  method: fc.constantFrom('GET', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'X-OWN'),
  path: fc.array(segment, { maxLength: 3 }).map((list) => `/${list.join('/')}`),
  query: fc.option(fc.stringMatching(/^[!-"$-~]{0,8}$/), { nil: undefined }),
  headers: fc.array(field, { maxLength: 4 }),
  pieces: fc.array(
    bytes.filter((text) => text !== ''),
    { maxLength: 3 },
  ),
  isChunked: fc.boolean(),
  trailers: fc.array(field, { maxLength: 2 }),
})
type Message = typeof message extends fc.Arbitrary<infer T> ? T : never

interface Seen {
  readonly head: RequestHead
  readonly length: number | undefined
  readonly log: BodyLog
}

describe('http/http1-exchange', function () {
  this.timeout('60s')

  it('a message is the same, cut at every position', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(message, { minLength: 1, maxLength: 2 }), async (list) => {
        let text = ''
        for (const one of list) text += await written(one)
        const want = list.map(expected)
        for (let cut = 0; cut <= text.length; cut++) assert.deepEqual(await read([text.slice(0, cut), text.slice(cut)]), want)
        assert.deepEqual(await read([...text]), want)
      }),
      { numRuns: 12 },
    )
  })

  it('a response is the same, cut at every position', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 200, max: 599 }), message, async (status, one) => {
        const text = await answered(status, one)
        const hasBody = status !== 204 && status !== 304
        for (let cut = 0; cut <= text.length; cut++) {
          const { raw, connection } = dialRaw()
          const answer = ask(connection)
          raw.channel.write(Buffer.from(text.slice(0, cut), 'latin1'))
          raw.channel.write(Buffer.from(text.slice(cut), 'latin1'))
          await settle(2)
          assert.deepEqual(answer.head, { status, headers: one.headers })
          assert.equal(answer.body.text, hasBody ? one.pieces.join('') : '')
          assert.deepEqual(answer.body.trailers, hasBody && one.isChunked ? one.trailers : [])
          assert.equal(connection.canRequest, true)
          connection.close()
        }
      }),
      { numRuns: 12 },
    )
  })
})

function lengthOf({ isChunked, pieces }: Message): number | 'unknown' {
  return isChunked ? 'unknown' : pieces.join('').length
}

async function written(one: Message): Promise<string> {
  const { raw, connection } = dialRaw()
  const { method, path, query, headers } = one
  const { body } = ask(connection, { method, path, query, headers }, lengthOf(one)).exchange
  for (const piece of one.pieces) body.write(Buffer.from(piece, 'latin1'))
  body.end(one.trailers)
  await settle(2)
  connection.close()
  return raw.text
}

async function answered(status: number, one: Message): Promise<string> {
  const { raw, connection } = serveRaw((exchange) => {
    const length = lengthOf(one)
    const body = exchange.respond({ status, headers: one.headers }, length === 'unknown' ? undefined : length)
    for (const piece of one.pieces) body.write(Buffer.from(piece, 'latin1'))
    body.end(one.trailers)
  })
  await raw.send('GET / HTTP/1.1\r\nHost: h\r\n\r\n')
  connection.close()
  return raw.text
}

function expected(one: Message): Seen {
  const { method, path, query, headers } = one
  const length = lengthOf(one)
  return {
    head: { version: 'HTTP/1.1', method, scheme: 'http', authority: 'h', path, query, headers, upgrade: undefined },
    length: length === 'unknown' ? undefined : length,
    log: { text: one.pieces.join(''), trailers: one.isChunked ? one.trailers : [], error: undefined },
  }
}

async function read(pieces: readonly string[]): Promise<Seen[]> {
  const seen: Seen[] = []
  const { raw, connection } = serveRaw((exchange) => {
    seen.push({ head: exchange.request, length: exchange.body.length, log: logBody(exchange.body) })
    exchange.respond({ status: 200, headers: [] }, 0)
  })
  for (const piece of pieces) raw.channel.write(Buffer.from(piece, 'latin1'))
  await settle(2)
  connection.close()
  return seen
}
