// Hostile byte streams against the frame decoder: it never throws, keeps its bounds, and cutting the stream elsewhere
// changes nothing.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { checkHeader, encodeFrame, FrameDecoder } from '../../hbone/frame.ts'

const LIMIT_MS = 10_000

/** What the decoder reports, DATA bytes joined. */
function decode(bytes: Buffer, cuts: readonly number[]): string[] {
  const seen: string[] = []
  let data = ''
  const decoder = new FrameDecoder(
    {
      onDataStart: (id, length, flags) => {
        seen.push(`start ${id} ${length} ${flags}`)
        data = ''
        return true
      },
      onDataBytes: (part) => {
        data += part.toString('hex')
      },
      onDataEnd: (id, flags) => seen.push(`end ${id} ${flags} ${data}`),
      onFrame: (type, flags, id, payload) => seen.push(`frame ${type} ${flags} ${id} ${payload.toString('hex')}`),
      onFault: (code, reason) => seen.push(`fault ${code} ${reason}`),
    },
    16384,
  )
  const ends = [...new Set([...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length])].sort((a, b) => a - b)
  let at = 0
  for (const end of ends) {
    decoder.push(bytes.subarray(at, end))
    at = end
  }
  return seen
}

const frame = fc
  .record({
    type: fc.integer({ min: 0, max: 12 }),
    flags: fc.integer({ min: 0, max: 255 }),
    id: fc.constantFrom(0, 1, 2, 0x7fffffff),
    payload: fc.uint8Array({ maxLength: 40 }),
  })
  .map(({ type, flags, id, payload }) => encodeFrame(type, flags, id, payload))
const stream = fc.oneof(
  fc.array(frame, { maxLength: 12 }).map((frames) => Buffer.concat(frames)),
  fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
)

describe('fuzz: hbone/frame', function () {
  this.timeout(LIMIT_MS * 3)

  it('reports the same however the stream is cut, and nothing after a fault', () => {
    fc.assert(
      fc.property(stream, fc.array(fc.nat(), { maxLength: 20 }), (bytes, cuts) => {
        const whole = decode(bytes, [])
        assert.deepEqual(decode(bytes, cuts), whole)
        assert.deepEqual(decode(bytes, Array.from(bytes.keys())), whole)
        const fault = whole.findIndex((line) => line.startsWith('fault'))
        assert.ok(fault === -1 || fault === whole.length - 1)
      }),
      { interruptAfterTimeLimit: LIMIT_MS, numRuns: 20_000 },
    )
  })

  it('passes no frame whose header is faulty', () => {
    fc.assert(
      fc.property(frame, (bytes) => {
        const fault = checkHeader(bytes.readUInt8(3), bytes.readUInt8(4), bytes.readUInt32BE(5) & 0x7fffffff, bytes.readUIntBE(0, 3))
        assert.equal(decode(bytes, [])[0]?.startsWith('fault') ?? false, fault !== undefined)
      }),
      { interruptAfterTimeLimit: LIMIT_MS, numRuns: 20_000 },
    )
  })
})
