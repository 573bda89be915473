// Random and mutated bytes into every xDS decoder: they answer with a value or with faults, never throw, and what they accept
// keeps its meaning when encoded again.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { describe, it } from 'mocha'
import { DeltaDiscoveryRequestSchema, DeltaDiscoveryResponseSchema } from '../../proto/discovery_pb.ts'
import { decodeMessage, encodeMessage } from '../../proto/wire.ts'
import { KindState } from '../../xds/kind-state.ts'
import { decodeAddress, encodeService, encodeWorkload } from '../../xds/resource/address.ts'
import { decodeAuthorization, encodeAuthorization } from '../../xds/resource/authorization.ts'
import { decodeBackend, encodeBackend } from '../../xds/resource/backend.ts'
import { decodeListener, encodeListener } from '../../xds/resource/listener.ts'
import { decodeNetworks, encodeNetworks } from '../../xds/resource/networks.ts'
import { anyBackend, anyListener } from '../support/route-values.ts'

const TIME_LIMIT_MS = 8_000
const RUN = { numRuns: 100_000, interruptAfterTimeLimit: TIME_LIMIT_MS }

// One message with every field number of the schemas in use, as a seed for mutation.
const seed = fc
  .array(
    fc.record({
      field: fc.integer({ min: 1, max: 28 }),
      type: fc.constantFrom(0, 2, 5, 1, 3, 4),
      value: fc.oneof(
        fc.uint8Array({ maxLength: 24 }),
        fc.string({ maxLength: 12 }).map((text) => new Uint8Array(Buffer.from(text))),
      ),
    }),
    { maxLength: 12 },
  )
  .map((fields) => Buffer.concat(fields.map(({ field, type, value }) => entry(field, type, value))))
const nested = seed.chain((inner) =>
  fc.tuple(fc.integer({ min: 1, max: 6 }), seed).map(([field, more]) => Buffer.concat([entry(field, 2, inner), more])),
)
const deep = nested.chain((inner) => fc.constantFrom(1, 2, 5).map((field) => entry(field, 2, inner)))
const bytes = fc.oneof(fc.uint8Array({ maxLength: 200 }), seed, nested, deep)

// Random bytes are hardly ever a whole listener: real ones with bytes changed, cut out or put in come further.
const damaged = (whole: fc.Arbitrary<Buffer>): fc.Arbitrary<Buffer> =>
  fc.tuple(whole, fc.array(fc.tuple(fc.nat(), fc.nat(3), fc.nat(255)), { maxLength: 6 })).map(([start, edits]) =>
    edits.reduce((now, [place, cut, byte]) => {
      const at = place % (now.length + 1)
      return Buffer.concat([now.subarray(0, at), Buffer.from(cut === 3 ? [] : [byte]), now.subarray(at + cut)])
    }, start),
  )

function entry(field: number, type: number, value: Uint8Array): Buffer {
  const tag = (field << 3) | type
  const head = tag < 128 ? [tag] : [(tag & 127) | 128, tag >> 7]
  return Buffer.concat([Buffer.from(head), type === 2 ? Buffer.from([value.length & 127]) : Buffer.alloc(0), value])
}

describe('fuzz: xds decoders', function () {
  this.timeout(10 * TIME_LIMIT_MS)

  it('decodeAddress', () => {
    fc.assert(
      fc.property(bytes, (input) => {
        const first = decodeAddress(input)
        if (!first.ok) return assert.ok(first.errors.length > 0 && first.errors.length <= 16)
        const { value } = first
        const again = decodeAddress(value.kind === 'workload' ? encodeWorkload(value.workload) : encodeService(value.service))
        assert.deepEqual(again, first)
      }),
      RUN,
    )
  })

  it('decodeAuthorization', () => {
    fc.assert(
      fc.property(bytes, (input) => {
        const first = decodeAuthorization(input)
        if (first.ok) assert.deepEqual(decodeAuthorization(encodeAuthorization(first.value)), first)
      }),
      RUN,
    )
  })

  it('decodeNetworks', () => {
    fc.assert(
      fc.property(bytes, (input) => {
        const first = decodeNetworks(input)
        if (first.ok) assert.deepEqual(decodeNetworks(encodeNetworks(first.value)), first)
      }),
      RUN,
    )
  })

  it('decodeListener', () => {
    fc.assert(
      fc.property(fc.oneof(bytes, damaged(anyListener.map(encodeListener))), (input) => {
        const first = decodeListener(input)
        if (!first.ok) return assert.ok(first.errors.length > 0 && first.errors.length <= 16)
        assert.deepEqual(decodeListener(encodeListener(first.value)), first)
      }),
      RUN,
    )
  })

  it('decodeBackend', () => {
    fc.assert(
      fc.property(fc.oneof(bytes, damaged(anyBackend.map(encodeBackend))), (input) => {
        const first = decodeBackend(input)
        if (!first.ok) return assert.ok(first.errors.length > 0 && first.errors.length <= 16)
        assert.deepEqual(decodeBackend(encodeBackend(first.value)), first)
      }),
      RUN,
    )
  })

  it('requests and responses', () => {
    fc.assert(
      fc.property(bytes, (input) => {
        const request = decodeMessage(DeltaDiscoveryRequestSchema, input)
        if (request.ok) encodeMessage(DeltaDiscoveryRequestSchema, request.value)
        const response = decodeMessage(DeltaDiscoveryResponseSchema, input)
        if (!response.ok) return
        const { push, versions } = new KindState({ typeUrl: 'x', mode: 'wildcard' }).read(response.value)
        assert.equal(push.upserts.length >= versions.size, true)
      }),
      RUN,
    )
  })
})
