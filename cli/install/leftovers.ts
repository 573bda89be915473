// What the mesh itself made in the cluster, which helm knows nothing of: waypoints, the ConfigMap of its roots in every namespace,
// definitions that it brought, its namespace. Removed once its processes are gone, so that nothing makes it again.
import { type Clock, pause } from '../../kit/clock.ts'
import { type AnyObject, type AnyObjects, KIND, type KindPath } from '../cluster/any-objects.ts'
import { NAMESPACE } from './helm.ts'

interface Managed extends AnyObject {
  readonly metadata: AnyObject['metadata'] & { readonly managedFields?: readonly { readonly manager?: string }[] }
}

interface Definition extends AnyObject {
  readonly spec: {
    readonly group: string
    readonly names: { readonly plural: string }
    readonly versions: readonly { readonly name: string; readonly storage?: boolean }[]
  }
}

const PODS = 'app.kubernetes.io/part-of=weft'
const WAYPOINT_PARTS = 'app.kubernetes.io/managed-by=weft,gateway.networking.k8s.io/gateway-name'
const ROOT_CONFIG_MAP = 'istio-ca-root-cert'
const ROOT_LABEL = 'istio.io/config=true'
/** On the namespace when `weft install` made it. */
export const MANAGED_LABEL = 'app.kubernetes.io/managed-by'
const BUNDLED = 'weft.dev/bundled=true'
const OWN_DEFINITION = 'ratelimitpolicies.weft.dev'
const OWN_OBJECTS: readonly (readonly [KindPath, string])[] = [
  [{ group: '', version: 'v1', plural: 'secrets' }, 'weft-ca'],
  [{ group: 'coordination.k8s.io', version: 'v1', plural: 'leases' }, 'weft-leader'],
]
const POLL_MS = 500
const POD_END_MS = 120_000
const DELETE_MS = 60_000

type Cluster = Pick<AnyObjects, 'get' | 'list' | 'delete'>

/**
 * Removes the agents before anything else goes: each lets go of the pods of its node as it ends, and until then their connections and
 * names need the node's ztunnel. A node that is away is not waited for longer than POD_END_MS.
 */
export async function agentsGone(cluster: Cluster, clock: Clock): Promise<void> {
  await cluster.delete(KIND.daemonsets, NAMESPACE, 'cni')
  await ended(cluster, clock, `${PODS},app=cni`)
}

/** Waits until the pods of the mesh have ended; they may write until then. */
export function podsGone(cluster: Cluster, clock: Clock): Promise<void> {
  return ended(cluster, clock, PODS)
}

async function ended(cluster: Cluster, clock: Clock, labels: string): Promise<void> {
  const endMs = clock.monotonicMs() + POD_END_MS
  while ((await cluster.list(KIND.pods, NAMESPACE, labels)).length > 0 && clock.monotonicMs() < endMs) await pause(clock, POLL_MS)
}

/**
 * Removes all of it and waits until it is gone, so that an install may follow at once.
 * @returns what was kept and why, a sentence each
 */
export async function removeLeftovers(cluster: Cluster, clock: Clock, tell: (line: string) => void): Promise<string[]> {
  const waypoints = await removeWaypoints(cluster)
  if (waypoints > 0) tell(`removed ${waypoints} objects of waypoints`)
  await removeRoots(cluster)
  const { gone, kept } = await removeDefinitions(cluster)
  const namespace = await cluster.get(KIND.namespaces, undefined, NAMESPACE)
  const isOurs = namespace?.metadata.labels?.[MANAGED_LABEL] === 'weft'
  if (isOurs) await cluster.delete(KIND.namespaces, undefined, NAMESPACE)
  else if (namespace !== undefined) {
    for (const [kind, name] of OWN_OBJECTS) await cluster.delete(kind, NAMESPACE, name)
    kept.push(`the namespace ${NAMESPACE}: weft did not make it`)
  }
  const going: [KindPath, string][] = gone.map((name) => [KIND.definitions, name])
  await awaitEnd(cluster, clock, isOurs ? [...going, [KIND.namespaces, NAMESPACE]] : going)
  return kept
}

async function awaitEnd(cluster: Cluster, clock: Clock, objects: readonly (readonly [KindPath, string])[]): Promise<void> {
  const endMs = clock.monotonicMs() + DELETE_MS
  for (const [kind, name] of objects) {
    while (clock.monotonicMs() < endMs && (await cluster.get(kind, undefined, name)) !== undefined) await pause(clock, POLL_MS)
  }
}

async function removeWaypoints(cluster: Cluster): Promise<number> {
  let count = 0
  for (const kind of [KIND.deployments, KIND.budgets, KIND.services, KIND.serviceaccounts]) {
    for (const { metadata } of await cluster.list(kind, undefined, WAYPOINT_PARTS)) {
      await cluster.delete(kind, metadata.namespace, metadata.name)
      count += 1
    }
  }
  return count
}

/** Istio's control plane writes ConfigMaps of the same name: those stay. */
async function removeRoots(cluster: Cluster): Promise<void> {
  for (const { metadata } of await cluster.list<Managed>(KIND.configmaps, undefined, ROOT_LABEL)) {
    const { name, namespace, managedFields = [] } = metadata
    const isOurs = managedFields.length > 0 && managedFields.every(({ manager }) => manager === 'weft')
    if (name === ROOT_CONFIG_MAP && isOurs) await cluster.delete(KIND.configmaps, namespace, name)
  }
}

/** A definition goes when it came with us and no object needs it. All are looked at before the first goes: the API server pauses then. */
async function removeDefinitions(cluster: Cluster): Promise<{ readonly gone: string[]; readonly kept: string[] }> {
  const own = await cluster.get<Definition>(KIND.definitions, undefined, OWN_DEFINITION)
  const found = [...(own === undefined ? [] : [own]), ...(await cluster.list<Definition>(KIND.definitions, undefined, BUNDLED))]
  const counted: { readonly name: string; readonly count: number }[] = []
  for (const { metadata, spec } of found) {
    const version = (spec.versions.find(({ storage }) => storage === true) ?? spec.versions[0])?.name ?? ''
    const objects = await cluster.list({ group: spec.group, version, plural: spec.names.plural })
    counted.push({ name: metadata.name, count: objects.length })
  }
  const gone = counted.filter(({ count }) => count === 0).map(({ name }) => name)
  for (const name of gone) await cluster.delete(KIND.definitions, undefined, name)
  const kept = counted.filter(({ count }) => count > 0).map(({ name, count }) => `the definition ${name}: ${count} of your objects need it`)
  return { gone, kept }
}
