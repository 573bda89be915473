// Policies with targetRefs over all listeners, and what is said of each. A listener that has more than it can hold denies everything:
// leaving one out could let in whom it forbids.
import { isDeepStrictEqual } from 'node:util'
import type { Gateway } from '../../model/gateway-api.ts'
import type { HttpPolicy } from '../../model/http-policy.ts'
import type { AuthorizationPolicy, PolicyTargetReference } from '../../model/istio-security.ts'
import type { Listener } from '../../model/route.ts'
import { DRY_RUN } from './authorization.ts'
import type { Finding } from './gateway/finding.ts'
import { accepted, joined } from './gateway/finding.ts'
import { isTargeted, type TargetedPolicy, translateTargeted } from './http-authorization.ts'
import { KeptValues } from './istio/kept.ts'
import { hostnameOf, type MeshNames } from './mesh.ts'
import type { EntriesResult } from './service-entry/service-entries.ts'

/** The condition's type; Istio's, as the reasons are. */
const CONDITION = 'WaypointAccepted'
const MOST_POLICIES = 128
/** Text of the rules of all policies of a listener, together. */
const MOST_BYTES = 512 * 1024
const TOO_MANY: HttpPolicy = { name: 'weft/too-many-policies', action: 'DENY', rules: [[]], isGatewayWide: false }

/** What targets are looked up in. */
export interface PolicyWorld {
  readonly names: MeshNames
  readonly waypoints: ReadonlyMap<string, Gateway>
  readonly entries: Pick<EntriesResult, 'hosts'>
  readonly hasService: (key: string) => boolean
}

interface Parsed {
  readonly object: AuthorizationPolicy
  readonly parsed: TargetedPolicy
}

interface Kept {
  readonly base: Listener
  readonly policies: readonly HttpPolicy[]
  readonly made: Listener
}

/** Translates again and again. */
export class WaypointPolicies {
  readonly #kept = new KeptValues<AuthorizationPolicy, TargetedPolicy>()
  #parsed = new Map<string, Parsed>()
  readonly #made = new WeakMap<TargetedPolicy, { readonly one: HttpPolicy; readonly wide: HttpPolicy }>()
  #listeners = new Map<string, Kept>()

  /** One run. Never throws for what objects hold. */
  run(
    objects: readonly AuthorizationPolicy[],
    listeners: ReadonlyMap<string, Listener>,
    world: PolicyWorld,
  ): { readonly listeners: ReadonlyMap<string, Listener>; readonly findings: ReadonlyMap<AuthorizationPolicy, Finding> } {
    const targeted = objects.filter(isTargeted)
    if (targeted.length === 0) return { listeners, findings: new Map() }
    const parsed = this.#parse(targeted)
    const policies = [...parsed.values()].sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1))
    const found = new Map<TargetedPolicy, Set<number>>()
    const crowded = new Set<TargetedPolicy>()
    const result = new Map<string, Listener>()
    const next = new Map<string, Kept>()
    for (const [name, base] of listeners) {
      const hits = policies.flatMap((policy) => policy.targets.map((target, i) => ({ policy, i, hit: hitOf(base, policy, target, world) })))
      const own = new Map<TargetedPolicy, HttpPolicy>()
      for (const { policy, i, hit } of hits) {
        if (hit === 'elsewhere') continue
        found.set(policy, (found.get(policy) ?? new Set()).add(i))
        const made = this.#policyOf(policy, hit)
        if (made !== undefined && own.get(policy)?.isGatewayWide !== true) own.set(policy, made)
      }
      const kept = this.#listener(base, bounded(own, crowded))
      next.set(name, kept)
      result.set(name, kept.made)
    }
    this.#listeners = next
    const findings = new Map<AuthorizationPolicy, Finding>()
    for (const [object, policy] of parsed)
      findings.set(object, findingOf(policy, found.get(policy) ?? new Set(), crowded.has(policy), world))
    return { listeners: result, findings: this.#kept.keep(findings) as ReadonlyMap<AuthorizationPolicy, Finding> }
  }

  /** A write of the status makes a new object, but not a new policy. */
  #parse(objects: readonly AuthorizationPolicy[]): Map<AuthorizationPolicy, TargetedPolicy> {
    const facts = ({ spec, metadata }: AuthorizationPolicy): unknown => [spec, metadata.annotations?.[DRY_RUN]]
    const next = new Map<string, Parsed>()
    for (const object of objects) {
      const key = `${object.metadata.namespace ?? ''}/${object.metadata.name}`
      const known = this.#parsed.get(key)
      const isSame = known !== undefined && (known.object === object || isDeepStrictEqual(facts(known.object), facts(object)))
      next.set(key, { object, parsed: isSame ? known.parsed : translateTargeted(object) })
    }
    this.#parsed = next
    return new Map([...next.values()].map(({ object, parsed }) => [object, parsed]))
  }

  #listener(base: Listener, policies: readonly HttpPolicy[]): Kept {
    const known = this.#listeners.get(base.name)
    if (known?.base === base && known.policies.length === policies.length && known.policies.every((policy, i) => policy === policies[i]))
      return known
    return { base, policies, made: policies.length === 0 ? base : { ...base, authorization: policies } }
  }

  /** The same value for the same policy. */
  #policyOf(parsed: TargetedPolicy, hit: 'service' | 'gateway'): HttpPolicy | undefined {
    if (parsed.policy === undefined) return undefined
    const known = this.#made.get(parsed) ?? {
      one: { ...parsed.policy, isGatewayWide: false },
      wide: { ...parsed.policy, isGatewayWide: true },
    }
    this.#made.set(parsed, known)
    return hit === 'gateway' ? known.wide : known.one
  }
}

