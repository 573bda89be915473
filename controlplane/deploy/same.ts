// Whether an object of the API is still what was asked for. The API fills in defaults and writes quantities its own way, admission
// plugins add containers and variables: none of that is a difference. Comparing more strictly would replace for ever.

/** Fields that tell elements of a list apart, as server-side apply has them. */
const KEYS = ['name', 'mountPath', 'uid', 'topologyKey'] as const
const QUANTITY = /^(\d+(?:\.\d+)?)(m|k|M|G|T|Ki|Mi|Gi|Ti)?$/
const UNITS: Readonly<Record<string, number>> = {
  m: 1e-3,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
}

/** Whether everything that is wanted is there; what others added does not count. An empty object or list is wanted by nobody. */
export function contains(have: unknown, want: unknown): boolean {
  if (want === undefined || isEmpty(want)) return true
  if (Array.isArray(want)) return Array.isArray(have) && containsAll(have, want)
  if (typeof want !== 'object' || want === null) return have === want || isSameQuantity(have, want)
  if (typeof have !== 'object' || have === null) return false
  return Object.entries(want).every(([key, value]) => contains((have as Readonly<Record<string, unknown>>)[key], value))
}

/** Elements with a name are looked for by it; others stand where they were put, and no others are among them. */
function containsAll(have: readonly unknown[], want: readonly unknown[]): boolean {
  const key = KEYS.find((name) => want.every((one) => fieldOf(one, name) !== undefined))
  if (key === undefined) return have.length === want.length && want.every((one, index) => contains(have[index], one))
  return want.every((one) => {
    const found = have.find((other) => fieldOf(other, key) === fieldOf(one, key))
    return found !== undefined && contains(found, one)
  })
}

function fieldOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>)[name] : undefined
}

function isEmpty(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0
}

/** `1000m` is `1`: the API answers the shortest form. */
function isSameQuantity(have: unknown, want: unknown): boolean {
  const [one, other] = [amountOf(have), amountOf(want)]
  return one !== undefined && one === other
}

function amountOf(value: unknown): number | undefined {
  const text = typeof value === 'number' ? String(value) : value
  const match = typeof text === 'string' ? QUANTITY.exec(text) : null
  if (match === null) return undefined
  return Number(match[1]) * (UNITS[match[2] ?? ''] ?? 1)
}
