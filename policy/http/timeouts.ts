// Durations as users write them, in milliseconds.
// Gateway API: GEP-2257. Istio: what its API server takes, Go's time.ParseDuration (github.com/golang/go:src/time/format.go).

/** Longest that a timer can wait; longer is taken as this. */
const MAX_MS = 2 ** 31 - 1

const GATEWAY_FORM = /^(?:[0-9]{1,5}(?:h|ms|m|s)){1,4}$/
const ISTIO_FORM = /^\+?(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:ns|us|µs|μs|ms|h|m|s))+$/
const PART = /([0-9.]+)(ns|us|µs|μs|ms|h|m|s)/g
const UNIT_MS: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1000, ms: 1, us: 1e-3, µs: 1e-3, μs: 1e-3, ns: 1e-6 }
const MAX_CHARACTERS = 64

/**
 * @param form `gateway`: up to four whole numbers with h, m, s, ms; `istio`: also fractions, `us`, `ns` and a bare `0`
 * @returns ms ≥ 0, whole (a fraction counts as one more), at most 2³¹−1; undefined when the text has not that form
 */
export function parseDuration(text: string, form: 'gateway' | 'istio' = 'istio'): number | undefined {
  if (text.length > MAX_CHARACTERS) return undefined
  if (form === 'istio' && text === '0') return 0
  if (!(form === 'gateway' ? GATEWAY_FORM : ISTIO_FORM).test(text)) return undefined
  let ms = 0
  for (const [, count, unit] of text.matchAll(PART)) ms += Number(count) * (UNIT_MS[unit ?? ''] ?? Number.NaN)
  // Sums of fractions carry an error of the order 1e-10, which must not become a millisecond.
  return Math.min(MAX_MS, Math.ceil(Number(ms.toFixed(6))))
}
