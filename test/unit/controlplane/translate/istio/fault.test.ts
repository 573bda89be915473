// Faults of VirtualServices: what is injected, and what is left out and named.
import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import { faultOf } from '../../../../../controlplane/translate/istio/fault.ts'
import type { IstioFault } from '../../../../../model/istio-networking.ts'
import type { FaultPolicy } from '../../../../../model/route.ts'
import { noted } from '../../../../support/istio-world.ts'

interface Row {
  readonly name: string
  readonly given: IstioFault
  readonly want: Partial<FaultPolicy> | undefined
  readonly notes?: readonly RegExp[]
}

const ALL = { percentage: { value: 100 } }

const ROWS: readonly Row[] = [
  { name: 'delay', given: { delay: { fixedDelay: '5s', ...ALL } }, want: { delay: { fixedMs: 5000, percent: 100 } } },
  { name: 'delay of an old object', given: { delay: { fixedDelay: '5s', percent: 10 } }, want: { delay: { fixedMs: 5000, percent: 10 } } },
  {
    name: 'a fraction of a percent',
    given: { abort: { httpStatus: 500, percentage: { value: 0.01 } } },
    want: { abort: { status: 500, grpcStatus: undefined, percent: 0.01 } },
  },
  {
    name: 'without a share nobody is hit',
    given: { delay: { fixedDelay: '1s' } },
    want: { delay: { fixedMs: 1000, percent: 0 } },
    notes: [/^ignored fault\.delay\.percentage: is absent/],
  },
  { name: 'a delay of no length', given: { delay: ALL }, want: undefined, notes: [/^ignored fault\.delay: needs a fixedDelay/] },
  {
    name: 'a random delay',
    given: { delay: { exponentialDelay: '1s', ...ALL } },
    want: undefined,
    notes: [/exponentialDelay/, /needs a fixedDelay/],
  },
  {
    name: 'gRPC status by name',
    given: { abort: { grpcStatus: 'UNAVAILABLE', ...ALL } },
    want: { abort: { status: 200, grpcStatus: 14, percent: 100 } },
  },
  {
    name: 'gRPC status by number',
    given: { abort: { grpcStatus: '8', ...ALL } },
    want: { abort: { status: 200, grpcStatus: 8, percent: 100 } },
  },
  {
    name: 'a gRPC status that is none',
    given: { abort: { grpcStatus: 'OOPS', ...ALL } },
    want: undefined,
    notes: [/"OOPS" is not a gRPC status/],
  },
  {
    name: 'a gRPC number that is none',
    given: { abort: { grpcStatus: '17', ...ALL } },
    want: undefined,
    notes: [/"17" is not a gRPC status/],
  },
  { name: 'an HTTP status that is none', given: { abort: { httpStatus: 199, ...ALL } }, want: undefined, notes: [/199 is not between/] },
  { name: 'two statuses', given: { abort: { httpStatus: 500, grpcStatus: '1', ...ALL } }, want: undefined, notes: [/needs one of/] },
  { name: 'no status', given: { abort: ALL }, want: undefined, notes: [/needs one of/] },
  { name: 'http2Error', given: { abort: { http2Error: 'X', ...ALL } }, want: undefined, notes: [/http2Error is not supported/] },
  {
    name: 'a bad abort leaves the delay',
    given: { delay: { fixedDelay: '1ms', ...ALL }, abort: ALL },
    want: { delay: { fixedMs: 1, percent: 100 } },
    notes: [/^ignored fault\.abort/],
  },
]

describe('controlplane/translate/istio/fault', () => {
  for (const { name, given, want, notes = [] } of ROWS) {
    it(name, () => {
      const got = noted((own) => faultOf(given, own))
      assert.deepEqual(got.value, want === undefined ? undefined : { delay: undefined, abort: undefined, ...want })
      assert.equal(got.notes.length, notes.length, got.notes.join('\n'))
      for (const [i, note] of notes.entries()) assert.match(got.notes[i] ?? '', note)
    })
  }
})
