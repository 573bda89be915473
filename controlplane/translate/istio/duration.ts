// Go's durations (`1.5s`, `1h30m`), as Istio's objects have them.
const UNITS_MS: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1000, ms: 1, us: 1e-3, µs: 1e-3, ns: 1e-6 }

/** Longest that a timer can be set to: 24 days. */
export const MAX_DURATION_MS = 0x7fffffff

/** @returns ms, rounded up to whole ones, at most MAX_DURATION_MS; 0 when `text` is no duration */
export function goDurationMs(text: string): number {
  let sum = 0
  for (const [, count = '0', unit = 'ms'] of text.matchAll(/([0-9.]+)(ms|us|µs|ns|h|m|s)/g)) sum += Number(count) * (UNITS_MS[unit] ?? 0)
  return Math.min(Math.ceil(sum), MAX_DURATION_MS)
}
