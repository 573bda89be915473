// The ztunnel process put together, on the admin thread: source of the mesh's description, certificates, announced pods, data
// threads, admin servers, and the one way down. Called by main.ts.
import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { AggregatorRegistry, collectDefaultMetrics, Registry } from 'prom-client'
import { parseWorkloadId } from '../certs/spiffe.ts'
import { systemClock } from '../kit/clock.ts'
import { messageOf } from '../kit/error.ts'
import type { RootLog } from '../kit/log.ts'
import { Readiness } from '../kit/ready.ts'
import { dumpSettings } from '../kit/settings.ts'
import { raiseFileLimit } from '../linux/limits.ts'
import { trimHeap } from '../linux/memory.ts'
import { makeCounter, makeGauge } from '../telemetry/metrics.ts'
import type { DeltaClient } from '../xds/delta-client.ts'
import { ZdsClient } from '../zds/client.ts'
import { dumpIdentity } from './admin/certificates.ts'
import { configDump } from './admin/config-dump.ts'
import { Mirror } from './admin/mirror.ts'
import { AdminServers } from '../telemetry/admin-server.ts'
import type { PodConnections, PodInfo } from './channel.ts'
import { Enroller } from './enroll.ts'
import { CaClient } from '../identity/ca-client.ts'
import type { WorkloadCertificate } from '../identity/ca-client.ts'
import { CertificateManager } from '../identity/manager.ts'
import { SETTINGS } from './settings.ts'
import type { ZtunnelSettings } from './settings.ts'
import { FileSource } from './source-file.ts'
import { xdsSource } from './source-xds.ts'
import type { StateChange } from '../state/store.ts'
import { DataThreads } from './threads.ts'
import type { ThreadNote } from './threads.ts'
import { MemoryTrimmer } from './trim.ts'

const RESERVED_SHARE = 0.2 // of the file limit: admin, xDS and certificates keep working under a flood

/** A running ztunnel. */
export class Ztunnel {
  readonly #settings: ZtunnelSettings
  readonly #log: RootLog
  readonly #metrics = new Registry()
  readonly #readiness = new Readiness()
  readonly #mirror = new Mirror()
  readonly #threads: DataThreads
  readonly #certificates: CertificateManager
  readonly #enroller: Enroller
  readonly #zds: ZdsClient
  #admin: AdminServers | undefined
  #trimmer: MemoryTrimmer | undefined
  #source: DeltaClient | FileSource | undefined
  #quit: () => void = () => undefined

