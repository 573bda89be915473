// How long a destination takes connections as before a waypoint changed.
import assert from 'node:assert/strict'
import type { GatewayAddress } from '../../../model/workload.ts'
import { WAYPOINT_SETTLE_MS, WaypointChanges } from '../../../ztunnel/waypoint-changes.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const toward = (name: string): GatewayAddress => ({ kind: 'hostname', namespace: 'shop', hostname: name, hbonePort: 15008 })

describe('ztunnel/waypoint-changes', () => {
  it('remembers what held before, for a while', async () => {
    const clock = new FakeClock()
    const changes = new WaypointChanges(clock)
    assert.equal(changes.before('a'), undefined)
    changes.note('a', undefined, toward('w'))
    assert.deepEqual(changes.before('a')?.waypoint, undefined)
    assert.ok(changes.before('a') !== undefined)
    assert.equal(changes.before('b'), undefined)
    await clock.advance(WAYPOINT_SETTLE_MS)
    assert.equal(changes.before('a'), undefined)
  })

  it('counts no change that is none', () => {
    const changes = new WaypointChanges(new FakeClock())
    changes.note('a', toward('w'), toward('w'))
    changes.note('b', undefined, undefined)
    assert.deepEqual([changes.before('a'), changes.before('b')], [undefined, undefined])
  })

  it('cannot be kept open by toggling', async () => {
    const clock = new FakeClock()
    const changes = new WaypointChanges(clock)
    changes.note('a', undefined, toward('w'))
    await clock.advance(WAYPOINT_SETTLE_MS - 1)
    changes.note('a', toward('w'), undefined)
    changes.note('a', undefined, toward('w'))
    await clock.advance(1)
    assert.equal(changes.before('a'), undefined)
  })
})
