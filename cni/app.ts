// The agent put together: kernel state, ZDS server, plugin socket, informer, repair. Start order: what runs already is
// taken over before anybody may connect; labels are looked at once all objects are known. Stop leaves the kernel as it is.
import type { Clock, Timer } from '../kit/clock.ts'
import { codeOf, messageOf } from '../kit/error.ts'
import type { Log } from '../kit/log.ts'
import { Readiness } from '../kit/ready.ts'
import { cgroupId, makeCgroup } from '../linux/cgroup.ts'
import { raiseFileLimit } from '../linux/limits.ts'
import type { EndpointSlice, MeshObject, Namespace, Pod, Service } from '../model/object.ts'
import { type Informer, type ObjectApi, openObjects } from '../objects/api.ts'
import { ZdsServer } from '../zds/server.ts'
import { Agent } from './agent.ts'
import { cniFailure } from './errors.ts'
import { AgentMetrics } from './metrics.ts'
import { placeOf } from './place.ts'
import { PodFiles } from './pods.ts'
import { Publisher } from './publish.ts'
import { openRedirect } from './redirect/open.ts'
import type { Redirect, RedirectChoice } from './redirect/redirect.ts'
import { reconcile } from './repair.ts'
import type { PluginRequest } from './request.ts'
import { type Door, serveMonitoring, servePlugin } from './server.ts'
import { vipServices } from './services.ts'
import type { AgentSettings } from './settings.ts'
import { Steps } from './steps.ts'
import { CGROUPS, Ztunnels } from './ztunnels.ts'

const KINDS = ['namespaces', 'pods', 'services', 'endpointslices']
/** Bursts of slices (a rollout) are written at once. */
const SERVICES_DELAY_MS = 20

/** The running agent. */
export class AgentApp {
  readonly #settings: AgentSettings
  readonly #log: Log
  readonly #clock: Clock
  readonly #readiness = new Readiness()
  readonly #metrics = new AgentMetrics()
  readonly #stop = new AbortController()
  readonly #client: ObjectApi
  readonly #datapath: Redirect
  readonly #redirect: RedirectChoice
  readonly #ztunnels: Ztunnels
  readonly #agent: Agent
  readonly #doors: Door[] = []
  readonly #ports: readonly number[]
  #informer: Informer | undefined
  #zds: ZdsServer | undefined
  #servicesTimer: Timer | undefined
  #reconcileTimer: Timer | undefined
  #probeGroup: bigint | undefined