  private constructor(settings: ZtunnelSettings, log: RootLog, threads: DataThreads, certificates: CertificateManager) {
    this.#settings = settings
    this.#log = log
    this.#threads = threads
    this.#certificates = certificates
    this.#enroller = this.#makeEnroller()
    certificates.onRenewed((certificate) => threads.send(certificateMessage(certificate)))
    this.#makeMetrics()
    this.#startSource()
    this.#zds = ZdsClient.start({
      path: settings.zdsPath,
      log: log.scope('zds'),
      clock: systemClock,
      onRequest: (request) => this.#enroller.request(request),
      onState: (isConnected) => this.#enroller.connection(isConnected),
    })
  }

  /**
   * Starts everything; ready is said by readiness, not by this.
   * @param onFailure the process cannot go on: end it
   * @throws MeshError LOCAL_XDS_INVALID, THREAD_FAILED; Error of a listener (EADDRINUSE)
   */
  static async start(settings: ZtunnelSettings, log: RootLog, onFailure: (error: Error) => void): Promise<Ztunnel> {
    const files = raiseFileLimit()
    const certificates = new CertificateManager({
      caClient: new CaClient({
        clock: systemClock,
        address: settings.caAddress === '' ? settings.xdsAddress : settings.caAddress,
        serverName: settings.caServerName,
        roots: () => readFileSync(settings.rootCert),
        token: () => readFileSync(settings.tokenPath, 'utf8').trim(),
        clusterId: settings.clusterId,
        ttlMs: settings.secretTtlMs,
      }),
      clock: systemClock,
      log: log.scope('identity'),
      random: Math.random,
    })
    const descriptors = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT)
    const count = settings.threads === 0 ? availableParallelism() : settings.threads
    const maxDescriptors = Math.floor(files * (1 - RESERVED_SHARE))
    const starts = Array.from({ length: count }, (_, index) => ({ settings, index, descriptors, maxDescriptors }))
    const threads = await DataThreads.start({
      starts,
      clock: systemClock,
      onNote: (note, thread) => ztunnel?.note(note, thread),
      onFailure,
    })
    const ztunnel: Ztunnel = new Ztunnel(settings, log, threads, certificates)
    await ztunnel.#startAdmin()
    const openDescriptors = new Int32Array(descriptors)
    ztunnel.#trimmer = new MemoryTrimmer({ clock: systemClock, open: () => Atomics.load(openDescriptors, 0), trim: trimHeap })
    log.info('ztunnel has started', { threads: count, files })
    return ztunnel
  }

  /** Called when somebody asks over HTTP for the end of the process. */
  onQuit(quit: () => void): void {
    this.#quit = quit
  }

  /** Acts on what a data thread says. */
  note(note: ThreadNote, thread: number): void {
    if (note.kind === 'demand') {
      if (this.#source !== undefined && 'demand' in this.#source) this.#source.demand(ADDRESS, note.name)
      return
    }
    const identity = parseWorkloadId(note.id)
    if (!identity.ok) {
      this.#log.error('a thread asked for an identity that is none', { id: note.id })
      return
    }
    this.#certificates.get(identity.value, note.priority).then(
      (certificate) => this.#threads.sendTo(thread, certificateMessage(certificate)),
      (error: unknown) => this.#threads.sendTo(thread, { kind: 'certificate-failed', id: note.id, reason: messageOf(error) }),
    )
  }

  /** The way down: no new pods, no new connections, live ones until the grace is over. */
  async drain(): Promise<void> {
    this.#readiness.await('draining')
    this.#zds.close()
    this.#enroller.close()
    const forced = await this.#threads.drain(this.#settings.gracePeriodMs)
    this.#source?.stop()
    this.#admin?.close()
    this.#trimmer?.[Symbol.dispose]()
    await this.#threads.close()
    this.#log.info('ztunnel has ended', { forced })
  }

  #startSource(): void {
    const { settings, log } = { settings: this.#settings, log: this.#log.scope('xds') }
    const synced = this.#readiness.await('state from the control plane')
    const onChange = (change: StateChange): void => {
      this.#mirror.apply(change)
      this.#threads.send({ kind: 'state', change })
    }
    if (settings.localXdsPath !== '') {
      const file = new FileSource({ path: settings.localXdsPath, log, onChange })
      file.start()
      this.#source = file
      synced[Symbol.dispose]()
      return
    }
    const messages = makeCounter(this.#metrics, 'istio_xds_message_total', ['url'])
    const bytes = makeCounter(this.#metrics, 'istio_xds_message_bytes_total', ['url'])
    const ends = makeCounter(this.#metrics, 'istio_xds_connection_terminations_total', ['reason'])
    let wasConnected = false
    const client = xdsSource({
      settings,
      log,
      clock: systemClock,
      onChange,
      onPush: (url, size) => {
        messages.inc({ url })
        bytes.inc({ url }, size)
      },
      onState: ({ isConnected, isSynced }) => {
        if (wasConnected && !isConnected) ends.inc({ reason: 'disconnected' })
        wasConnected = isConnected
        if (isSynced) synced[Symbol.dispose]()
      },
    })
    client.start()
    this.#source = client
  }

  async #startAdmin(): Promise<void> {
    const { adminPort, statsPort, readyPort, isIpv6Enabled, monitoringIp } = this.#settings
    this.#admin = await AdminServers.start({
      process: 'ztunnel',
      adminPort,
      statsPort,
      readyPort,
      isIpv6Enabled,
      monitoringIp,
      log: this.#log.scope('admin'),
      actions: {
        configDump: () => this.#dump(),
        metrics: () => this.#collect(),
        waitingFor: () => [...this.#readiness.waitingFor(), ...this.#enroller.waitingFor()],
        logLevels: () => this.#log.levels(),
        setLogLevels: (text) => {
          const levels = text ?? this.#settings.log
          this.#log.setLevels(levels)
          this.#threads.send({ kind: 'log-levels', text: levels })
        },
        quit: () => this.#quit(),
      },
    })
  }

  async #dump(): Promise<unknown> {
    const answers = (await this.#threads.query('connections')) as PodConnections[][]
    return configDump({
      workloads: this.#mirror.workloads.values(),
      services: this.#mirror.services.values(),
      policies: this.#mirror.policies.values(),
      networks: this.#mirror.networks,
      certificates: this.#certificates.list().map(dumpIdentity),
      pods: this.#enroller.list(),
      connections: answers.flat(),
      config: dumpSettings(SETTINGS, this.#settings),
      version: { version: VERSION, interpreter: process.version },
    })
  }

  /** One text for the process: the threads' registries and this thread's added up. */
  async #collect(): Promise<Iterable<string>> {
    const answers = (await this.#threads.query('metrics')) as object[]
    return [await AggregatorRegistry.aggregate([await this.#metrics.getMetricsAsJSON(), ...answers] as never).metrics()]
  }

  #makeEnroller(): Enroller {
    const started = makeCounter(this.#metrics, 'istio_proxies_started_total')
    const stopped = makeCounter(this.#metrics, 'istio_proxies_stopped_total')
    return new Enroller({
      server: this.#threads,
      log: this.#log.scope('inpod'),
      clock: systemClock,
      onStarted: () => started.inc(),
      onStopped: (info) => {
        stopped.inc()
        const isSame = (other: PodInfo): boolean => other.namespace === info.namespace && other.serviceAccount === info.serviceAccount
        if (this.#enroller.list().some((pod) => isSame(pod.info))) return
        const { namespace, serviceAccount } = info
        this.#certificates.forget({ trustDomain: this.#settings.trustDomain, namespace, serviceAccount })
      },
    })
  }

  #makeMetrics(): void {
    collectDefaultMetrics({ register: this.#metrics })
    const count = (state: 'Up' | 'Pending'): number => this.#enroller.list().filter((pod) => pod.state === state).length
    makeGauge(this.#metrics, 'istio_active_proxy_count', [], (gauge) => gauge.set(count('Up')))
    makeGauge(this.#metrics, 'istio_pending_proxy_count', [], (gauge) => gauge.set(count('Pending')))
    makeGauge(this.#metrics, 'istio_build', ['component', 'tag'], (gauge) => gauge.set({ component: 'ztunnel', tag: VERSION }, 1))
  }
}

const ADDRESS = 'type.googleapis.com/istio.workload.Address'
const VERSION = '0.1.0'

function certificateMessage(certificate: WorkloadCertificate): Parameters<DataThreads['send']>[0] {
  return {
    kind: 'certificate',
    id: certificate.id,
    chainPem: certificate.chainPem,
    keyPem: certificate.keyPem,
    rootsPem: certificate.rootsPem,
    notAfterMs: certificate.notAfter.getTime(),
  }
}
