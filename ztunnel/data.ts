// Entry of a data thread: a replica of the mesh, the pods that are served here, their connections. Everything comes and goes as
// messages of channel.ts; the admin thread's end is threads.ts.
import { parentPort, workerData } from 'node:worker_threads'
import { Registry } from 'prom-client'
import { hasSocketRegistry, openSocketRegistry } from '../bpf/registry.ts'
import type { SocketRegistry } from '../bpf/registry.ts'
import { pause, systemClock } from '../kit/clock.ts'
import { messageOf } from '../kit/error.ts'
import { createLog } from '../kit/log.ts'
import type { RootLog } from '../kit/log.ts'
import { AccessLog } from '../telemetry/access-log.ts'
import { makeCounter, makeGauge, TcpMetrics } from '../telemetry/metrics.ts'
import type { DataThreadStart, Query, ToAdmin, ToData } from './channel.ts'
import { CredentialStore } from '../identity/credentials.ts'
import { RecordBook } from '../telemetry/connection-record.ts'
import { nameLookUp } from '../state/name-lookup.ts'
import { Names } from '../state/names.ts'
import { PodDns, upstreamServers } from './pod-dns.ts'
import { EnrolledPod } from './pod.ts'
import { DescriptorBudget } from './proxy/budget.ts'
import type { ProxyContext } from './proxy/context.ts'
import { Replica } from './replica.ts'

/** A data thread's state and how messages change it. */
export class DataThread {
  readonly #start: DataThreadStart
  readonly #post: (message: ToAdmin) => void
  readonly #log: RootLog
  readonly #metrics = new Registry()
  readonly #pods = new Map<string, EnrolledPod>()
  readonly #replica: Replica
  readonly #context: ProxyContext
  readonly #dns: PodDns
  #registry: SocketRegistry | undefined

  constructor(start: DataThreadStart, post: (message: ToAdmin) => void) {
    const { settings } = start
    this.#start = start
    this.#post = post
    this.#log = createLog({ process: 'ztunnel', levels: settings.log })
    const names = new Names({ lookUp: nameLookUp(upstreamServers(settings.dnsUpstreams)), clock: systemClock })
    this.#replica = new Replica(systemClock, settings.isOnDemand ? (name) => post({ kind: 'demand', name }) : undefined, names)
    const metrics = new TcpMetrics(this.#metrics)
    this.#context = {
      settings,
      clock: systemClock,
      log: this.#log.scope('proxy'),
      mesh: this.#replica,
      metrics,
      credentials: new CredentialStore({
        trustDomain: settings.trustDomain,
        clock: systemClock,
        waitMs: settings.certificateWaitMs,
        request: (id, priority) => post({ kind: 'need-certificate', id, priority }),
      }),
      records: new RecordBook({ metrics, access: new AccessLog(this.#log), clock: systemClock }),
      refused: makeCounter(this.#metrics, 'weft_refused_total', ['direction', 'code']),
      sourcesIgnored: makeCounter(this.#metrics, 'weft_source_ignored_total', []),
      budget: new DescriptorBudget(start.descriptors, start.maxDescriptors),
    }
    this.#dns = new PodDns({ settings, clock: systemClock, replica: this.#replica, metrics: this.#metrics })
    makeGauge(this.#metrics, 'weft_handshakes_open', [], (gauge) => gauge.set(sum([...this.#pods.values()].map((pod) => pod.handshakes))))
    this.#replica.onPolicyChange(() => this.#recheck())
    this.#replica.onAddressesGone((addresses) => {
      for (const pod of this.#pods.values()) pod.forgetPeers(addresses)
    })
  }

  /** Acts on one message; never throws. */
  receive(message: ToData): void {
    switch (message.kind) {
      case 'state':
        this.#replica.apply(message.change)
        break
      case 'pod-add':
        void this.#addPod(message)
        break
      case 'pod-remove':
        this.#removePod(message.uid)
        break
      case 'certificate':
        this.#context.credentials.put(message)
        break
      case 'certificate-failed':
        this.#context.credentials.failed(message.id, message.reason)
        break
      case 'log-levels':
        this.#log.setLevels(message.text)
        break
      case 'drain':
        void this.#drain(message.graceMs)
        break
      case 'query':
        void this.#answer(message.id, message.what)
        break
    }
  }

  async #addPod(message: Extract<ToData, { kind: 'pod-add' }>): Promise<void> {
    const { uid, info, netnsFd, inode } = message
    try {
      this.#reopenRegistry()
      const old = this.#pods.get(uid)
      if (old !== undefined && old.inode === inode) {
        old.register()
      } else {
        old?.remove('WORKLOAD_REMOVED')
        const startDns = this.#dns.start.bind(this.#dns)
        const pod = new EnrolledPod({ uid, info, netnsFd, inode, registry: () => this.#registry, startDns }, this.#context)
        await pod.start()
        this.#pods.set(uid, pod)
      }
      this.#post({ kind: 'pod-added', uid })
    } catch (error) {
      this.#post({ kind: 'pod-failed', uid, reason: messageOf(error) })
    }
  }

  #removePod(uid: string): void {
    const pod = this.#pods.get(uid)
    this.#pods.delete(uid)
    pod?.remove('WORKLOAD_REMOVED')
    const { credentials } = this.#context
    if (pod !== undefined && ![...this.#pods.values()].some((other) => other.context.id === pod.context.id))
      credentials.forget(pod.context.id)
    this.#post({ kind: 'pod-removed', uid })
  }

  /** The agent may have made its maps anew: what was opened before would then reach nobody. Without maps, marks exempt. */
  #reopenRegistry(): void {
    const { bpffsDir } = this.#start.settings
    if (bpffsDir === '') return
    const old = this.#registry
    this.#registry = hasSocketRegistry(bpffsDir) ? openSocketRegistry(bpffsDir) : undefined
    old?.[Symbol.dispose]()
  }

  #recheck(): void {
    const closed = sum([...this.#pods.values()].map((pod) => pod.recheck()))
    if (closed > 0) this.#log.info('a policy change closed connections', { count: closed })
  }

  async #drain(graceMs: number): Promise<void> {
    const pods = [...this.#pods.values()]
    const idle = Promise.all(pods.map((pod) => pod.drain()))
    await Promise.race([idle, pause(systemClock, graceMs)])
    const forced = sum(pods.map((pod) => pod.remove('DRAINED')))
    await pause(systemClock, FLUSH_MS)
    this.#post({ kind: 'drained', forced })
  }

  async #answer(id: number, what: Query): Promise<void> {
    const value = what === 'metrics' ? await this.#metrics.getMetricsAsJSON() : [...this.#pods.values()].map((pod) => pod.dump())
    this.#post({ kind: 'answer', id, value })
  }
}

const FLUSH_MS = 50 // so that forced connections write their access lines and GOAWAYs leave

function sum(counts: readonly number[]): number {
  return counts.reduce((total, count) => total + count, 0)
}

if (parentPort !== null) {
  const port = parentPort
  const thread = new DataThread(workerData as DataThreadStart, (message) => port.postMessage(message))
  port.on('message', (message: ToData) => thread.receive(message))
  port.postMessage({ kind: 'ready' } satisfies ToAdmin)
}
