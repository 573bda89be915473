// Retries and timeouts of VirtualServices, with Istio's defaults.
import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import { retryOf, timeoutsOf } from '../../../../../controlplane/translate/istio/retry.ts'
import type { IstioRetries } from '../../../../../model/istio-networking.ts'
import type { RetryPolicy } from '../../../../../model/route.ts'
import { noted } from '../../../../support/istio-world.ts'

const DEFAULTS: RetryPolicy = {
  attempts: 2,
  codes: [503],
  conditions: ['connect-failure', 'refused-stream', 'unavailable', 'cancelled'],
  backoffMs: 25,
  perTryMs: undefined,
}

interface Row {
  readonly name: string
  readonly given: IstioRetries | undefined
  readonly want: Partial<RetryPolicy> | undefined
  readonly notes?: readonly RegExp[]
}

const ROWS: readonly Row[] = [
  { name: 'no stanza', given: undefined, want: {} },
  { name: 'none', given: { attempts: 0 }, want: undefined },
  { name: 'without attempts: none', given: { perTryTimeout: '2s' }, want: undefined },
  { name: 'a negative number: none', given: { attempts: -1 }, want: undefined },
  { name: 'attempts', given: { attempts: 3 }, want: { attempts: 3 } },
  { name: 'too many attempts', given: { attempts: 99 }, want: { attempts: 10 }, notes: [/^ignored retries\.attempts: more than 10/] },
  { name: 'time of a try', given: { attempts: 1, perTryTimeout: '1.5s' }, want: { attempts: 1, perTryMs: 1500 } },
  { name: 'a try of no length: no limit', given: { attempts: 1, perTryTimeout: '0s' }, want: { attempts: 1 } },
  { name: 'backoff', given: { attempts: 1, backoff: '100ms' }, want: { attempts: 1, backoffMs: 100 } },
  { name: 'a pause of no length', given: { attempts: 1, backoff: '0ms' }, want: { attempts: 1, backoffMs: 1 } },
  {
    name: 'conditions and codes',
    given: { attempts: 1, retryOn: '5xx, Reset,429,retriable-status-codes' },
    want: { attempts: 1, codes: [429], conditions: ['5xx', 'reset'] },
  },
  { name: 'blank conditions: the usual ones', given: { attempts: 1, retryOn: ' ' }, want: { attempts: 1 } },
  {
    name: 'conditions that are not known',
    given: { attempts: 1, retryOn: 'envoy-ratelimited,503,oops' },
    want: { attempts: 1, codes: [503], conditions: [] },
    notes: [/^ignored retries\.retryOn: "envoy-ratelimited"/, /^ignored retries\.retryOn: "oops"/],
  },
  {
    name: 'a number that is no status',
    given: { attempts: 1, retryOn: '99' },
    want: { attempts: 1, codes: [], conditions: [] },
    notes: [/"99"/],
  },
  {
    name: 'fields without a counterpart',
    given: { attempts: 1, retryRemoteLocalities: true, retryIgnorePreviousHosts: false },
    want: { attempts: 1 },
    notes: [/^ignored retries\.retryRemoteLocalities/, /^ignored retries\.retryIgnorePreviousHosts/],
  },
]

describe('controlplane/translate/istio/retry', () => {
  for (const { name, given, want, notes = [] } of ROWS) {
    it(name, () => {
      const got = noted((own) => retryOf(given === undefined ? {} : { retries: given }, own))
      assert.deepEqual(got.value, want === undefined ? undefined : { ...DEFAULTS, ...want })
      assert.equal(got.notes.length, notes.length, got.notes.join('\n'))
      for (const [i, note] of notes.entries()) assert.match(got.notes[i] ?? '', note)
    })
  }

  for (const { name, given, want } of [
    { name: 'absent', given: undefined, want: undefined },
    { name: '0s = none', given: '0s', want: undefined },
    { name: 'parts', given: '1m1.5s', want: 61_500 },
    { name: 'less than a millisecond', given: '1us', want: 1 },
    { name: 'longer than a timer', given: '10000h', want: 0x7fffffff },
  ]) {
    it(`timeout: ${name}`, () => {
      assert.deepEqual(timeoutsOf(given === undefined ? {} : { timeout: given }), { requestMs: want, backendRequestMs: undefined })
    })
  }
})
