// Which endpoints are near: splits them by preference level and by share, as Istio does with localityLbSetting
// (istio/istio:pilot/pkg/networking/core/loadbalancer). Without a policy all endpoints are equal.
import type { LocalityPolicy } from '../../model/backend.ts'
import type { Locality } from '../../model/workload.ts'
import type { Member } from './member.ts'

/** Endpoints that are equally near. */
export interface Neighbourhood {
  readonly members: Member[]
  /** 0 = nearest; lower levels are used as far as the higher ones are not healthy. */
  readonly level: number
  /** Share among the neighbourhoods of its level, > 0. */
  readonly weight: number
}

const LABELS: Readonly<Record<string, keyof Locality>> = {
  'topology.kubernetes.io/region': 'region',
  'topology.kubernetes.io/zone': 'zone',
  'topology.istio.io/subzone': 'subzone',
}

const ZONES = 5 // distances that `distance` tells apart

/**
 * Splits the members.
 * @param canFailOver whether lower levels may be used at all: without outlier detection nothing would ever fail over, so
 *   Istio does not make levels then
 * @returns nearest first; members that a distribution leaves out are in none
 */
export function neighbourhoods(
  members: readonly Member[],
  policy: LocalityPolicy | undefined,
  local: Locality,
  canFailOver: boolean,
): readonly Neighbourhood[] {
  if (policy?.isEnabled !== true) return everyone(members)
  if (policy.distribute.length > 0) {
    const row = policy.distribute.find(({ from }) => covers(from, local))
    return row === undefined ? everyone(members) : distributed(members, row.to)
  }
  return canFailOver ? leveled(members, policy, local) : everyone(members)
}

/** Whether a locality lies in `region`, `region/zone` or `region/zone/subzone`, where a part may be `*`. */
export function covers(pattern: string, locality: Locality): boolean {
  const [region = '', zone = '*', subzone = '*'] = pattern.split('/')
  return fits(region, locality.region) && fits(zone, locality.zone) && fits(subzone, locality.subzone)
}

function fits(part: string, value: string): boolean {
  return part === '*' || part === value
}

function everyone(members: readonly Member[]): readonly Neighbourhood[] {
  return [{ members: [...members], level: 0, weight: 1 }]
}

/** Each endpoint counts for the narrowest pattern that covers it. */
function distributed(members: readonly Member[], to: Readonly<Record<string, number>>): readonly Neighbourhood[] {
  const rows = Object.entries(to)
    .sort(([a], [b]) => narrowness(b) - narrowness(a) || (a < b ? -1 : 1))
    .map(([pattern, weight]) => ({ pattern, members: [] as Member[], level: 0, weight }))
  for (const member of members) rows.find((row) => covers(row.pattern, member.endpoint.workload.locality))?.members.push(member)
  return rows.filter((row) => row.members.length > 0 && row.weight > 0)
}

function narrowness(pattern: string): number {
  return pattern.split('/').filter((part) => part !== '*').length
}

function leveled(members: readonly Member[], policy: LocalityPolicy, local: Locality): readonly Neighbourhood[] {
  const target = policy.failover.find(({ from }) => from === local.region)?.to
  const labels = policy.failoverPriority.filter((label) => LABELS[keyOf(label)] !== undefined)
  const byRank = new Map<number, Member[]>()
  for (const member of members) {
    const rank = rankOf(member.endpoint.workload.locality, local, policy, labels, target)
    const there = byRank.get(rank)
    if (there === undefined) byRank.set(rank, [member])
    else there.push(member)
  }
  return [...byRank].sort(([a], [b]) => a - b).map(([, there], level) => ({ members: there, level, weight: 1 }))
}

/** Labels come before distance; distance counts when no labels are given or regions to fail over to are. */
function rankOf(there: Locality, local: Locality, policy: LocalityPolicy, labels: readonly string[], target: string | undefined): number {
  const isByLabel = policy.failoverPriority.length > 0
  const byLabel = isByLabel ? labels.length - agreement(there, local, labels) : 0
  if (isByLabel && policy.failover.length === 0) return byLabel
  return byLabel * ZONES + distance(there, local, target)
}

/** How many of the labels agree before the first that does not. `label=value` asks for that value instead of our own. */
function agreement(there: Locality, local: Locality, labels: readonly string[]): number {
  const index = labels.findIndex((label) => {
    const field = LABELS[keyOf(label)]
    if (field === undefined) return true
    const at = label.indexOf('=')
    return there[field] !== (at === -1 ? local[field] : label.slice(at + 1))
  })
  return index === -1 ? labels.length : index
}

function keyOf(label: string): string {
  const at = label.indexOf('=')
  return at === -1 ? label : label.slice(0, at)
}

/** 0 same subzone, 1 same zone, 2 same region, 3 another region, 4 another region than the one to fail over to. */
function distance(there: Locality, local: Locality, target: string | undefined): number {
  if (there.region === local.region) {
    if (there.zone !== local.zone) return 2
    return there.subzone === local.subzone ? 0 : 1
  }
  return target === undefined || there.region === target ? 3 : 4
}
