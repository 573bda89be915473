// Listings of tables in pods' namespaces, where a pod with CAP_NET_ADMIN writes what it likes: no listing throws, none is intact
// that says anything else than what was sealed, and no element is believed that is not text.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { portsIn } from '../../cni/redirect/listeners.ts'
import { judgeListing, SEEN, sealOf, WANT } from '../../cni/redirect/listing.ts'
import { readGeneration } from '../../linux/nft-generation.ts'
import { fuzzOptions } from '../support/fuzz.ts'

type Json = Record<string, unknown>

const chainOf = (name: string): Json => ({ chain: { family: 'inet', table: 'weft-pod', name, handle: 3 } })
const json = fc.jsonValue({ maxDepth: 2 })
const rule = fc.record({
  rule: fc.record({ chain: fc.constantFrom('inbound', 'outbound'), handle: fc.nat(99), expr: fc.array(json, { maxLength: 3 }) }),
})
const set = fc.record({
  set: fc.record({
    name: fc.constant('probed4'),
    elem: fc.array(fc.oneof(json, fc.constant({ elem: { val: '10.0.0.1', comment: '7' } }))),
  }),
})
const objects = fc.array(fc.oneof(rule, set, fc.constantFrom(chainOf('inbound'), chainOf(`${WANT}in-out-0`))), { maxLength: 6 })
const textOf = (list: readonly unknown[]): string => JSON.stringify({ nftables: [{ metainfo: { version: '1' } }, ...list] })
/** What an agent would have written and sealed. */
const sealed = (list: readonly unknown[]): unknown[] => [...list, chainOf(`${SEEN}${sealOf(textOf(list))}`)]
const withoutHandles = (list: readonly unknown[]): string =>
  JSON.stringify(list, (key, value: unknown) => (key === 'handle' ? undefined : value))

describe('fuzz: nft', function () {
  this.timeout(120_000)

  it('text that is no listing', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.json(),
          json.map((value) => JSON.stringify({ nftables: value })),
        ),
        (text) => {
          const { isIntact, elements } = judgeListing(text)
          assert.equal(isIntact, false)
          for (const { value, comment } of elements) assert.ok(typeof value === 'string' && typeof comment === 'string')
        },
      ),
      fuzzOptions(),
    )
  })

  it('changed listings', () => {
    fc.assert(
      fc.property(objects, objects, fc.nat(9), fc.boolean(), (list, more, at, keepsSeal) => {
        assert.equal(judgeListing(textOf(sealed(list))).isIntact, true)
        const whole = sealed(list)
        const changed = [...whole.slice(0, at), ...more, ...whole.slice(at + (keepsSeal ? 0 : 1))]
        if (!judgeListing(textOf(changed)).isIntact) return
        const isSeal = (each: unknown): boolean => JSON.stringify(each).includes(`"${SEEN}`)
        assert.equal(withoutHandles(changed.filter((each) => !isSeal(each))), withoutHandles(list))
      }),
      fuzzOptions(),
    )
  })

  it('tables of sockets, and answers of the kernel', () => {
    fc.assert(
      fc.property(fc.string(), fc.uint8Array({ maxLength: 64 }), (text, bytes) => {
        for (const port of portsIn(`\n${text}`, '0A')) assert.ok(port >= 0 && port < 65_536)
        readGeneration(Buffer.from(bytes))
      }),
      fuzzOptions(),
    )
  })
})
