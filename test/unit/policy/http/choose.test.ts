// Chance made countable: `random` gives the middle of each n-th part of [0, 1) once, so every share comes out as an exact count.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import type { FaultPolicy, Mirror, RouteFilter, RouteRule, WeightedBackend } from '../../../../model/route.ts'
import { chooseBackend, chooseFault, chooseMirrors } from '../../../../policy/http/choose.ts'
import { PLAIN_RULE } from '../../../support/route-values.ts'

const ref = (subset: string) => ({ service: 'shop/a', port: 80, subset })
const weighted = (weights: readonly number[]): RouteRule => ({
  ...PLAIN_RULE,
  backends: weights.map(
    (weight, index): WeightedBackend =>
      index % 2 === 0
        ? { kind: 'service', weight, filters: [], ref: ref(String(index)) }
        : { kind: 'invalid', weight, filters: [], reason: String(index) },
  ),
})
const never = (): number => assert.fail('nothing to choose, but random was asked')

/** How often each backend is chosen when random gives the middle of each n-th part once; the last number counts "none". */
function countBackends(rule: RouteRule, n: number): number[] {
  const counts = new Array<number>(rule.backends.length + 1).fill(0)
  for (let k = 0; k < n; k++) {
    const chosen = chooseBackend(rule, () => (k + 0.5) / n)
    const index = chosen === undefined ? rule.backends.length : rule.backends.indexOf(chosen)
    counts[index] = (counts[index] ?? 0) + 1
  }
  return counts
}

const WEIGHTS: readonly { readonly name: string; readonly given: readonly [weights: number[], n: number]; readonly want: number[] }[] = [
  { name: 'no backends', given: [[], 10], want: [10] },
  { name: 'one backend', given: [[1], 10], want: [10, 0] },
  { name: 'one backend without weight', given: [[0], 10], want: [0, 10] },
  { name: 'equal shares', given: [[1, 1], 10], want: [5, 5, 0] },
  { name: 'canary', given: [[90, 10], 100], want: [90, 10, 0] },
  { name: 'an invalid backend keeps its share', given: [[3, 7], 1000], want: [300, 700, 0] },
  { name: 'zero weight gets none', given: [[1, 0, 1], 10], want: [5, 0, 5, 0] },
  { name: 'zero weight at the ends', given: [[0, 1, 2, 0], 9], want: [0, 3, 6, 0, 0] },
  { name: 'no backend has weight', given: [[0, 0], 10], want: [0, 0, 10] },
  { name: 'one part of a million', given: [[999_999, 1], 1_000_000], want: [999_999, 1, 0] },
  { name: 'largest weights of the API', given: [[1_000_000, 1_000_000], 10], want: [5, 5, 0] },
]

const mirror = (name: string, numerator: number, denominator = 100): RouteFilter => ({
  kind: 'mirror',
  mirror: { backend: ref(name), numerator, denominator },
})
const OTHER: RouteFilter = { kind: 'rewrite', hostname: 'x', path: undefined }
const MIRRORS: readonly { readonly name: string; readonly given: readonly RouteFilter[]; readonly want: number[] }[] = [
  { name: 'no mirror', given: [OTHER], want: [] },
  { name: 'all', given: [mirror('0', 100), OTHER], want: [1000] },
  { name: 'none of them', given: [mirror('0', 0)], want: [0] },
  { name: 'half', given: [OTHER, mirror('0', 50)], want: [500] },
  { name: 'a fraction', given: [mirror('0', 1, 1000)], want: [1] },
  { name: 'more than all', given: [mirror('0', 3, 2)], want: [1000] },
  { name: 'a denominator of nothing', given: [mirror('0', 1, 0)], want: [0] },
  { name: 'several', given: [mirror('0', 10), mirror('1', 100), mirror('2', 25)], want: [100, 1000, 250] },
]

