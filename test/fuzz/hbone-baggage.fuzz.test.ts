// Hostile `baggage` and `forwarded` headers: never a throw, only clean values come out, what we write is read back.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { formatBaggage, parseBaggage } from '../../hbone/baggage.ts'
import { formatForwarded, parseForwarded } from '../../hbone/forwarded.ts'
import type { Endpoint, IpAddress } from '../../model/address.ts'

const LIMIT_MS = 10_000
const pieces = fc.constantFrom(
  'k8s.pod.name=',
  'service.name',
  '=',
  ',',
  ';',
  '"',
  ' ',
  'for=',
  'host=',
  '[::1]',
  '10.0.0.1:80',
  '__proto__=x',
  'constructor=y',
  '\\',
)
const hostile = fc.array(fc.oneof(pieces, fc.string({ unit: 'binary', maxLength: 8 })), { maxLength: 20 }).map((parts) => parts.join(''))
const name = fc.stringMatching(/^[a-z0-9.-]{1,40}$/)

describe('fuzz: hbone/baggage and hbone/forwarded', function () {
  this.timeout(LIMIT_MS * 4)

  it('gives clean values only', () => {
    fc.assert(
      fc.property(hostile, (text) => {
        for (const value of Object.values(parseBaggage(text))) assert.match(value, /^[\x21-\x7e]{1,253}$/)
        const forwarded = parseForwarded(text)
        if (forwarded?.host !== undefined) assert.match(forwarded.host, /^[A-Za-z0-9._-]+$/)
      }),
      { interruptAfterTimeLimit: LIMIT_MS, numRuns: 50_000 },
    )
  })

  it('reads back what it writes', () => {
    const fields = fc.record(
      { cluster: name, namespace: name, workload: name, service: name, revision: name, region: name, zone: name },
      { requiredKeys: ['workload'] },
    )
    fc.assert(
      fc.property(fields, (given) => {
        assert.deepEqual({ ...parseBaggage(formatBaggage(given)) }, { ...given, workloadType: 'pod' })
      }),
      { interruptAfterTimeLimit: LIMIT_MS, numRuns: 5_000 },
    )
    const endpoint = fc.record({
      ip: fc.ipV4() as fc.Arbitrary<IpAddress>,
      port: fc.integer({ min: 0, max: 65535 }),
    }) as fc.Arbitrary<Endpoint>
    fc.assert(
      fc.property(endpoint, name, (client, host) => {
        assert.deepEqual(parseForwarded(formatForwarded({ for: client, host })), { for: { ...client }, host })
      }),
      { interruptAfterTimeLimit: LIMIT_MS, numRuns: 5_000 },
    )
  })
})
