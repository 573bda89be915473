// The objects that the agent follows, and those that it asks for when its copy is behind: the kubelet may start a pod
// before our watch has told us of it.
import { type Clock, pause } from '../kit/clock.ts'
import { codeOf } from '../kit/error.ts'
import type { Log } from '../kit/log.ts'
import type { EndpointSlice, MeshObject, Namespace, Node, Pod, Service } from '../model/object.ts'
import type { Informer, ObjectApi } from '../objects/api.ts'
import { cniFailure } from './errors.ts'

/** What the constructor takes. */
export interface AgentObjectsOptions {
  readonly api: ObjectApi
  readonly node: string
  /** Whether services and their endpoints are followed. */
  readonly hasServices: boolean
  /** Whether the objects are Kubernetes': then only this node's pods are asked for, and its Node is followed. */
  readonly isKubernetes: boolean
  readonly log: Log
  readonly clock: Clock
  readonly signal: AbortSignal
  onSync(): void
  onPod(pod: Pod, isDeleted: boolean): void
  onNamespace(name: string): void
  onServices(): void
  onNode(): void
}

const NAMESPACE_WAIT_MS = 1_000
const NAMESPACE_POLL_MS = 20

const STATIC_POD_ANNOTATION = 'kubernetes.io/config.hash'

/** By which uid the node knows a pod. A static pod's object in the API has another: it only stands for the pod. */
export function nodeUidOf(pod: Pod): string {
  return pod.metadata.annotations?.[STATIC_POD_ANNOTATION] ?? pod.metadata.uid ?? ''
}

/** The agent's copy. Empty until `onSync`. */
export class AgentObjects {
  readonly #options: AgentObjectsOptions
  readonly #informer: Informer
  #isSynced = false

  /** Begins to follow at once. */
  constructor(options: AgentObjectsOptions) {
    this.#options = options
    const { api, node, hasServices, isKubernetes, log, clock, signal } = options
    this.#informer = api.inform({
      kinds: ['namespaces', 'pods', ...(hasServices ? ['services', 'endpointslices'] : []), ...(isKubernetes ? ['nodes'] : [])],
      fieldSelectors: { pods: `spec.nodeName=${node}`, nodes: `metadata.name=${node}` },
      log,
      clock,
      signal,
      onSync: () => {
        this.#isSynced = true
        queueMicrotask(() => options.onSync()) // after the constructor
      },
      onEvent: ({ type, object }) => this.#changed(object, type === 'DELETED'),
    })
  }

  /** Resolves when everything is known, or the signal aborts; never rejects. */
  get synced(): Promise<void> {
    return this.#informer.synced
  }

  isSynced(): boolean {
    return this.#isSynced
  }

  /** Pods of this node. */
  pods(): Pod[] {
    return ([...this.#informer.objects('pods')] as Pod[]).filter((pod) => pod.spec?.nodeName === this.#options.node)
  }

  pod(namespace: string, name: string): Pod | undefined {
    return this.#informer.get('pods', namespace, name) as Pod | undefined
  }

  namespace(name: string): Namespace | undefined {
    return this.#informer.get('namespaces', undefined, name) as Namespace | undefined
  }

  services(): Iterable<Service> {
    return this.#informer.objects('services') as Iterable<Service>
  }

  slices(): Iterable<EndpointSlice> {
    return this.#informer.objects('endpointslices') as Iterable<EndpointSlice>
  }

  /** Our own Node; undefined = not known (yet), or the local runtime. */
  node(): Node | undefined {
    return this.#informer.get('nodes', undefined, this.#options.node) as Node | undefined
  }

  /** @throws MeshError POD_UNKNOWN, or what the API says when it cannot be asked */
  async currentPod(namespace: string, name: string, uid: string | undefined): Promise<Pod> {
    const seen = this.pod(namespace, name)
    const pod = seen !== undefined && isSamePod(seen, uid) ? seen : await this.#fetch<Pod>('pods', namespace, name)
    if (pod === undefined || !isSamePod(pod, uid)) throw cniFailure('POD_UNKNOWN', { pod: name, namespace, uid })
    return pod
  }

  /**
   * On Kubernetes a namespace is made before its first pod, so that our copy knows it in a moment; elsewhere there may be none.
   * @throws MeshError NAMESPACE_UNKNOWN, or what the API says when it cannot be asked
   */
  async currentNamespace(name: string): Promise<Namespace | undefined> {
    const { clock, signal, isKubernetes } = this.#options
    if (!isKubernetes) return this.namespace(name) ?? (await this.#fetch<Namespace>('namespaces', undefined, name))
    const deadlineMs = clock.monotonicMs() + NAMESPACE_WAIT_MS
    for (;;) {
      const namespace = this.namespace(name)
      if (namespace !== undefined) return namespace
      if (signal.aborted || clock.monotonicMs() >= deadlineMs) throw cniFailure('NAMESPACE_UNKNOWN', { namespace: name })
      await pause(clock, NAMESPACE_POLL_MS, signal)
    }
  }

  async #fetch<T extends MeshObject>(kind: string, namespace: string | undefined, name: string): Promise<T | undefined> {
    try {
      return (await this.#options.api.get(kind, namespace, name)) as T
    } catch (error) {
      if (codeOf(error) === 'NOT_FOUND') return undefined
      throw error
    }
  }

  #changed(object: MeshObject, isDeleted: boolean): void {
    const { onPod, onNamespace, onServices, onNode } = this.#options
    if (object.kind === 'Namespace') onNamespace(object.metadata.name)
    else if (object.kind === 'Pod') onPod(object as Pod, isDeleted)
    else if (object.kind === 'Node') onNode()
    else onServices()
  }
}

function isSamePod(pod: Pod, uid: string | undefined): boolean {
  return uid === undefined || pod.metadata.uid === uid || nodeUidOf(pod) === uid
}
