// The agent put together: kernel state, ZDS server, plugin socket, informer, repair. Start order: what runs already is
// taken over before anybody may connect; labels are looked at once all objects are known. Stop leaves the kernel as it is.
import { join } from 'node:path'
import { type Clock, pause, type Timer } from '../kit/clock.ts'
import { codeOf, messageOf } from '../kit/error.ts'
import type { Log } from '../kit/log.ts'
import { Readiness } from '../kit/ready.ts'
import { seeCgroupsOfHost } from '../linux/cgroup.ts'
import { raiseFileLimit } from '../linux/limits.ts'
import type { Pod } from '../model/object.ts'
import { type ObjectApi, openObjects } from '../objects/api.ts'
import { ZdsServer } from '../zds/server.ts'
import { Agent } from './agent.ts'
import { openDoors } from './doors.ts'
import { AgentMetrics } from './metrics.ts'
import { findForeigners, refuseForeigners } from './kubernetes/foreign.ts'
import { KubernetesNode } from './kubernetes/node.ts'
import { uninstallNode } from './kubernetes/uninstall.ts'
import { AgentObjects } from './objects.ts'
import { PodFiles } from './pods.ts'
import { ProbeGroup } from './probe-group.ts'
import { fixedGroup, podGroups } from './proxy-groups.ts'
import { Publisher } from './publish.ts'
import { openRedirect } from './redirect/open.ts'
import type { Redirect, RedirectChoice } from './redirect/redirect.ts'
import { type RepairOptions, reconcile } from './repair.ts'
import type { Door } from './server.ts'
import type { AgentSettings } from './settings.ts'
import { Steps } from './steps.ts'
import { VipTable } from './vips.ts'
import { CGROUPS, Ztunnels } from './ztunnels.ts'

/** Pods are let go by the book, with the API's help, for this long; then the kernel's state is simply removed. */
const LEAVE_MS = 5_000
const LEAVE_POLL_MS = 50

const SYNC_WAIT_MS = 3_000

