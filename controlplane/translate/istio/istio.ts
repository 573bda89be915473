// Istio's traffic objects and rate limits, over what the Gateway API's routes have made: backends, and listeners with the routes,
// faults and limits that these objects add. A run in which nothing of this changed costs a comparison.
import type { Backend } from '../../../model/backend.ts'
import type { MeshObject } from '../../../model/object.ts'
import type { Listener } from '../../../model/route.ts'
import type { Service } from '../../../model/service.ts'
import type { ServiceKey } from '../../../model/workload.ts'
import type { Finding } from '../gateway/finding.ts'
import { type MeshNames, namespaceOf, noteFor, type ObjectFault, type World } from '../mesh.ts'
import { HostTable } from '../host-table.ts'
import type { EntriesResult } from '../service-entry/service-entries.ts'
import type { Member } from './backends.ts'
import { DestinationRules, type RulesResult } from './destination-rules.ts'
import { RateLimits } from './rate-limits.ts'
import { VirtualServices } from './virtual-services.ts'

/** What a run depends on. */
export interface IstioInput {
  readonly world: Pick<World, 'virtualServices' | 'destinationRules' | 'rateLimitPolicies' | 'services'>
  readonly services: ReadonlyMap<ServiceKey, Service>
  /** Workloads behind each of some services. */
  membersOf(services: ReadonlySet<ServiceKey>): ReadonlyMap<ServiceKey, readonly Member[]>
  /** From the routes of the Gateway API. */
  readonly listeners: ReadonlyMap<string, Listener>
  readonly entries: Pick<EntriesResult, 'hosts' | 'routed'>
}

/** What is published and said. */
export interface IstioTranslation {
  readonly listeners: ReadonlyMap<string, Listener>
  readonly backends: ReadonlyMap<ServiceKey, Backend>
  /** One condition per object that is the mesh's business. */
  readonly istioOutcomes: ReadonlyMap<MeshObject, Finding>
  readonly faults: readonly ObjectFault[]
}

type Routing = Pick<IstioTranslation, 'listeners' | 'istioOutcomes'>

/** Translates again and again. */
export class IstioTranslator {
  readonly #names: MeshNames
  readonly #rules: DestinationRules
  readonly #virtualServices: VirtualServices
  readonly #limits = new RateLimits()
  #last: { readonly inputs: readonly unknown[]; readonly routing: Routing } | undefined

  constructor(names: MeshNames) {
    this.#names = names
    this.#rules = new DestinationRules(names)
    this.#virtualServices = new VirtualServices(names)
  }

  /** One run. Never throws for what objects hold. */
  translate(input: IstioInput): IstioTranslation {
    const { world, services } = input
    // Endpoints may have come or gone without any of these objects changing.
    const rules = this.#rules.run({ objects: world.destinationRules, services, membersOf: (wanted) => input.membersOf(wanted) })
    const routing = this.#routing(input, rules)
    const istioOutcomes = new Map([...rules.findings, ...routing.istioOutcomes])
    const faults: ObjectFault[] = []
    for (const [object, { reason, message }] of istioOutcomes) if (reason !== 'Accepted') noteFor(object, faults)('spec', message)
    return { listeners: routing.listeners, backends: rules.backends, istioOutcomes, faults }
  }

  #routing({ world, services, listeners, entries }: IstioInput, { subsets }: RulesResult): Routing {
    const { virtualServices, rateLimitPolicies } = world
    if (virtualServices.length + rateLimitPolicies.length === 0) return { listeners, istioOutcomes: new Map() }
    const names = [...subsets].map(([key, set]) => `${key} ${[...set].join()}`).join('\n')
    const inputs = [
      ...[listeners, names, virtualServices.length, ...virtualServices, ...rateLimitPolicies],
      ...[world.services.length, ...world.services, ...services.values()],
    ]
    if (this.#last !== undefined && isSame(this.#last.inputs, inputs)) return this.#last.routing
    const hosts = new HostTable(services.values())
    const routed = this.#virtualServices.run(virtualServices, listeners, { hosts, subsets })
    const kubeServices = new Map(world.services.map((service) => [`${namespaceOf(service)}/${service.metadata.name}`, service]))
    const limited = this.#limits.run(rateLimitPolicies, routed.listeners, { names: this.#names, kubeServices, entries })
    const routing = { listeners: limited.listeners, istioOutcomes: new Map([...routed.findings, ...limited.findings]) }
    this.#last = { inputs, routing }
    return routing
  }
}

function isSame(a: readonly unknown[], b: readonly unknown[]): boolean {
  return a.length === b.length && a.every((value, i) => value === b[i])
}
