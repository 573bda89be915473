// Deployments, straight to pods: a hash of the template names the generation of a pod; a new template replaces pods step by
// step within maxSurge and maxUnavailable. Follows Kubernetes' deployment controller without ReplicaSets.
import { createHash, randomBytes } from 'node:crypto'
import type { Deployment, DeploymentSpec, DeploymentStatus, Pod } from '../../model/object.ts'
import { selectorMatches } from '../../model/object.ts'
import type { ObjectStore } from '../store.ts'

/** Label that names the template a pod was made from. */
export const TEMPLATE_HASH_LABEL = 'pod-template-hash'

/** Brings every Deployment's pods one step nearer to its spec. */
export function deployments(store: ObjectStore): void {
  const pods = store.list('pods') as Pod[]
  for (const deployment of store.list('deployments') as Deployment[]) {
    if (deployment.metadata.deletionTimestamp !== undefined || deployment.spec === undefined) continue
    const own = pods.filter((pod) => pod.metadata.ownerReferences?.some((owner) => owner.uid === deployment.metadata.uid) === true)
    reconcile(store, deployment, deployment.spec, own)
  }
}

/** How many pods to make and which to delete. Pure. */
export function planRollout(
  spec: DeploymentSpec,
  hash: string,
  pods: readonly Pod[],
): { readonly create: number; readonly remove: readonly Pod[] } {
  const replicas = spec.replicas ?? 1
  const live = pods.filter((pod) => pod.metadata.deletionTimestamp === undefined && !isOver(pod))
  const current = live.filter((pod) => pod.metadata.labels?.[TEMPLATE_HASH_LABEL] === hash)
  const old = live.filter((pod) => pod.metadata.labels?.[TEMPLATE_HASH_LABEL] !== hash)
  const over = pods.filter((pod) => isOver(pod) && pod.metadata.deletionTimestamp === undefined)
  if (spec.strategy?.type === 'Recreate') {
    if (old.length > 0) return { create: 0, remove: [...over, ...old] }
    const going = pods.some((pod) => pod.metadata.labels?.[TEMPLATE_HASH_LABEL] !== hash)
    return { create: going ? 0 : Math.max(0, replicas - current.length), remove: [...over, ...surplus(current, replicas)] }
  }
  const surge = amount(spec.strategy?.rollingUpdate?.maxSurge ?? '25%', replicas, 'up')
  let unavailable = amount(spec.strategy?.rollingUpdate?.maxUnavailable ?? '25%', replicas, 'down')
  if (surge === 0 && unavailable === 0) unavailable = 1 // else it could never move
  const create = Math.max(0, Math.min(replicas - current.length, replicas + surge - live.length))
  const spare = live.filter(isReady).length - (replicas - unavailable)
  const unready = old.filter((pod) => !isReady(pod))
  const ready = old.filter(isReady).slice(0, Math.max(0, spare))
  return { create, remove: [...over, ...surplus(current, replicas), ...unready, ...ready] }
}

/** Ten letters that depend on the template only. */
export function templateHash(template: DeploymentSpec['template']): string {
  const digest = createHash('sha256').update(JSON.stringify(template)).digest()
  return [...digest.subarray(0, 10)].map((byte) => LETTERS[byte % LETTERS.length]).join('')
}

/** Whether a pod has the condition Ready. */
export function isReady(pod: Pod): boolean {
  return pod.status?.conditions?.some((one) => one.type === 'Ready' && one.status === 'True') === true
}

const LETTERS = 'bcdfghjklmnpqrstvwxz2456789' // Kubernetes': no vowels, no words by chance

function reconcile(store: ObjectStore, deployment: Deployment, spec: DeploymentSpec, pods: readonly Pod[]): void {
  const hash = templateHash(spec.template)
  const { create, remove } = planRollout(spec, hash, pods)
  for (let i = 0; i < create; i++) store.put(newPod(deployment, spec, hash))
  for (const pod of remove) store.delete('pods', pod.metadata.namespace, pod.metadata.name)
  const status: DeploymentStatus = {
    observedGeneration: deployment.metadata.generation ?? 1,
    replicas: pods.length,
    updatedReplicas: pods.filter((pod) => pod.metadata.labels?.[TEMPLATE_HASH_LABEL] === hash).length,
    readyReplicas: pods.filter(isReady).length,
    availableReplicas: pods.filter((pod) => isReady(pod) && pod.metadata.deletionTimestamp === undefined).length,
  }
  store.put({ ...deployment, status })
}

function newPod(deployment: Deployment, spec: DeploymentSpec, hash: string): Pod {
  const { metadata, spec: podSpec } = spec.template
  const { name, namespace = 'default', uid = '' } = deployment.metadata
  const suffix = [...randomBytes(5)].map((byte) => LETTERS[byte % LETTERS.length]).join('')
  if (!selectorMatches(spec.selector, metadata?.labels))
    throw new RangeError(`deployment ${namespace}/${name}: the selector does not match the template`)
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: `${name.slice(0, 240)}-${hash}-${suffix}`,
      namespace,
      labels: { ...metadata?.labels, [TEMPLATE_HASH_LABEL]: hash },
      ...(metadata?.annotations === undefined ? {} : { annotations: metadata.annotations }),
      ownerReferences: [{ apiVersion: 'apps/v1', kind: 'Deployment', name, uid, controller: true }],
    },
    spec: { serviceAccountName: 'default', ...podSpec },
    status: { phase: 'Pending' },
  }
}

/** Pods above the wanted number: those that are not ready first, then the youngest. */
function surplus(pods: readonly Pod[], replicas: number): Pod[] {
  const order = [...pods].sort((a, b) => Number(isReady(a)) - Number(isReady(b)) || compare(b, a))
  return order.slice(0, Math.max(0, pods.length - replicas))
}

function compare(a: Pod, b: Pod): number {
  return (a.metadata.creationTimestamp ?? '').localeCompare(b.metadata.creationTimestamp ?? '')
}

function isOver(pod: Pod): boolean {
  return pod.status?.phase === 'Failed' || pod.status?.phase === 'Succeeded'
}

function amount(value: number | string, replicas: number, round: 'up' | 'down'): number {
  if (typeof value === 'number') return value
  const exact = (Number.parseInt(value, 10) / 100) * replicas
  return round === 'up' ? Math.ceil(exact) : Math.floor(exact)
}
