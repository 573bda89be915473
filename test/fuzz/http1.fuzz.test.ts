// Hostile bytes at both ends of HTTP/1.1: never a throw; what is forwarded is read by node:http as what was authorised; what the
// pieces are changes nothing.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { detect } from '../../http/detect.ts'
import { normalizeAuthority, normalizeTarget } from '../../http/normalize.ts'
import { fuzzOptions } from '../support/fuzz.ts'
import { ask, dialRaw, settle } from '../support/http1-ends.ts'
import { proxyBytes } from '../support/http1-proxy.ts'
import { decode, SERVERS } from '../support/path-spellings.ts'
import { VECTORS } from '../support/smuggling-vectors.ts'

const bits = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.constantFrom(
      'GET / HTTP/1.1\r\nHost: h\r\n',
      'POST /a HTTP/1.1\r\n',
      'HTTP/1.1 200 OK\r\n',
      'HTTP/1.1 101 X\r\n',
      'HTTP/1.0 304 X\r\n',
    ),
  },
  { weight: 8, arbitrary: fc.constantFrom('\r\n', '\n', '\r', ' ', '\t', '\0', ':', ';', ',', '0', '5', 'a', '\xff', '/', '%', '..') },
  {
    weight: 8,
    arbitrary: fc.constantFrom(
      'Host: h\r\n',
      'Content-Length: 5\r\n',
      'Content-Length:',
      'Transfer-Encoding: chunked\r\n',
      'Transfer-Encoding:',
      'Connection: close\r\n',
      'Connection: ',
      'Upgrade: x\r\n',
      'Expect: 100-continue\r\n',
      'TE: trailers\r\n',
    ),
  },
  { weight: 4, arbitrary: fc.constantFrom('5\r\nhello\r\n', '0\r\n\r\n', 'hello', '0\r\nA: b\r\n\r\n', '5;x\r\n') },
  { weight: 1, arbitrary: fc.string({ unit: fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code)), maxLength: 8 }) },
)
const joined = fc.array(bits, { maxLength: 16 }).map((list) => list.join(''))
/** A vector with something cut out, put in or doubled. */
const mutated = fc
  .tuple(fc.constantFrom(...VECTORS.map(({ raw }) => raw).filter((raw) => raw.length < 500)), fc.nat(500), fc.nat(8), bits)
  .map(([raw, at, cut, put]) => raw.slice(0, at) + put + raw.slice(at + cut))
const hostile = fc.oneof(joined, mutated)
const cuts = fc.array(fc.nat(500), { maxLength: 4 })

describe('fuzz: http/http1', function () {
  this.timeout('10m')

  it('requests: what is forwarded is what was authorised', () =>
    fc.assert(
      fc.asyncProperty(hostile, cuts, async (raw, at) => {
        const whole = await proxyBytes(raw)
        // A method that node:http does not know is for the server to refuse.
        assert.deepEqual(
          whole.faults.filter((fault) => !/method/i.test(fault)),
          [],
        )
        assert.ok(whole.seen.length <= whole.authorised)
        for (const { url } of whole.seen) assert.ok(url === '*' || /^\/[^#\\\s]*$/.test(url), url)
        const inPieces = await proxyBytes(pieces(raw, at))
        assert.deepEqual(inPieces.seen, whole.seen)
      }),
      fuzzOptions(),
    ))

  it('responses: read the same in any pieces', () =>
    fc.assert(
      fc.asyncProperty(hostile, cuts, fc.constantFrom('GET', 'HEAD'), async (raw, at, method) => {
        assert.deepEqual(await readResponse(pieces(raw, at), method), await readResponse([raw], method))
      }),
      fuzzOptions(),
    ))

  it('targets and authorities: one normal form, one meaning', () => {
    const target = fc.array(
      fc.constantFrom('/', '.', '..', '%2e', '%2f', '%', '25', '2e', ';', 'a', '//', '?', '#', '\\', '%5c', '%c0%ae', '*', '\xe9'),
      { maxLength: 12 },
    )
    fc.assert(
      fc.property(
        target.map((list) => `/${list.join('')}`),
        fc.string({ maxLength: 12 }),
        (raw, host) => {
          const got = normalizeTarget(raw)
          if (got.ok) {
            const { path } = got.value
            assert.deepEqual(normalizeTarget(path), { ok: true, value: { path, query: undefined } })
            for (const name of ['nginx', 'rfc', 'browser']) assert.equal(SERVERS[name]?.(path), decode(path), name)
          }
          const authority = normalizeAuthority(host)
          if (authority.ok) assert.deepEqual(normalizeAuthority(authority.value), authority)
        },
      ),
      fuzzOptions(),
    )
  })

  it('detect: the answer does not change with more bytes', () => {
    fc.assert(
      fc.property(hostile, fc.nat(500), (raw, cut) => {
        const all = Buffer.from(raw, 'latin1')
        const early = detect(all.subarray(0, cut))
        if (early !== 'more') assert.equal(detect(all), early)
      }),
      fuzzOptions(),
    )
  })
})

function pieces(raw: string, at: readonly number[]): string[] {
  const ends = [...at].sort((a, b) => a - b)
  return [...ends, raw.length].map((end, index) => raw.slice(ends[index - 1] ?? 0, end))
}

async function readResponse(parts: readonly string[], method: string): Promise<unknown> {
  const { raw, connection } = dialRaw()
  const answer = ask(connection, { method })
  for (const part of parts) raw.channel.write(Buffer.from(part, 'latin1'))
  raw.channel.end()
  await settle()
  const { head, body, failed } = answer
  connection.close()
  return { head, body: { ...body }, failed }
}