  private constructor(settings: AgentSettings, log: Log, clock: Clock) {
    this.#settings = settings
    this.#log = log
    this.#clock = clock
    this.#ports = settings.isDnsRequired ? [15_001, 15_006, 15_008, 15_053] : [15_001, 15_006, 15_008]
    this.#client = openObjects({ source: 'store', socketPath: settings.apiSocket })
    const files = new PodFiles(settings.stateDir, log)
    const { redirect, choice } = openRedirect({ settings, places: () => files.load().map(({ place }) => place), log, clock })
    this.#datapath = redirect
    this.#redirect = choice
    this.#ztunnels = this.#makeZtunnels(this.#datapath)
    const publisher = new Publisher({
      client: this.#client,
      node: settings.node,
      log: log.scope('publish'),
      clock,
      uidOf: (namespace, name) => this.#pod(namespace, name)?.metadata.uid,
    })
    const { releaseWaitMs } = settings
    const steps = new Steps({
      datapath: this.#datapath,
      ztunnels: this.#ztunnels,
      publisher,
      clock,
      requiredPorts: this.#ports,
      releaseWaitMs,
    })
    this.#agent = new Agent({
      node: settings.node,
      steps,
      files,
      ztunnels: this.#ztunnels,
      publisher,
      objects: { pod: (namespace, name) => this.#pod(namespace, name), namespace: (name) => this.#namespace(name) },
      excludedNamespaces: new Set(settings.excludedNamespaces.split(',').map((name) => name.trim())),
      metrics: this.#metrics,
      log: log.scope('enrol'),
      clock,
    })
  }

  /**
   * Runs in the node's network namespace.
   * @throws when the kernel refuses the programs or a socket cannot be opened; what ran before runs on then
   */
  static async start(settings: AgentSettings, log: Log, clock: Clock): Promise<AgentApp> {
    raiseFileLimit()
    const app = new AgentApp(settings, log, clock)
    try {
      await app.#open()
    } catch (error) {
      await app.stop()
      throw error
    }
    return app
  }

  /** Names of what start-up still waits for; empty = ready. */
  waitingFor(): string[] {
    return [...this.#readiness.waitingFor(), ...(this.#ztunnels.isConnected() ? [] : ['ztunnel'])]
  }

  /** Ends servers and watches; every pod stays as it is. */
  async stop(): Promise<void> {
    this.#stop.abort()
    this.#agent.stop()
    this.#servicesTimer?.[Symbol.dispose]()
    this.#reconcileTimer?.[Symbol.dispose]()
    await Promise.all(this.#doors.map((door) => door.close()))
    await this.#zds?.close()
    this.#client[Symbol.dispose]()
    this.#datapath[Symbol.dispose]()
  }

  #makeZtunnels(datapath: Redirect): Ztunnels {
    const { ztunnelCgroup } = this.#settings
    return new Ztunnels({
      datapath,
      cgroups: CGROUPS,
      ztunnelCgroup,
      log: this.#log.scope('zds'),
      clock: this.#clock,
      onRefused: () => this.#metrics.zdsRefused(),
      onLost: (uid, error) => this.#agent.podLost(uid, error),
      onChange: (isConnected) => {
        if (isConnected) this.#agent.retryAll()
      },
    })
  }

  async #open(): Promise<void> {
    const { zdsPath, cniPath, monitoringPort } = this.#settings
    const objects = this.#readiness.await('objects')
    this.#metrics.observe({
      datapath: this.#datapath,
      pods: () => [...this.#agent.runners().values()].map(({ stage, place }) => ({ ...place, stage })),
      isZtunnelConnected: () => this.#ztunnels.isConnected(),
    })
    this.#keepProbeGroup()
    this.#ztunnels.adopt()
    this.#agent.restore()
    this.#zds = ZdsServer.listen({
      path: zdsPath,
      log: this.#log.scope('zds'),
      onConnection: (connection) => this.#ztunnels.accept(connection),
    })
    const handlers = {
      add: (request: PluginRequest) => this.#cmdAdd(request),
      remove: (request: PluginRequest) => this.#cmdDel(request),
      onAnswer: (status: number) => this.#metrics.answered(status),
    }
    this.#doors.push(await servePlugin(cniPath, handlers, this.#log.scope('plugin')))
    const { registry } = this.#metrics
    const monitoring = { port: monitoringPort, registry, waitingFor: () => this.waitingFor(), dump: () => this.#dump(), log: this.#log }
    this.#doors.push(await serveMonitoring(monitoring))
    this.#informer = this.#watch(objects)
    this.#reconcile()
  }

  #watch(ready: Disposable): Informer {
    return this.#client.inform({
      kinds: KINDS,
      log: this.#log.scope('objects'),
      clock: this.#clock,
      signal: this.#stop.signal,
      onSync: () => {
        ready[Symbol.dispose]()
        queueMicrotask(() => this.#agent.namespaceChanged(undefined)) // after `#informer` is set
        this.#servicesChanged()
      },
      onEvent: ({ type, object }) => this.#objectChanged(type, object),
    })
  }

  #objectChanged(type: 'ADDED' | 'MODIFIED' | 'DELETED', object: MeshObject): void {
    if (object.kind === 'Namespace') this.#agent.namespaceChanged(object.metadata.name)
    else if (object.kind === 'Pod' && type !== 'DELETED') this.#agent.podChanged(object as Pod)
    else if (object.kind === 'Service' || object.kind === 'EndpointSlice') this.#servicesChanged()
  }

  #servicesChanged(): void {
    this.#servicesTimer ??= this.#clock.after(SERVICES_DELAY_MS, () => {
      this.#servicesTimer = undefined
      this.#writeServices()
    })
  }

  #writeServices(): void {
    const services = this.#informer?.objects('services') as Iterable<Service>
    const slices = this.#informer?.objects('endpointslices') as Iterable<EndpointSlice>
    if (this.#informer === undefined) return
    try {
      this.#datapath.setServices(vipServices(services, slices, this.#settings.node))
    } catch (error) {
      this.#log.error('services do not fit into the kernel', { error: messageOf(error) })
    }
  }

  async #cmdAdd(request: PluginRequest): Promise<string> {
    const { namespace, name, uid, netns, ips, hostInterface } = request
    const pod = await this.#currentPod(namespace, name, uid)
    const owner = this.#namespace(namespace) ?? (await this.#client.get('namespaces', undefined, namespace).catch(ifMissing<Namespace>))
    const place = placeOf({ pod, netns, ips, hostInterface })
    return this.#agent.add(place, pod, owner as Namespace | undefined, this.#settings.cmdaddTimeoutMs)
  }

  #cmdDel(request: PluginRequest): void {
    const uid = request.uid ?? this.#agent.uidOf(request.namespace, request.name)
    if (uid !== undefined) this.#agent.remove(uid)
  }

  /** The kubelet may know a pod before our watch does. */
  async #currentPod(namespace: string, name: string, uid: string | undefined): Promise<Pod> {
    const seen = this.#pod(namespace, name)
    const pod = seen !== undefined && (uid === undefined || seen.metadata.uid === uid) ? seen : await this.#fetchPod(namespace, name)
    if (pod === undefined || (uid !== undefined && pod.metadata.uid !== uid)) throw cniFailure('POD_UNKNOWN', { pod: name, namespace, uid })
    return pod
  }

  async #fetchPod(namespace: string, name: string): Promise<Pod | undefined> {
    return (await this.#client.get('pods', namespace, name).catch(ifMissing<MeshObject>)) as Pod | undefined
  }

  #pod(namespace: string, name: string): Pod | undefined {
    return this.#informer?.get('pods', namespace, name) as Pod | undefined
  }

  #namespace(name: string): Namespace | undefined {
    return this.#informer?.get('namespaces', undefined, name) as Namespace | undefined
  }

  #reconcile(): void {
    const { netnsDir, reconcileMs } = this.#settings
    this.#keepProbeGroup()
    this.#ztunnels.dropDeadGroups()
    reconcile({
      datapath: this.#datapath,
      reattach: () => this.#reattach(),
      runners: () => this.#agent.runners(),
      requiredPorts: this.#ports,
      isZtunnelConnected: () => this.#ztunnels.isConnected(),
      netnsDir,
      metrics: this.#metrics,
      log: this.#log.scope('repair'),
    })
    this.#reconcileTimer = this.#clock.after(reconcileMs, () => this.#reconcile())
  }

  #reattach(): void {
    this.#datapath.reattach()
    this.#ztunnels.restoreGroups()
    this.#probeGroup = undefined
    this.#keepProbeGroup()
    this.#writeServices()
  }

  /** The kubelet's group may be made again under the same name. */
  #keepProbeGroup(): void {
    makeCgroup(this.#settings.probeCgroup)
    const id = cgroupId(this.#settings.probeCgroup)
    if (id === this.#probeGroup) return
    if (this.#probeGroup !== undefined) this.#datapath.removeProbeCgroup(this.#probeGroup)
    this.#datapath.addProbeCgroup(id)
    this.#probeGroup = id
  }

  #dump(): unknown {
    const pods = [...this.#agent.runners().values()].map(({ place, enrolment, failure }) => ({
      ...place,
      netnsInode: String(place.netnsInode),
      cookie: String(place.cookie),
      ...enrolment,
      ...(failure === undefined ? {} : { failure: messageOf(failure), code: codeOf(failure) }),
    }))
    return { redirect: this.#redirect, pods }
  }
}

function ifMissing<T>(error: unknown): T | undefined {
  if (codeOf(error) === 'NOT_FOUND') return undefined
  throw error
}