/** Before anything is changed. @throws MeshError BESIDE_ISTIO, BESIDE_SOCKET_LB */
function prepareNode(settings: AgentSettings): void {
  seeCgroupsOfHost()
  const { cniConfDir, nodeCgroup, bpffsDir, beside } = settings
  const found = findForeigners({ confDir: cniConfDir, cgroup: nodeCgroup, bpffsDir })
  refuseForeigners(found, new Set(beside.split(',').map((name) => name.trim())))
}

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
  readonly #probes: ProbeGroup
  readonly #vips: VipTable
  readonly #excluded: ReadonlySet<string>
  #objects: AgentObjects | undefined
  /** The mesh is taken off this node: every pod is let go. */
  #isLeaving = false
  /** Kubernetes only. */
  #cluster: KubernetesNode | undefined
  #zds: ZdsServer | undefined
  #reconcileTimer: Timer | undefined

  private constructor(settings: AgentSettings, log: Log, clock: Clock) {
    this.#settings = settings
    this.#log = log
    this.#clock = clock
    this.#ports = settings.isDnsRequired ? [15_001, 15_006, 15_008, 15_053] : [15_001, 15_006, 15_008]
    const isKubernetes = settings.source === 'kubernetes'
    this.#client = openObjects(
      isKubernetes ? { source: 'kubernetes', kubeconfig: settings.kubeconfig } : { source: 'store', socketPath: settings.apiSocket },
    )
    this.#excluded = new Set(settings.excludedNamespaces.split(',').map((name) => name.trim()))
    const files = new PodFiles(settings.stateDir, log)
    const { redirect, choice } = openRedirect({ settings, places: () => files.load().map(({ place }) => place), log })
    this.#datapath = redirect
    this.#redirect = choice
    if (isKubernetes && choice.mode === 'nftables' && settings.areServicesServed)
      log.warn('service addresses are not served by nftables: pods outside the mesh need kube-proxy')
    this.#ztunnels = this.#makeZtunnels()
    this.#probes = new ProbeGroup({ datapath: redirect, path: settings.probeCgroup, isMade: !isKubernetes, log: log.scope('probes') })
    const objects = (): AgentObjects | undefined => this.#objects
    this.#vips = new VipTable({ datapath: redirect, objects, node: settings.node, isServed: settings.areServicesServed, log, clock })
    this.#agent = this.#makeAgent(files)
  }

  /**
   * Runs in the node's network namespace.
   * @throws when the kernel refuses the programs or a socket cannot be opened; what ran before runs on then
   */
  static async start(settings: AgentSettings, log: Log, clock: Clock): Promise<AgentApp> {
    raiseFileLimit()
    if (settings.source === 'kubernetes') prepareNode(settings)
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
    const ztunnel = this.#ztunnels.isConnected() ? [] : ['ztunnel']
    return [...this.#readiness.waitingFor(), ...(this.#cluster?.waitingFor() ?? []), ...ztunnel]
  }

  /** The end that the process was told of: after an uninstall the node is as it was before us, else all stays as it is. */
  async end(): Promise<void> {
    if (this.#cluster?.isUninstalled() !== true) return this.stop()
    this.#isLeaving = true
    this.#agent.namespaceChanged(undefined)
    const deadlineMs = this.#clock.monotonicMs() + LEAVE_MS
    const isIn = (): boolean => [...this.#agent.runners().values()].some(({ stage }) => stage !== 'out')
    while (isIn() && this.#clock.monotonicMs() < deadlineMs) await pause(this.#clock, LEAVE_POLL_MS)
    await this.stop()
    uninstallNode(this.#settings, this.#log)
  }

  /** Ends servers and watches; every pod stays as it is. */
  async stop(): Promise<void> {
    this.#stop.abort()
    this.#agent.stop()
    this.#vips[Symbol.dispose]()
    this.#cluster?.[Symbol.dispose]()
    this.#reconcileTimer?.[Symbol.dispose]()
    await Promise.all(this.#doors.map((door) => door.close()))
    await this.#zds?.close()
    this.#client[Symbol.dispose]()
    this.#datapath[Symbol.dispose]()
  }

  #makeZtunnels(): Ztunnels {
    const { source, stateDir, ownNamespace, ztunnelAccount, ztunnelCgroup } = this.#settings
    const pods = (): Pod[] => this.#objects?.pods() ?? []
    const file = join(stateDir, 'proxy-groups')
    return new Ztunnels({
      datapath: this.#datapath,
      cgroups: CGROUPS,
      groups: source === 'store' ? fixedGroup(ztunnelCgroup) : podGroups({ pods, namespace: ownNamespace, account: ztunnelAccount, file }),
      log: this.#log.scope('zds'),
      clock: this.#clock,
      onRefused: () => this.#metrics.zdsRefused(),
      onLost: (uid, error) => this.#agent.podLost(uid, error),
      onChange: (isConnected) => {
        if (isConnected) this.#agent.retryAll()
      },
    })
  }

  #makeAgent(files: PodFiles): Agent {
    const { node, releaseWaitMs } = this.#settings
    const pod = (namespace: string, name: string): Pod | undefined => this.#objects?.pod(namespace, name)
    const publisher = new Publisher({
      client: this.#client,
      node,
      log: this.#log.scope('publish'),
      clock: this.#clock,
      uidOf: (namespace, name) => pod(namespace, name)?.metadata.uid,
      isThroughStatus: this.#settings.source === 'kubernetes',
    })
    return new Agent({
      node,
      steps: new Steps({
        datapath: this.#datapath,
        ztunnels: this.#ztunnels,
        publisher,
        clock: this.#clock,
        requiredPorts: this.#ports,
        releaseWaitMs,
      }),
      files,
      ztunnels: this.#ztunnels,
      publisher,
      objects: { pod, namespace: (name) => this.#objects?.namespace(name) },
      excludedNamespaces: this.#excluded,
      isReleased: (namespace) => this.#isLeaving || this.#cluster?.isReleased(namespace) === true,
      metrics: this.#metrics,
      log: this.#log.scope('enrol'),
      clock: this.#clock,
    })
  }

  async #open(): Promise<void> {
    this.#metrics.observe({
      datapath: this.#datapath,
      pods: () => [...this.#agent.runners().values()].map(({ stage, place }) => ({ ...place, stage })),
      isZtunnelConnected: () => this.#ztunnels.isConnected(),
    })
    this.#probes.keep()
    this.#ztunnels.adopt()
    this.#agent.restore()
    this.#objects = this.#follow(this.#readiness.await('objects'))
    if (this.#settings.source === 'kubernetes') this.#cluster = this.#makeCluster(this.#objects)
    this.#doors.push(...(await this.#openDoors(this.#objects)))
    // ztunnel is known by its pod; without an API by what the last agent remembered
    if (this.#cluster !== undefined) await Promise.race([this.#objects.synced, pause(this.#clock, SYNC_WAIT_MS, this.#stop.signal)])
    this.#zds = ZdsServer.listen({
      path: this.#settings.zdsPath,
      log: this.#log.scope('zds'),
      onConnection: (connection) => this.#ztunnels.accept(connection),
    })
    this.#reconcile()
    this.#cluster?.start()
  }

  #follow(ready: Disposable): AgentObjects {
    const { node, areServicesServed, source } = this.#settings
    return new AgentObjects({
      api: this.#client,
      node,
      hasServices: areServicesServed,
      isKubernetes: source === 'kubernetes',
      log: this.#log.scope('objects'),
      clock: this.#clock,
      signal: this.#stop.signal,
      onSync: () => {
        ready[Symbol.dispose]()
        this.#agent.namespaceChanged(undefined)
        this.#vips.changed()
        this.#cluster?.look()
      },
      onPod: (pod, isDeleted) => {
        if (isDeleted) return
        this.#agent.podChanged(pod)
        this.#cluster?.look()
      },
      onNamespace: (name) => {
        this.#agent.namespaceChanged(name)
        this.#cluster?.look()
      },
      onServices: () => this.#vips.changed(),
      onNode: () => this.#cluster?.nodeChanged(),
    })
  }

  #openDoors(objects: AgentObjects): Promise<Door[]> {
    return openDoors({
      settings: this.#settings,
      agent: this.#agent,
      objects,
      ztunnels: this.#ztunnels,
      readiness: this.#readiness,
      metrics: this.#metrics,
      excludedNamespaces: this.#excluded,
      repair: this.#repairOptions(),
      waitingFor: () => this.waitingFor(),
      dump: () => this.#dump(),
      log: this.#log,
    })
  }

  #makeCluster(objects: AgentObjects): KubernetesNode {
    return new KubernetesNode({
      settings: this.#settings,
      api: this.#client,
      objects,
      agent: this.#agent,
      metrics: this.#metrics,
      isReady: () => this.waitingFor().length === 0,
      onRelease: () => this.#agent.namespaceChanged(undefined),
      log: this.#log.scope('kubernetes'),
      clock: this.#clock,
    })
  }

  #reconcile(): void {
    this.#probes.keep()
    this.#ztunnels.dropDeadGroups()
    reconcile(this.#repairOptions())
    this.#cluster?.look()
    this.#reconcileTimer = this.#clock.after(this.#settings.reconcileMs, () => this.#reconcile())
  }

  #repairOptions(): RepairOptions {
    return {
      datapath: this.#datapath,
      reattach: () => this.#reattach(),
      runners: () => this.#agent.runners(),
      requiredPorts: this.#ports,
      isZtunnelConnected: () => this.#ztunnels.isConnected(),
      netnsDir: this.#settings.netnsDir,
      metrics: this.#metrics,
      log: this.#log.scope('repair'),
    }
  }

  #reattach(): void {
    this.#datapath.reattach()
    this.#ztunnels.restoreGroups()
    this.#probes.keep(true)
    this.#vips.write()
  }

  #dump(): unknown {
    const pods = [...this.#agent.runners().values()].map(({ place, enrolment, failure }) => ({
      ...place,
      netnsInode: String(place.netnsInode),
      cookie: String(place.cookie),
      ...enrolment,
      ...(failure === undefined ? {} : { failure: messageOf(failure), code: codeOf(failure) }),
    }))
    return { redirect: this.#redirect, released: this.#cluster?.released() ?? [], probes: this.#probes.view(), pods }
  }
}
