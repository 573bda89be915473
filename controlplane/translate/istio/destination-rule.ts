// A DestinationRule by itself: read once; its subsets become workloads when it is bound to a service.
import { messageOf } from '../../../kit/error.ts'
import type { Backend, TrafficPolicy } from '../../../model/backend.ts'
import type { DestinationRule, DestinationRuleSpec, IstioTrafficPolicy } from '../../../model/istio-networking.ts'
import type { StringMap } from '../../../model/object.ts'
import { destinationRuleSpec } from '../../../objects/schema/destination-rule.ts'
import { decodeBackend, encodeBackend } from '../../../xds/resource/backend.ts'
import { joined } from '../gateway/finding.ts'
import { type MeshNames, namespaceOf, type Note } from '../mesh.ts'
import { fullHost } from './hosts.ts'
import { readSpec } from './read-spec.ts'
import { trafficPolicyOf } from './traffic-policy.ts'

/** Endpoints by the labels of their pods. */
export interface LabelledSubset {
  readonly name: string
  readonly labels: StringMap
  readonly policy: TrafficPolicy
}

/** A DestinationRule that was read. */
export interface ParsedDestinationRule {
  readonly namespace: string
  readonly name: string
  readonly createdAt: string
  /** The full name, perhaps with a wildcard; empty when it cannot be read. */
  readonly hosts: readonly string[]
  readonly exportTo: readonly string[] | undefined
  /** Why nothing of it is in force. */
  readonly problem: string | undefined
  /** Fields that are not in force. */
  readonly ignored: readonly string[]
  readonly policy: TrafficPolicy
  readonly ports: ReadonlyMap<number, TrafficPolicy>
  readonly subsets: readonly LabelledSubset[]
}

/** Parts of a policy that take the place of the rule's own, each as a whole. */
const PARTS = ['loadBalancer', 'connectionPool', 'outlierDetection', 'tls'] as const

/** Pure; never throws. */
export function parseDestinationRule(object: DestinationRule, names: MeshNames): ParsedDestinationRule {
  const namespace = namespaceOf(object)
  const { name, creationTimestamp } = object.metadata
  const head = { namespace, name, createdAt: typeof creationTimestamp === 'string' ? creationTimestamp : '' }
  const ignored: string[] = []
  const note: Note = (field, message) => {
    ignored.push(`${field}: ${message}`)
  }
  const spec = readSpec<DestinationRuleSpec>(destinationRuleSpec, object)
  const rule = 'problem' in spec ? undefined : spec
  const policies = policiesOf(rule ?? { host: '' }, note)
  const problem = 'problem' in spec ? spec.problem : (selectorProblem(spec) ?? readbackProblem(policies))
  const hosts = rule === undefined ? [] : [fullHost(rule.host, namespace, names)]
  return { ...head, hosts, exportTo: rule?.exportTo, problem, ignored, ...policies }
}

type Policies = Pick<ParsedDestinationRule, 'policy' | 'ports' | 'subsets'>

function policiesOf({ trafficPolicy = {}, subsets = [] }: DestinationRuleSpec, note: Note): Policies {
  noteUnsupported(trafficPolicy, 'trafficPolicy', note)
  const ports = new Map<number, TrafficPolicy>()
  for (const [i, setting] of (trafficPolicy.portLevelSettings ?? []).entries()) {
    const field = `trafficPolicy.portLevelSettings[${i}]`
    const number = setting.port?.number
    if (number === undefined || ports.has(number)) note(`${field}.port`, number === undefined ? 'is absent' : 'comes twice')
    // A port's settings stand for themselves: nothing of the rule's is added, as in Istio.
    else ports.set(number, trafficPolicyOf(setting, field, note))
  }
  return {
    policy: trafficPolicyOf(trafficPolicy, 'trafficPolicy', note),
    ports,
    subsets: subsets.map((subset, i): LabelledSubset => {
      const own = subset.trafficPolicy ?? {}
      const field = `subsets[${i}].trafficPolicy`
      noteUnsupported(own, field, note)
      if (own.portLevelSettings !== undefined) note(`${field}.portLevelSettings`, 'is not supported in a subset')
      // What the subset takes over from the rule was noted there.
      const parts = PARTS.filter((part) => own[part] !== undefined)
      const noteOwn: Note = (place, message) => {
        if (parts.some((part) => place.startsWith(`${field}.${part}`))) note(place, message)
      }
      const whole = { ...trafficPolicy, ...Object.fromEntries(parts.map((part) => [part, own[part]])) }
      return { name: subset.name, labels: subset.labels ?? {}, policy: trafficPolicyOf(whole, field, noteOwn) }
    }),
  }
}

function noteUnsupported(policy: IstioTrafficPolicy, field: string, note: Note): void {
  for (const part of ['tunnel', 'proxyProtocol', 'retryBudget'] as const)
    if (policy[part] !== undefined) note(`${field}.${part}`, 'is not supported')
}

/** It is for some clients only: in force for all it would do what nobody asked for. */
function selectorProblem({ workloadSelector }: DestinationRuleSpec): string | undefined {
  return workloadSelector === undefined ? undefined : 'workloadSelector: is not supported'
}

/** What proxies would say: a backend that they cannot read is not published at all. */
function readbackProblem({ policy, ports, subsets }: Policies): string | undefined {
  try {
    const backend: Backend = { service: 'a/a', policy, ports, subsets: subsets.map((subset) => ({ ...subset, workloads: [] })) }
    const read = decodeBackend(encodeBackend(backend))
    return read.ok ? undefined : `no proxy could read it: ${joined(read.errors)}`
  } catch (error) {
    return messageOf(error) // a number beyond its wire type
  }
}
