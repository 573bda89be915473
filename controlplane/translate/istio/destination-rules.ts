// All DestinationRules -> backends, and what is said of each rule.
import type { Backend } from '../../../model/backend.ts'
import type { DestinationRule } from '../../../model/istio-networking.ts'
import type { MeshObject } from '../../../model/object.ts'
import type { Service } from '../../../model/service.ts'
import type { ServiceKey } from '../../../model/workload.ts'
import { type Finding, joined } from '../gateway/finding.ts'
import type { MeshNames } from '../mesh.ts'
import { backendOf, chooseRules, holdsIn, type Member, MemberIndex, type RuleChoice } from './backends.ts'
import { type ParsedDestinationRule, parseDestinationRule } from './destination-rule.ts'
import { KeptValues } from './kept.ts'
import { ISTIO_CONDITION, refusal, verdictOf } from './outcomes.ts'

/** What a run depends on. */
export interface RulesInput {
  readonly objects: readonly DestinationRule[]
  readonly services: ReadonlyMap<ServiceKey, Service>
  /** Workloads behind each of some services. */
  membersOf(services: ReadonlySet<ServiceKey>): ReadonlyMap<ServiceKey, readonly Member[]>
}

/** What a run gives. */
export interface RulesResult {
  readonly backends: ReadonlyMap<ServiceKey, Backend>
  /** Names of subsets by service. */
  readonly subsets: ReadonlyMap<ServiceKey, ReadonlySet<string>>
  readonly findings: ReadonlyMap<MeshObject, Finding>
}

/** Translates again and again. */
export class DestinationRules {
  readonly #names: MeshNames
  readonly #kept = new KeptValues<DestinationRule, ParsedDestinationRule>()
  #backends: ReadonlyMap<ServiceKey, Backend> = new Map()

  constructor(names: MeshNames) {
    this.#names = names
  }

  /** One run. */
  run({ objects, services, membersOf }: RulesInput): RulesResult {
    const parsed = this.#kept.parse(objects, (object) => parseDestinationRule(object, this.#names))
    const choice = chooseRules([...parsed.values()], services.values(), this.#names)
    const wanted = new Set([...choice.rules].flatMap(([key, { subsets }]) => (subsets.length > 0 ? [key] : [])))
    const members = new MemberIndex(wanted, membersOf)
    const backends = new Map<ServiceKey, Backend>()
    const subsets = new Map<ServiceKey, ReadonlySet<string>>()
    for (const [key, rule] of choice.rules) {
      backends.set(key, backendOf(key, rule, members, this.#backends.get(key)))
      if (rule.subsets.length > 0) subsets.set(key, new Set(rule.subsets.map(({ name }) => name)))
    }
    this.#backends = backends
    const findings = new Map<DestinationRule, Finding>()
    for (const [object, rule] of parsed) findings.set(object, this.#finding(rule, choice))
    return { backends, subsets, findings: this.#kept.keep(findings) }
  }

  #finding(rule: ParsedDestinationRule, { rules, named, inForce }: RuleChoice): Finding {
    if (rule.problem !== undefined) return refusal(ISTIO_CONDITION, 'Invalid', `nothing is in force: ${rule.problem}`)
    const [host = ''] = rule.hosts
    const services = named.get(rule) ?? []
    if (services.length === 0) return refusal(ISTIO_CONDITION, 'HostNotFound', `${host} is no service of the mesh`)
    const own = services.filter(({ namespace }) => holdsIn(rule, namespace, this.#names.rootNamespace))
    if (own.length === 0) {
      const message = `a rule holds only in the namespace of its host, or from namespace ${this.#names.rootNamespace} where it is exported to`
      return refusal(ISTIO_CONDITION, 'NotAllowed', message)
    }
    if (!inForce.has(rule)) {
      const others = new Set(own.flatMap(({ namespace, hostname }) => rules.get(`${namespace}/${hostname}`) ?? []))
      const names = [...others].map((other) => `${other.namespace}/${other.name}`).sort()
      return refusal(ISTIO_CONDITION, 'Conflicted', `older or narrower rules hold for ${host}: ${joined(names)}`)
    }
    return verdictOf(ISTIO_CONDITION, { ignored: rule.ignored, dropped: [], broken: [], unresolved: [], others: [] })
  }
}
