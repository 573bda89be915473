// Conditions are merged by type: others' stay, times move only with the status.
import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import { mergeConditions } from '../../../../controlplane/status/merge.ts'
import type { Finding } from '../../../../controlplane/translate/gateway/finding.ts'
import type { Condition } from '../../../../model/object.ts'

const OWN = new Set(['Accepted', 'PartiallyInvalid'])
const T0 = '2026-01-01T00:00:00.000Z'
const T1 = '2026-01-02T00:00:00.000Z'
const good: Finding = { type: 'Accepted', status: 'True', reason: 'Accepted', message: 'in force' }
const bad: Finding = { ...good, status: 'False', reason: 'UnsupportedValue' }
const stored: Condition = { ...good, observedGeneration: 1, lastTransitionTime: T0 }
const foreign: Condition = { type: 'Happy', status: 'True', reason: 'x', message: '' }

interface Row {
  readonly name: string
  readonly old: readonly Condition[] | undefined
  readonly findings: readonly Finding[]
  readonly generation?: number
  /** Absent = nothing to write. */
  readonly want?: readonly Condition[]
}

const ROWS: readonly Row[] = [
  { name: 'nothing said yet', old: undefined, findings: [good], want: [{ ...good, observedGeneration: 1, lastTransitionTime: T1 }] },
  { name: 'the same', old: [foreign, stored], findings: [good] },
  { name: 'a new generation keeps the time', old: [stored], findings: [good], generation: 2, want: [{ ...stored, observedGeneration: 2 }] },
  { name: 'a new message keeps the time', old: [stored], findings: [{ ...good, message: 'now' }], want: [{ ...stored, message: 'now' }] },
  {
    name: 'a new status moves the time',
    old: [stored],
    findings: [bad],
    want: [{ ...bad, observedGeneration: 1, lastTransitionTime: T1 }],
  },
  {
    name: 'others stay',
    old: [foreign, stored],
    findings: [bad],
    want: [foreign, { ...bad, observedGeneration: 1, lastTransitionTime: T1 }],
  },
  { name: 'ours that is no longer said goes', old: [stored, { ...stored, type: 'PartiallyInvalid' }], findings: [good], want: [stored] },
  { name: 'what was never ours and is not said', old: [foreign], findings: [] },
  {
    name: 'no list',
    old: 'x' as unknown as Condition[],
    findings: [good],
    want: [{ ...good, observedGeneration: 1, lastTransitionTime: T1 }],
  },
]

describe('controlplane/status/merge', () => {
  for (const { name, old, findings, generation = 1, want } of ROWS) {
    it(name, () => {
      const got = mergeConditions(old, findings, OWN, { generation, now: T1 })
      if (want === undefined) assert.equal(got, old)
      else assert.deepEqual(got, want)
    })
  }
})
