// What the API would have refused is not in force as a whole, and that is said.
import { BACKEND, checkRows, type RouteRow } from '../../../../support/route-rows.ts'

const ROWS: readonly RouteRow[] = [
  {
    name: 'a weight below 0',
    rules: [{ backendRefs: [{ ...BACKEND, weight: -1 }] }],
    want: (all) => all.length,
    is: 0,
    says: [/^Accepted False UnsupportedValue: nothing is in force: spec\.rules\[0\]\.backendRefs\[0\]\.weight/, /^ResolvedRefs True/],
  },
  {
    name: 'a weight over 1,000,000',
    rules: [{ backendRefs: [{ ...BACKEND, weight: 1_000_001 }] }],
    want: (all) => all.length,
    is: 0,
    says: [/^Accepted False/, /^ResolvedRefs/],
  },
  {
    name: '17 rules',
    rules: Array.from({ length: 17 }, () => ({})),
    want: (all) => all.length,
    is: 0,
    says: [/^Accepted False/, /^ResolvedRefs/],
  },
  {
    name: '129 matches',
    rules: [64, 64, 1].map((length) => ({ matches: Array.from({ length }, () => ({})) })),
    want: (all) => all.length,
    is: 0,
    says: [/at most 128 matches/, /^ResolvedRefs/],
  },
  {
    name: '128 matches',
    rules: [64, 64].map((length) => ({ matches: Array.from({ length }, (_, i) => ({ path: { value: `/${i}` } })) })),
    want: (all) => all.length,
    is: 128,
  },
  {
    name: 'a duration that is none',
    rules: [{ timeouts: { request: 'soon' } }],
    want: (all) => all.length,
    is: 0,
    says: [/^Accepted False/, /^ResolvedRefs/],
  },
]

checkRows('controlplane/translate/gateway/route', ROWS)
