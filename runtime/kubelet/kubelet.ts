// Kubelet in small: follows the pods of its node and runs a worker for each. What an earlier kubelet left is removed first;
// its pods get new sandboxes.
import { join } from 'node:path'
import type { Clock } from '../../kit/clock.ts'
import { messageOf } from '../../kit/error.ts'
import type { Log } from '../../kit/log.ts'
import type { MeshObject, Pod } from '../../model/object.ts'
import { ObjectClient } from '../../objects/client.ts'
import type { Informer } from '../../objects/api.ts'
import { informer } from '../../objects/informer.ts'
import { COMPONENT_ANNOTATION, listDir, type MeshLayout, type NodeLayout, podDir } from '../layout.ts'
import { AddressPool } from './addresses.ts'
import { EventRecorder } from './events.ts'
import { PodWorker, type WorkerContext } from './pod-worker.ts'
import { callCni, forgetSandbox, readSandbox, removeSandbox } from './sandbox.ts'

/** Pods that start or end at the same time; each costs some process starts. */
const MAX_STARTS = 4

/** Settings of a kubelet. */
export interface KubeletOptions {
  readonly mesh: MeshLayout
  readonly node: NodeLayout
  readonly images: Readonly<Record<string, string>>
  readonly hasCni: boolean
  readonly clock: Clock
  readonly log: Log
}

/** One node's kubelet. */
export class Kubelet {
  readonly #options: KubeletOptions
  readonly #context: WorkerContext
  readonly #workers = new Map<string, { worker: PodWorker; done: Promise<void> }>()
  readonly #stop = new AbortController()
  #informer: Informer | undefined

  constructor(options: KubeletOptions) {
    this.#options = options
    const client = new ObjectClient({ socketPath: options.mesh.apiSocket })
    const { mesh, node, images, hasCni, clock, log } = options
    const events = new EventRecorder({ client, clock, log, component: 'kubelet', host: node.name })
    this.#context = {
      mesh,
      node,
      client,
      clock,
      log,
      events,
      images,
      hasCni,
      addresses: new AddressPool(node.index),
      limitStarts: limiter(MAX_STARTS),
    }
  }

  /** Removes leftovers, then follows the node's pods until `stop`. */
  async start(): Promise<void> {
    await this.#removeLeftovers()
    const { client, clock, log } = this.#context
    this.#informer = informer({
      client,
      kinds: ['pods'],
      log,
      clock,
      signal: this.#stop.signal,
      onSync: (all) => {
        for (const pod of all.get('pods') ?? []) this.#take(pod)
      },
      onEvent: ({ type, object }) => (type === 'DELETED' ? this.#drop(object) : this.#take(object)),
    })
    await this.#informer.synced
  }

  /** Ends every pod at once and resolves when their processes are gone; their objects stay. */
  async stop(): Promise<void> {
    this.#stop.abort()
    for (const { worker } of this.#workers.values()) worker.kill({ keepsObject: true })
    await Promise.all([...this.#workers.values()].map(({ done }) => done))
  }

  #take(object: MeshObject): void {
    const pod = object as Pod
    const { uid } = pod.metadata
    if (uid === undefined || pod.spec?.nodeName !== this.#options.node.name) return
    if (pod.metadata.annotations?.[COMPONENT_ANNOTATION] !== undefined) return // the supervisor runs it
    const running = this.#workers.get(uid)
    if (running !== undefined) {
      running.worker.update(pod)
      return
    }
    if (pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed') return
    const worker = new PodWorker(this.#context, pod)
    const done = worker.run().finally(() => this.#workers.delete(uid))
    this.#workers.set(uid, { worker, done })
  }

  #drop(object: MeshObject): void {
    this.#workers.get(object.metadata.uid ?? '')?.worker.kill()
  }

  async #removeLeftovers(): Promise<void> {
    const { mesh, node, hasCni, log } = this.#options
    for (const uid of listDir(mesh.podsDir)) {
      const record = readSandbox(mesh, uid)
      if (record?.node !== node.name) continue
      log.info('removing what an earlier kubelet left', { pod: `${record.namespace}/${record.name}` })
      await removeSandbox(record)
      if (hasCni && !record.isHostNetwork)
        await callCni(node.cniSocket, '/cmddel', record).catch((error: unknown) =>
          log.warn('agent was not told', { error: messageOf(error) }),
        )
      forgetSandbox(mesh, uid)
    }
  }
}

/** Logs of a pod's container below its directory. */
export function logFileOf(mesh: MeshLayout, uid: string, container: string): string {
  return join(podDir(mesh, uid), 'logs', `${container}.log`)
}

/** At most `limit` works at once, first come first served. */
function limiter(limit: number): <T>(work: () => Promise<T>) => Promise<T> {
  let running = 0
  const waiting: (() => void)[] = []
  return async (work) => {
    if (running >= limit) await new Promise<void>((resolve) => waiting.push(resolve))
    else running++
    try {
      return await work()
    } finally {
      const next = waiting.shift()
      if (next === undefined) running--
      else next()
    }
  }
}
