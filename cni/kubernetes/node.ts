// What the agent does on Kubernetes only: keeps the plugin installed, takes up pods that run without having come through it,
// heeds releases, removes the node's taint when pods may come, and notices when the mesh is taken off the cluster.
import { dirname } from 'node:path'
import { type Clock, pause, type Timer } from '../../kit/clock.ts'
import { codeOf, messageOf } from '../../kit/error.ts'
import type { Log } from '../../kit/log.ts'
import type { ObjectApi } from '../../objects/api.ts'
import type { Agent } from '../agent.ts'
import { PluginKeeper } from '../install/keeper.ts'
import type { AgentMetrics } from '../metrics.ts'
import type { AgentObjects } from '../objects.ts'
import { type PluginArch, pluginBinary } from '../plugin/binary.ts'
import type { AgentSettings } from '../settings.ts'
import { DaemonSetWatch } from './daemon-set.ts'
import { ReleaseMarks } from './release-marks.ts'
import { isTainted, removeTaint } from './taint.ts'
import { takeUpPods } from './take-up.ts'

/** What the constructor takes. */
export interface KubernetesNodeOptions {
  readonly settings: AgentSettings
  readonly api: ObjectApi
  readonly objects: AgentObjects
  readonly agent: Agent
  readonly metrics: AgentMetrics
  /** Whether pods may be scheduled here. */
  isReady(): boolean
  /** Another set of pods is released. */
  onRelease(): void
  readonly log: Log
  readonly clock: Clock
}

/** Changes of many pods are looked at once. */
const LOOK_DELAY_MS = 100
const TAINT_RETRY_MS = 1_000

/** The part of the agent that knows Kubernetes. */
export class KubernetesNode implements Disposable {
  readonly #options: KubernetesNodeOptions
  readonly #keeper: PluginKeeper | undefined
  readonly #marks: ReleaseMarks
  readonly #daemonSet: DaemonSetWatch | undefined
  #timer: Timer | undefined
  #isUntainting = false
  #isDisposed = false

  constructor(options: KubernetesNodeOptions) {
    this.#options = options
    const { settings, metrics, log, clock } = options
    const { cniConfDir, cniBinDir, daemonSet, ownNamespace } = settings
    this.#marks = new ReleaseMarks({
      directory: dirname(settings.stateDir),
      node: () => options.objects.node(),
      log,
      onChange: () => options.onRelease(),
    })
    if (daemonSet !== '') this.#daemonSet = new DaemonSetWatch({ api: options.api, name: daemonSet, namespace: ownNamespace, log, clock })
    if (cniConfDir === '') return
    this.#keeper = new PluginKeeper({
      confDir: cniConfDir,
      binDir: cniBinDir,
      program: pluginBinary(process.arch as PluginArch),
      log: log.scope('install'),
      clock,
      onDrift: (kind) => metrics.drifted(kind),
      onState: () => this.look(),
    })
  }

  /** The agent answers the plugin now: the runtime may be told of it. */
  start(): void {
    this.#keeper?.start()
    this.#marks.start()
  }

  /** What start-up still waits for here; a released node is not ready, so that it is seen. */
  waitingFor(): string[] {
    const plugin = this.#keeper?.isInstalled() === false ? ['plugin'] : []
    return this.#marks.released().includes('node') ? [...plugin, 'the end of the release'] : plugin
  }

  /** What is released: `node` or names of namespaces. */
  released(): readonly string[] {
    return this.#marks.released()
  }

  /** Whether pods of a namespace are kept out of the mesh here. */
  isReleased(namespace: string): boolean {
    return this.#marks.isReleased(namespace)
  }

  /** Whether the end of this process is to be the end of the mesh on this node. */
  isUninstalled(): boolean {
    return this.#daemonSet?.isDeleted() ?? false
  }

  /** Pods, labels or our own state have changed. */
  look(): void {
    if (this.#isDisposed) return
    this.#timer ??= this.#options.clock.after(LOOK_DELAY_MS, () => {
      this.#timer = undefined
      this.#takeUp()
      this.nodeChanged()
    })
  }

  /** Our own Node has changed. */
  nodeChanged(): void {
    this.#marks.look()
    const { objects, isReady, log } = this.#options
    if (this.#isUntainting || !isTainted(objects.node()) || !isReady()) return
    this.#isUntainting = true
    this.#untaint().then(
      () => {
        this.#isUntainting = false
      },
      (error: unknown) => {
        this.#isUntainting = false
        log.warn("the node's taint cannot be removed", { error: messageOf(error) })
      },
    )
  }

  /** Nothing is done any more; the plugin stays installed. */
  [Symbol.dispose](): void {
    this.#isDisposed = true
    this.#timer?.[Symbol.dispose]()
    this.#keeper?.[Symbol.dispose]()
    this.#marks[Symbol.dispose]()
    this.#daemonSet?.[Symbol.dispose]()
  }

  #takeUp(): void {
    const { agent, objects, settings, metrics, log } = this.#options
    if (!objects.isSynced()) return
    try {
      takeUpPods({ agent, objects, netnsDir: settings.netnsDir, metrics, log })
    } catch (error) {
      log.error('pods that run cannot be looked for', { error: messageOf(error) })
    }
  }

  async #untaint(): Promise<void> {
    const { api, objects, clock, log } = this.#options
    for (;;) {
      const node = objects.node()
      if (node === undefined || !isTainted(node) || this.#isDisposed) return
      try {
        await removeTaint(api, node)
        log.info('the node takes pods now: taint removed')
        return
      } catch (error) {
        if (codeOf(error) !== 'CONFLICT') throw error
      }
      await pause(clock, TAINT_RETRY_MS) // until our copy is newer
    }
  }
}
