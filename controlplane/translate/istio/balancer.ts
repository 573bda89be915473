// loadBalancer of a DestinationRule -> balancer, warm-up and localities.
import type { BalancerPolicy, HashKey, LocalityPolicy } from '../../../model/backend.ts'
import type { IstioLoadBalancer } from '../../../model/istio-networking.ts'
import type { Note } from '../mesh.ts'
import { goDurationMs } from './duration.ts'

/** Istio's defaults and Envoy's bounds: each proxy builds a table of that size for each backend. */
const RING_SIZE = { usual: 1024, most: 8_388_608 }
const MAGLEV_SIZE = { usual: 65_537, most: 5_000_011 }
const HEADER_NAME = /^[A-Za-z0-9!#$%&'*+\-.^_`|~]+$/
const COOKIE_PATH = /^\/[\x21-\x3a\x3c-\x7e]*$/
const LOCALITY = /^[^/\s]+(\/[^/\s]+){0,2}$/
/** Labels of places that proxies know of endpoints. */
const PLACE_LABELS: ReadonlySet<string> = new Set([
  'topology.kubernetes.io/region',
  'topology.kubernetes.io/zone',
  'topology.istio.io/subzone',
])

const SIMPLE: Readonly<Record<string, BalancerPolicy>> = {
  LEAST_REQUEST: { kind: 'leastRequest' },
  LEAST_CONN: { kind: 'leastRequest' },
  UNSPECIFIED: { kind: 'leastRequest' },
  ROUND_ROBIN: { kind: 'roundRobin' },
  RANDOM: { kind: 'random' },
}

/** What cannot be done is noted, and least request stands in for it. */
export function balancerOf({ simple = 'LEAST_REQUEST', consistentHash }: IstioLoadBalancer, field: string, note: Note): BalancerPolicy {
  if (consistentHash === undefined) {
    const known = Object.hasOwn(SIMPLE, simple) ? SIMPLE[simple] : undefined
    if (known === undefined) note(`${field}.simple`, `${simple} is not supported; LEAST_REQUEST is used`)
    return known ?? { kind: 'leastRequest' }
  }
  const key = hashKeyOf(consistentHash, `${field}.consistentHash`, note)
  if (key === undefined) return { kind: 'leastRequest' }
  const { ringHash, maglev, minimumRingSize } = consistentHash
  const clamp = (size: number | undefined, { usual, most }: typeof RING_SIZE, part: string): number => {
    if (size !== undefined && size > most) note(`${field}.consistentHash.${part}`, `more than ${most} are not made`)
    return Math.min(size === undefined || size === 0 ? usual : size, most)
  }
  if (maglev !== undefined) return { kind: 'maglev', keys: [key], tableSize: clamp(maglev.tableSize, MAGLEV_SIZE, 'maglev.tableSize') }
  const size = ringHash?.minimumRingSize ?? minimumRingSize
  return { kind: 'ringHash', keys: [key], minimumRingSize: clamp(size, RING_SIZE, 'ringHash.minimumRingSize') }
}

function hashKeyOf(hash: NonNullable<IstioLoadBalancer['consistentHash']>, field: string, note: Note): HashKey | undefined {
  const { httpHeaderName, httpCookie, httpQueryParameterName } = hash
  if (httpHeaderName !== undefined) {
    if (HEADER_NAME.test(httpHeaderName)) return { kind: 'header', name: httpHeaderName.toLowerCase() }
    return lost(note, `${field}.httpHeaderName`, 'is not a header name')
  }
  if (httpQueryParameterName !== undefined) return { kind: 'query', name: httpQueryParameterName }
  if (httpCookie === undefined) return { kind: 'sourceIp' }
  const { name, path = '/', ttl, attributes } = httpCookie
  if (attributes !== undefined) note(`${field}.httpCookie.attributes`, 'is not supported')
  if (!HEADER_NAME.test(name)) return lost(note, `${field}.httpCookie.name`, 'is not the name of a cookie')
  if (path !== '' && !COOKIE_PATH.test(path)) return lost(note, `${field}.httpCookie.path`, 'is not the path of a cookie')
  // Without a lifetime no cookie is made for clients that send none.
  const ttlSeconds = ttl === undefined ? undefined : Math.ceil(goDurationMs(ttl) / 1000)
  return { kind: 'cookie', name, path: path === '' ? '/' : path, ttlSeconds }
}

function lost(note: Note, field: string, message: string): undefined {
  note(field, `${message}; LEAST_REQUEST is used`)
}

/** Undefined = at once. */
export function warmupOf({ warmup, warmupDurationSecs }: IstioLoadBalancer, field: string, note: Note): number | undefined {
  for (const part of ['minimumPercent', 'aggression'] as const)
    if (warmup?.[part] !== undefined) note(`${field}.warmup.${part}`, 'is not supported')
  const text = warmup?.duration ?? warmupDurationSecs
  const ms = text === undefined ? 0 : goDurationMs(text)
  return ms === 0 ? undefined : ms
}

/**
 * Undefined = all endpoints are equal. As in Istio's mesh defaults outlier detection switches failing over between localities
 * on, and without it only a distribution counts: nothing would say that an endpoint has failed.
 */
export function localityOf(
  { localityLbSetting }: IstioLoadBalancer,
  hasOutlier: boolean,
  field: string,
  note: Note,
): LocalityPolicy | undefined {
  const plain: LocalityPolicy = { isEnabled: true, distribute: [], failover: [], failoverPriority: [] }
  if (localityLbSetting === undefined) return hasOutlier ? plain : undefined
  const { distribute = [], failover = [], failoverPriority = [], enabled } = localityLbSetting
  if (enabled === false) return undefined
  const place = `${field}.localityLbSetting`
  if (distribute.length > 0) {
    if (failover.length + failoverPriority.length > 0) note(place, 'failover counts for nothing beside distribute')
    return { ...plain, distribute: distributionOf(distribute, `${place}.distribute`, note) }
  }
  if (!hasOutlier) {
    note(place, 'needs outlierDetection: without it nothing fails over')
    return undefined
  }
  for (const label of failoverPriority)
    if (!PLACE_LABELS.has(label.split('=')[0] ?? ''))
      note(
        `${place}.failoverPriority`,
        `${JSON.stringify(label.slice(0, 80))} is not known of endpoints: only region, zone and subzone are`,
      )
  return {
    ...plain,
    failover: failover.flatMap(({ from = '', to = '' }, i) => {
      const isGood = [from, to].every((text) => LOCALITY.test(text)) && from !== to
      if (!isGood) note(`${place}.failover[${i}]`, 'needs two different regions')
      return isGood ? [{ from, to }] : []
    }),
    failoverPriority: failoverPriority.filter((label) => PLACE_LABELS.has(label.split('=')[0] ?? '')),
  }
}

function distributionOf(
  list: NonNullable<NonNullable<IstioLoadBalancer['localityLbSetting']>['distribute']>,
  field: string,
  note: Note,
): LocalityPolicy['distribute'] {
  return list.flatMap(({ from = '', to = {} }, i) => {
    const sum = Object.values(to).reduce((total, share) => total + share, 0)
    const isNamed = [from, ...Object.keys(to)].every((text) => text === '*' || LOCALITY.test(text))
    if (!isNamed) note(`${field}[${i}]`, 'holds a name that is no region, region/zone or region/zone/subzone')
    else if (sum !== 100) note(`${field}[${i}].to`, `the shares make ${sum}, not 100`)
    return isNamed && sum === 100 ? [{ from, to }] : []
  })
}
