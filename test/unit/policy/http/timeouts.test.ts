// Durations in both forms that objects carry.
import assert from 'node:assert/strict'
import { parseDuration } from '../../../../policy/http/timeouts.ts'

const CASES: readonly {
  readonly name: string
  readonly given: string
  readonly want: readonly [gateway: number | undefined, istio: number | undefined]
}[] = [
  { name: 'seconds', given: '10s', want: [10_000, 10_000] },
  { name: 'milliseconds', given: '500ms', want: [500, 500] },
  { name: 'minutes', given: '2m', want: [120_000, 120_000] },
  { name: 'several', given: '1h30m15s10ms', want: [5_415_010, 5_415_010] },
  { name: 'nothing', given: '0s', want: [0, 0] },
  { name: 'order does not matter', given: '1s1h', want: [3_601_000, 3_601_000] },
  { name: 'too many parts for the Gateway API', given: '1h1m1s1ms1ms', want: [undefined, 3_661_002] },
  { name: 'too many digits for the Gateway API', given: '100000s', want: [undefined, 100_000_000] },
  { name: 'fraction', given: '1.5s', want: [undefined, 1500] },
  { name: 'fraction without a whole', given: '.5s', want: [undefined, 500] },
  { name: 'fraction without digits', given: '1.s', want: [undefined, 1000] },
  { name: 'tenths are exact', given: '0.1s', want: [undefined, 100] },
  { name: 'microseconds count as a whole', given: '1us', want: [undefined, 1] },
  { name: 'microseconds, Greek', given: '2500µs', want: [undefined, 3] },
  { name: 'nanoseconds', given: '1000000ns', want: [undefined, 1] },
  { name: 'zero without a unit', given: '0', want: [undefined, 0] },
  { name: 'longer than a timer', given: '99999h', want: [2_147_483_647, 2_147_483_647] },
  { name: 'empty', given: '', want: [undefined, undefined] },
  { name: 'no unit', given: '10', want: [undefined, undefined] },
  { name: 'no number', given: 's', want: [undefined, undefined] },
  { name: 'only a point', given: '.s', want: [undefined, undefined] },
  { name: 'negative', given: '-1s', want: [undefined, undefined] },
  { name: 'space', given: '1 s', want: [undefined, undefined] },
  { name: 'line end', given: '1s\n', want: [undefined, undefined] },
  { name: 'days', given: '1d', want: [undefined, undefined] },
  { name: 'very long', given: '1s'.repeat(1000), want: [undefined, undefined] },
]

describe('timeouts', () => {
  for (const row of CASES)
    it(row.name, () => assert.deepEqual([parseDuration(row.given, 'gateway'), parseDuration(row.given, 'istio')], row.want))
})