function bounded(own: ReadonlyMap<TargetedPolicy, HttpPolicy>, crowded: Set<TargetedPolicy>): readonly HttpPolicy[] {
  const policies = [...own.values()]
  const bytes = policies.reduce((sum, policy) => sum + sizeOf(policy), 0)
  if (policies.length <= MOST_POLICIES && bytes <= MOST_BYTES) return policies
  for (const policy of own.keys()) crowded.add(policy)
  return [TOO_MANY]
}

const SIZES = new WeakMap<HttpPolicy['rules'], number>()

function sizeOf({ rules }: HttpPolicy): number {
  const size = SIZES.get(rules) ?? JSON.stringify(rules).length
  SIZES.set(rules, size)
  return size
}

function hitOf(
  listener: Listener,
  { namespace }: TargetedPolicy,
  { group = '', kind, name, namespace: given }: PolicyTargetReference,
  { names, waypoints, entries }: PolicyWorld,
): 'service' | 'gateway' | 'elsewhere' {
  if (given !== undefined && given !== '' && given !== namespace) return 'elsewhere'
  const isAt = (what: 'service' | 'gateway', holds: boolean): 'service' | 'gateway' | 'elsewhere' => (holds ? what : 'elsewhere')
  if (kind === 'Service' && (group === '' || group === 'core'))
    return isAt('service', listener.service === `${namespace}/${hostnameOf(names, namespace, name)}`)
  if (kind === 'ServiceEntry' && group === 'networking.istio.io')
    return isAt('service', entries.hosts.get(`${namespace}/${name}`)?.includes(listener.service) === true)
  if (group !== 'gateway.networking.k8s.io') return 'elsewhere'
  if (kind === 'Gateway') return isAt('gateway', listener.gateway === `${namespace}/${name}`)
  if (kind === 'GatewayClass' && namespace === names.rootNamespace)
    return isAt('gateway', waypoints.get(listener.gateway)?.spec?.gatewayClassName === name)
  return 'elsewhere'
}

function findingOf(policy: TargetedPolicy, found: ReadonlySet<number>, isCrowded: boolean, world: PolicyWorld): Finding {
  const said = (reason: string, message: string): Finding => ({ ...accepted(reason, message), type: CONDITION })
  const lost = policy.targets.flatMap((target, i) => (found.has(i) ? [] : [`targetRefs[${i}]: ${absent(policy, target, world).message}`]))
  if (policy.unsupported !== undefined) return said('UnsupportedValue', joined([policy.unsupported, ...policy.notes, ...lost]))
  if (isCrowded)
    return said(
      'Invalid',
      `too many or too large policies at one listener (${MOST_POLICIES}, ${MOST_BYTES} bytes): everything is denied there`,
    )
  const [first] = policy.targets
  if (found.size === 0)
    return said(
      first === undefined ? 'Invalid' : absent(policy, first, world).reason,
      `nothing is enforced: ${joined(lost.length > 0 ? lost : ['it names nothing'])}`,
    )
  const effect = policy.policy?.action === 'DENY' ? 'the rules concerned deny more' : 'the rules concerned allow nothing'
  const texts = [...(policy.notes.length > 0 ? [`${joined(policy.notes)}: ${effect}`] : []), ...lost]
  if (texts.length === 0) return said('Accepted', 'enforced by the waypoint')
  return { ...said('Accepted', texts.join('. ')), reason: 'PartiallyInvalid' }
}

function absent(
  policy: TargetedPolicy,
  target: PolicyTargetReference,
  { names, waypoints, entries, hasService }: PolicyWorld,
): { reason: string; message: string } {
  const { kind, name, namespace: given } = target
  const key = `${policy.namespace}/${name}`
  if (given !== undefined && given !== '' && given !== policy.namespace)
    return { reason: 'TargetNotFound', message: `${kind} ${given}/${name} is of another namespace` }
  const isThere =
    (kind === 'Service' && hasService(`${policy.namespace}/${hostnameOf(names, policy.namespace, name)}`)) ||
    (kind === 'ServiceEntry' && (entries.hosts.get(key)?.length ?? 0) > 0) ||
    (kind === 'Gateway' && waypoints.has(key))
  if (isThere) return { reason: 'AncestorNotBound', message: `${kind} ${key} has no waypoint in front of it, or nothing behind it` }
  if (['Service', 'ServiceEntry', 'Gateway', 'GatewayClass'].includes(kind))
    return {
      reason: 'TargetNotFound',
      message: `there is no ${kind} ${kind === 'GatewayClass' ? `${name} for a policy of ${names.rootNamespace}` : key}`,
    }
  return { reason: 'UnsupportedValue', message: `kind ${kind} cannot be a target` }
}

function keyOf({ namespace, name }: TargetedPolicy): string {
  return `${namespace}/${name}`
}
