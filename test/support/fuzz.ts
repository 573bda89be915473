// How long each property is fuzzed: FUZZ_SECONDS (default 10), with a seed that is printed so that a failure can be repeated.
import type { Parameters } from 'fast-check'

const DEFAULT_SECONDS = 10

/**
 * fast-check's parameters for one property. FUZZ_SEED=N repeats a run; a failure prints the seed and the counterexample.
 * Inputs that once failed belong into `examples` of the property: they are its kept corpus.
 */
export function fuzzOptions<T>(examples: T[] = []): Parameters<T> {
  const seconds = Number(process.env.FUZZ_SECONDS ?? DEFAULT_SECONDS)
  if (!Number.isFinite(seconds) || seconds <= 0) throw new RangeError(`FUZZ_SECONDS: ${process.env.FUZZ_SECONDS} is not a number > 0`)
  const seed = process.env.FUZZ_SEED === undefined ? {} : { seed: Number(process.env.FUZZ_SEED) }
  return { ...seed, examples, numRuns: Number.MAX_SAFE_INTEGER, interruptAfterTimeLimit: seconds * 1000, markInterruptAsFailure: false }
}
