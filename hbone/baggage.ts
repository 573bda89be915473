// The `baggage` header as Istio's proxies write it: who the client is, for metrics only. It is hostile text: parsing
// never throws, and nothing is decided by it.

/** Names for metrics and logs; every value is at most 253 characters of printable ASCII. */
export interface BaggageFields {
  readonly cluster?: string
  readonly namespace?: string
  readonly workload?: string
  /** Absent = pod. */
  readonly workloadType?: WorkloadType
  /** Canonical name. */
  readonly service?: string
  /** Canonical revision. */
  readonly revision?: string
  readonly region?: string
  readonly zone?: string
}

/** Which `k8s.*.name` key carries the workload. */
export type WorkloadType = 'deployment' | 'cronjob' | 'pod' | 'job'

const TYPES: readonly WorkloadType[] = ['deployment', 'cronjob', 'pod', 'job']
const MAX_BAGGAGE_CHARACTERS = 8192
const MAX_VALUE_CHARACTERS = 253
const VALUE = /^[\x21-\x2b\x2d-\x3a\x3c-\x7e]*$/ // printable, neither blank nor comma nor semicolon
const KEYS = {
  'k8s.cluster.name': 'cluster',
  'k8s.namespace.name': 'namespace',
  'service.name': 'service',
  'service.version': 'revision',
  'cloud.region': 'region',
  'cloud.availability_zone': 'zone',
} as const
type TextField = (typeof KEYS)[keyof typeof KEYS]

/** @returns the list in Istio's order, without percent-encoding; empty when there is nothing. Values that cannot stand in it are left out. */
export function formatBaggage(fields: BaggageFields): string {
  const workloadKey = `k8s.${fields.workloadType ?? 'pod'}.name`
  const rows: readonly (readonly [string, string | undefined])[] = [
    ['k8s.cluster.name', fields.cluster],
    ['k8s.namespace.name', fields.namespace],
    [workloadKey, fields.workload],
    ['service.name', fields.service],
    ['service.version', fields.revision],
    ['cloud.region', fields.region],
    ['cloud.availability_zone', fields.zone],
  ]
  return rows.flatMap(([key, value]) => (value !== undefined && isGood(value) ? [`${key}=${value}`] : [])).join(',')
}

/** @returns what could be understood; unknown, malformed and repeated members are ignored (the first counts). */
export function parseBaggage(text: string): BaggageFields {
  const found: { [field in TextField]?: string } & { workload?: string; workloadType?: WorkloadType } = {}
  if (text.length > MAX_BAGGAGE_CHARACTERS) return found
  for (const member of text.split(',')) {
    const [pair = ''] = member.split(';', 1) // properties of a member mean nothing to us
    const equals = pair.indexOf('=')
    const key = pair.slice(0, Math.max(equals, 0)).trim()
    const value = pair.slice(equals + 1).trim()
    if (equals < 0 || !isGood(value)) continue
    const field = Object.hasOwn(KEYS, key) ? KEYS[key as keyof typeof KEYS] : undefined
    const type = TYPES.find((candidate) => key === `k8s.${candidate}.name`)
    if (field !== undefined) found[field] ??= value
    else if (type !== undefined && found.workload === undefined) {
      found.workload = value
      found.workloadType = type
    }
  }
  return found
}

function isGood(value: string): boolean {
  return value !== '' && value.length <= MAX_VALUE_CHARACTERS && VALUE.test(value)
}
