// The status of a ServiceEntry: what is written, what is left, what is taken back.
import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import { entryStatus } from '../../../../controlplane/status/entry-status.ts'
import type { Finding } from '../../../../controlplane/translate/gateway/finding.ts'
import type { EntryAddress, ServiceEntry } from '../../../../model/service-entry.ts'

const NOW = '2026-01-01T00:00:00.000Z'
const OWN = new Set(['weft.dev/Accepted', 'istio.io/WaypointBound'])
const accepted: Finding = { type: 'weft.dev/Accepted', status: 'True', reason: 'Accepted', message: 'in force' }
const bound: Finding = { type: 'istio.io/WaypointBound', status: 'True', reason: 'WaypointAccepted', message: 'attached' }
const GIVEN: EntryAddress[] = [{ value: '240.240.0.1', host: 'a.example' }]
const of = (status: unknown): ServiceEntry =>
  ({
    apiVersion: 'v1',
    kind: 'ServiceEntry',
    metadata: { name: 'e', generation: 3 },
    spec: { hosts: ['a.example'] },
    status,
  }) as ServiceEntry
const write = (status: unknown, findings = [accepted], given = GIVEN) => entryStatus(of(status), findings, OWN, given, NOW)

describe('controlplane/status/entry-status', () => {
  it('says what is in force and which addresses were given', () => {
    const made = write(undefined)
    assert.deepEqual(made?.addresses, GIVEN)
    assert.deepEqual(made?.conditions, [{ ...accepted, observedGeneration: 3, lastTransitionTime: NOW }])
    assert.equal(write(made), undefined)
  })

  it('takes back its waypoint’s condition, keeps those of others', () => {
    const foreign = { type: 'Other', status: 'True', reason: 'X', message: '', lastTransitionTime: NOW } as const
    const before = write({ conditions: [foreign] }, [accepted, bound])
    assert.deepEqual(
      before?.conditions?.map(({ type }) => type),
      ['Other', ...OWN],
    )
    assert.deepEqual(
      write(before)?.conditions?.map(({ type }) => type),
      ['Other', 'weft.dev/Accepted'],
    )
  })

  it('takes back addresses of hosts that are gone or want none', () => {
    const addresses = [...GIVEN, { value: '240.240.0.2', host: 'b.example' }, { value: '192.0.2.1', host: 'a.example' }]
    assert.deepEqual(write({ addresses })?.addresses, GIVEN)
    assert.deepEqual(write({ addresses: addresses.slice(0, 2) }, [accepted], [])?.addresses, [])
    assert.equal(write(undefined, [accepted], [])?.addresses, undefined)
  })

  it('reads any status', () => {
    for (const status of [null, 7, { conditions: 7, addresses: 'x' }, { addresses: [null, {}, { host: 'a.example', value: 7 }] }])
      assert.deepEqual(write(status)?.addresses, GIVEN)
  })
})
