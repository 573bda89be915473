// DestinationRules -> backends: one rule per service, subsets as the workloads that have the labels. A rule holds in the
// namespace of its host; one of the mesh's root namespace holds where it is exported to: else anybody could slow anybody down.
import type { Backend } from '../../../model/backend.ts'
import type { StringMap } from '../../../model/object.ts'
import { type Service, serviceKeyOf } from '../../../model/service.ts'
import type { ServiceKey } from '../../../model/workload.ts'
import { labelsMatch, type MeshNames } from '../mesh.ts'
import { compare, HostIndex } from './bind.ts'
import type { ParsedDestinationRule } from './destination-rule.ts'
import { isExportedTo } from './hosts.ts'

/** Which rule holds for which service, and what is to be said of rules that hold nowhere. */
export interface RuleChoice {
  readonly rules: ReadonlyMap<ServiceKey, ParsedDestinationRule>
  /** Services whose host a rule names; it may or may not hold there. */
  readonly named: ReadonlyMap<ParsedDestinationRule, readonly Service[]>
  /** The rules that hold somewhere. */
  readonly inForce: ReadonlySet<ParsedDestinationRule>
}

/** Chooses among the good rules: own namespace, narrower host, oldest. */
export function chooseRules(rules: readonly ParsedDestinationRule[], services: Iterable<Service>, names: MeshNames): RuleChoice {
  const chosen = new Map<ServiceKey, ParsedDestinationRule>()
  const named = new Map<ParsedDestinationRule, Service[]>()
  const good = rules.filter(({ problem }) => problem === undefined)
  if (good.length === 0) return { rules: chosen, named, inForce: new Set() }
  const index = new HostIndex(good)
  for (const service of services) {
    const found = index.find(service.hostname)
    for (const { item } of found) {
      const list = named.get(item)
      if (list === undefined) named.set(item, [service])
      else list.push(service)
    }
    const [first] = found
      .filter(({ item }) => holdsIn(item, service.namespace, names.rootNamespace))
      .sort((a, b) => compare(a, b, service.namespace))
    if (first !== undefined) chosen.set(serviceKeyOf(service), first.item)
  }
  return { rules: chosen, named, inForce: new Set(chosen.values()) }
}

/** Whether a rule may hold for services of a namespace. */
export function holdsIn({ namespace, exportTo }: ParsedDestinationRule, service: string, rootNamespace: string): boolean {
  return namespace === service || (namespace === rootNamespace && isExportedTo(exportTo, namespace, service))
}

/** A workload and the labels of its pod. */
export interface Member {
  readonly uid: string
  readonly labels: StringMap
}

/** Workloads of services with their labels, for subsets. */
export class MemberIndex {
  readonly #members: ReadonlyMap<ServiceKey, readonly Member[]>

  /** @param membersOf asked for services that have subsets: others are not looked at */
  constructor(
    wanted: ReadonlySet<ServiceKey>,
    membersOf: (services: ReadonlySet<ServiceKey>) => ReadonlyMap<ServiceKey, readonly Member[]>,
  ) {
    this.#members = wanted.size === 0 ? new Map() : membersOf(wanted)
  }

  /** Uids of the workloads that have the labels, sorted. */
  select(service: ServiceKey, want: StringMap): string[] {
    const members = this.#members.get(service) ?? []
    return members.flatMap(({ uid, labels }) => (labelsMatch(want, labels) ? [uid] : [])).sort()
  }
}

/** @returns the backend, or the one before when nothing of it has changed */
export function backendOf(service: ServiceKey, rule: ParsedDestinationRule, members: MemberIndex, before: Backend | undefined): Backend {
  const subsets = rule.subsets.map(({ name, labels, policy }) => ({ name, workloads: members.select(service, labels), policy }))
  const isSame =
    before !== undefined &&
    before.policy === rule.policy &&
    before.ports === rule.ports &&
    before.subsets.length === subsets.length &&
    before.subsets.every(({ policy, workloads }, i) => policy === subsets[i]?.policy && workloads.join() === subsets[i]?.workloads.join())
  return isSame ? before : { service, policy: rule.policy, ports: rule.ports, subsets }
}
