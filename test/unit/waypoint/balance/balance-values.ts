// Endpoints, policies and drivers for the tests of the balancer.
import { DEFAULT_TRAFFIC_POLICY } from '../../../../model/backend.ts'
import type { OutlierDetection, TrafficPolicy } from '../../../../model/backend.ts'
import type { Locality } from '../../../../model/workload.ts'
import { Cluster } from '../../../../waypoint/balance/cluster.ts'
import type { BalancedEndpoint, Choice, ChooseContext } from '../../../../waypoint/balance/endpoint.ts'
import { Member } from '../../../../waypoint/balance/member.ts'
import { FakeClock } from '../../../support/fake-clock.ts'
import { workloadOf } from '../../../support/mesh-values.ts'
import { SeededRandom } from '../../../support/random.ts'

export const NOBODY: ReadonlySet<string> = new Set()
export const ANY: ChooseContext = { hash: undefined, exclude: NOBODY, session: undefined }

/** `region/zone/subzone` */
export function place(text: string): Locality {
  const [region = '', zone = '', subzone = ''] = text.split('/')
  return { region, zone, subzone }
}

/** An endpoint with uid `name`; the address follows from the number in the name. */
export function endpoint(name: string, change: Partial<BalancedEndpoint> & { at?: string } = {}): BalancedEndpoint {
  const number = Number(/\d+/.exec(name)?.[0] ?? 0)
  const workload = workloadOf(name, [`10.0.${number >> 8}.${number & 255}`], { locality: place(change.at ?? 'r1/z1/s1') })
  const to = { ip: workload.addresses[0]!, port: 8080 }
  return { uid: name, to, workload, weight: 1, isReady: true, isTerminating: false, ...change }
}

/** `count` endpoints e0, e1, … */
export function endpoints(count: number): BalancedEndpoint[] {
  return Array.from({ length: count }, (_, index) => endpoint(`e${index}`))
}

/** Usable, open members. */
export function members(list: readonly BalancedEndpoint[]): Member[] {
  return list.map((one) => {
    const member = new Member(one)
    member.isUsable = true
    member.isOpen = true
    return member
  })
}

export function policyOf(change: Partial<TrafficPolicy> = {}): TrafficPolicy {
  return { ...DEFAULT_TRAFFIC_POLICY, ...change }
}

export function outlierOf(change: Partial<OutlierDetection> = {}): OutlierDetection {
  return {
    consecutive5xx: undefined,
    consecutiveGatewayErrors: 1,
    intervalMs: 10_000,
    baseEjectionMs: 30_000,
    maxEjectionPercent: 100,
    minHealthPercent: 0,
    ...change,
  }
}

/** Numbers of one seed, as the balancer takes them. */
export function seeded(seed: number): () => number {
  const random = new SeededRandom(seed)
  return () => random.next()
}

export interface Rig {
  readonly cluster: Cluster
  readonly clock: FakeClock
  readonly ejected: string[]
}

export function rig(policy: TrafficPolicy, list: readonly BalancedEndpoint[], local = 'r1/z1/s1', seed = 1): Rig {
  const clock = new FakeClock()
  const ejected: string[] = []
  const cluster = new Cluster({ policy, local: place(local), clock, random: seeded(seed), onEject: (uid) => ejected.push(uid) })
  cluster.update(list)
  return { cluster, clock, ejected }
}

/** Uid of a choice, or the reason why there is none. */
export function uidOf(choice: Choice): string {
  return choice.kind === 'endpoint' ? choice.endpoint.uid : choice.reason
}

/** Runs requests one after another, each ended with 200, and counts who got them. */
export function spread(cluster: Cluster, count: number, context: ChooseContext = ANY): Record<string, number> {
  const counts: Record<string, number> = {}
  for (let i = 0; i < count; i++) {
    const choice = cluster.choose(context)
    const uid = uidOf(choice)
    counts[uid] = (counts[uid] ?? 0) + 1
    if (choice.kind === 'endpoint') choice.lease.done({ status: 200 })
  }
  return counts
}
