// Pods by name, and which identities run on which node: what the CA asks before it signs. Brought up to date with every event,
// so that issuing stops as soon as the last pod of an identity has left a node.
import type { ObjectEvent, Pod } from '../../model/object.ts'

/** A live index of pods. */
export class PodIndex {
  readonly #pods = new Map<string, Pod>()
  readonly #identities = new Map<string, number>() // `node namespace/account` -> how many pods run there, > 0

  /** Takes the first list. */
  fill(pods: Iterable<Pod>): void {
    for (const pod of pods) this.#put(pod)
  }

  /** Takes one event; other kinds are ignored. */
  apply(event: ObjectEvent): void {
    if (event.object.kind !== 'Pod') return
    const pod = event.object as Pod
    if (event.type !== 'DELETED') this.#put(pod)
    else if (this.#pods.get(keyOf(pod))?.metadata.uid === pod.metadata.uid) this.#remove(pod) // not its successor of the same name
  }

  get(namespace: string, name: string): Pod | undefined {
    return this.#pods.get(`${namespace}/${name}`)
  }

  /** Whether a pod with this account runs (or is being started or ended) on the node. */
  runsOn(node: string, namespace: string, serviceAccount: string): boolean {
    return this.#identities.has(identityKey(node, namespace, serviceAccount))
  }

  #put(pod: Pod): void {
    const key = keyOf(pod)
    this.#remove(pod)
    this.#pods.set(key, pod)
    const identity = identityOf(pod)
    if (identity === undefined) return
    this.#identities.set(identity, (this.#identities.get(identity) ?? 0) + 1)
  }

  #remove(pod: Pod): void {
    const key = keyOf(pod)
    const old = this.#pods.get(key)
    if (old === undefined) return
    this.#pods.delete(key)
    const identity = identityOf(old)
    if (identity === undefined) return
    const left = (this.#identities.get(identity) ?? 1) - 1
    if (left === 0) this.#identities.delete(identity)
    else this.#identities.set(identity, left)
  }
}

/** Account of a pod. */
export function serviceAccountOf(pod: Pod): string {
  return pod.spec?.serviceAccountName ?? 'default'
}

/** Whether the pod's processes have ended for good. */
export function hasEnded(pod: Pod): boolean {
  return pod.status?.phase === 'Failed' || pod.status?.phase === 'Succeeded'
}

function keyOf(pod: Pod): string {
  return `${pod.metadata.namespace ?? ''}/${pod.metadata.name}`
}

function identityOf(pod: Pod): string | undefined {
  const node = pod.spec?.nodeName ?? ''
  if (node === '' || hasEnded(pod)) return undefined
  return identityKey(node, pod.metadata.namespace ?? '', serviceAccountOf(pod))
}

function identityKey(node: string, namespace: string, serviceAccount: string): string {
  return `${node} ${namespace}/${serviceAccount}`
}