const delay = (percent: number): FaultPolicy => ({ delay: { fixedMs: 70, percent }, abort: undefined })
const abort = (percent: number): FaultPolicy => ({ delay: undefined, abort: { status: 503, grpcStatus: undefined, percent } })
const FAULTS: readonly { readonly name: string; readonly given: FaultPolicy; readonly want: readonly [delays: number, aborts: number] }[] =
  [
    { name: 'no fault', given: { delay: undefined, abort: undefined }, want: [0, 0] },
    { name: 'delay for all', given: delay(100), want: [10_000, 0] },
    { name: 'delay for none', given: delay(0), want: [0, 0] },
    { name: 'delay for a tenth of a percent', given: delay(0.1), want: [10, 0] },
    { name: 'delay for a hundredth of a percent', given: delay(0.01), want: [1, 0] },
    { name: 'abort for all', given: abort(100), want: [0, 10_000] },
    { name: 'abort for a third', given: abort(33.33), want: [0, 3333] },
    { name: 'abort for a twentieth of a percent', given: abort(0.05), want: [0, 5] },
    { name: 'both', given: { ...delay(50), abort: abort(12.5).abort }, want: [5000, 1250] },
    { name: 'not a number', given: abort(Number.NaN), want: [0, 0] },
  ]

describe('choose', () => {
  for (const row of WEIGHTS)
    it(`backend: ${row.name}`, () => assert.deepEqual(countBackends(weighted(row.given[0]), row.given[1]), row.want))

  for (const row of MIRRORS) {
    it(`mirrors: ${row.name}`, () => {
      const counts = row.want.map(() => 0)
      for (let k = 0; k < 1000; k++)
        for (const { backend } of chooseMirrors(row.given, () => (k + 0.5) / 1000))
          counts[Number(backend.subset)] = (counts[Number(backend.subset)] ?? 0) + 1
      assert.deepEqual(counts, row.want)
    })
  }

  for (const row of FAULTS) {
    it(`fault: ${row.name}`, () => {
      let [delays, aborts] = [0, 0]
      for (let k = 0; k < 10_000; k++) {
        const chosen = chooseFault(row.given, () => (k + 0.5) / 10_000)
        if (chosen.delayMs === 70) delays++
        if (chosen.abort?.status === 503) aborts++
      }
      assert.deepEqual([delays, aborts], row.want)
    })
  }

  it('draws delay and abort, and each mirror, for itself', () => {
    const draws = [0.4, 0.6]
    assert.deepEqual(
      chooseFault({ ...delay(50), abort: { status: 400, grpcStatus: 14, percent: 50 } }, () => draws.shift() ?? never()),
      { delayMs: 70, abort: undefined },
    )
    const more = [0.6, 0.4]
    const names = chooseMirrors([mirror('0', 50), mirror('1', 50)], () => more.shift() ?? never()).map((one: Mirror) => one.backend.subset)
    assert.deepEqual(names, ['1'])
  })

  it('names the gRPC status of an abort', () => {
    assert.deepEqual(chooseFault({ delay: undefined, abort: { status: 503, grpcStatus: 14, percent: 100 } }, never), {
      delayMs: 0,
      abort: { status: 503, grpcStatus: 14 },
    })
  })

  it('leaves nothing to chance where there is no choice', () => {
    chooseBackend(weighted([5]), never)
    chooseBackend(weighted([0, 7, 0]), never)
    chooseBackend(weighted([0, 0]), never)
    chooseMirrors([mirror('0', 100), mirror('1', 0)], never)
    chooseFault({ ...delay(100), abort: abort(0).abort }, never)
  })

  it('gives every backend exactly its weight', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(30), { minLength: 1, maxLength: 6 }), (weights) => {
        const total = weights.reduce((sum, weight) => sum + weight, 0)
        if (total === 0) return
        assert.deepEqual(countBackends(weighted(weights), total), [...weights, 0])
      }),
    )
  })
})
