// The one way to skip a test: with a reason, which the run's last lines repeat. In CI only `ZTUNNEL …` may be a reason.
import type { Context } from 'mocha'

/**
 * Ends the running test as skipped; does not return.
 * @param context `this` of an `it(…, function () {…})` or a `before` hook
 * @param reason what is missing and the proof that it is (`ZTUNNEL is not set`, `Linux 5.10: netkit needs 6.7`)
 */
export function skipTest(context: Context, reason: string): never {
  const test = context.currentTest ?? context.test
  if (test !== undefined) Object.assign(test, { skipReason: reason })
  for (const each of context.test?.parent?.tests ?? []) Object.assign(each, { skipReason: reason }) // a hook skips its whole suite
  return context.skip()
}
