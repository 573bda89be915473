// What the meter of a connection takes for abuse, and what it must not.
import assert from 'node:assert/strict'
import { AbuseMeter } from '../../../hbone/abuse.ts'
import { IDLE_FRAME_BURST, MOST_OWED_UPDATES } from '../../../hbone/limits.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const KIB = 1024

/** How many of `frames` come until the meter says: close it. */
function passed(frames: number, frame: () => boolean): number {
  for (let n = 0; n < frames; n++) if (frame()) return n
  return frames
}

describe('hbone/abuse', () => {
  it('takes credit in steps of 4 KiB on stream and connection, all at once after 100 streams were sent 200 KB each', () => {
    const meter = new AbuseMeter(new FakeClock())
    for (let stream = 0; stream < 100; stream++) for (let frame = 0; frame < 3; frame++) meter.sent(64 * KIB)
    const updates = (100 * 2 * 3 * 64) / 4
    assert.equal(
      passed(updates, () => meter.windowUpdate()),
      updates,
    )
  })

  it('takes two updates for each frame of a byte', () => {
    const meter = new AbuseMeter(new FakeClock())
    for (let n = 0; n < 10_000; n++) meter.sent(1)
    assert.equal(
      passed(20_000, () => meter.windowUpdate()),
      20_000,
    )
  })

  it('does not take updates that nothing was sent for, or more than are ever owed', () => {
    const meter = new AbuseMeter(new FakeClock())
    assert.equal(
      passed(10_000, () => meter.windowUpdate()),
      IDLE_FRAME_BURST,
    )
    const busy = new AbuseMeter(new FakeClock())
    for (let n = 0; n < 10_000; n++) busy.sent(64 * KIB)
    assert.equal(
      passed(1_000_000, () => busy.windowUpdate()),
      MOST_OWED_UPDATES + IDLE_FRAME_BURST,
    )
    assert.equal(
      passed(10, () => busy.idleFrame()),
      0,
    )
  })
})
