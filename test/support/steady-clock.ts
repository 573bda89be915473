// A clock for tests on machines that stand still now and then (virtual ones do, for a minute at a time): time that jumps counts little,
// so that a deadline measures what the programs had.
import { type Clock, systemClock } from '../../kit/clock.ts'

const LONGEST_STEP_MS = 3000

/** The system's clock, but `monotonicMs` goes on by at most 3 s from one look to the next; look often. */
export function steadyClock(): Clock {
  let seenMs = systemClock.monotonicMs()
  let steadyMs = 0
  const monotonicMs = (): number => {
    const nowMs = systemClock.monotonicMs()
    steadyMs += Math.min(nowMs - seenMs, LONGEST_STEP_MS)
    seenMs = nowMs
    return steadyMs
  }
  return { ...systemClock, monotonicMs }
}
