// The life of one pod on its node: sandbox, the agent's consent, volumes, init containers, containers, and the way back.
// One worker per pod uid; the kubelet feeds it the pod's newest object and hears when it is over.
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Backoff } from '../../kit/backoff.ts'
import { type Clock, pause } from '../../kit/clock.ts'
import { codeOf, messageOf } from '../../kit/error.ts'
import type { Log } from '../../kit/log.ts'
import type { Container } from '../../model/container.ts'
import type { MeshObject, Pod } from '../../model/object.ts'
import type { ObjectClient } from '../../objects/client.ts'
import { runtimeFailure } from '../errors.ts'
import { enterContainer } from '../enter.ts'
import { localImage } from '../images.ts'
import { type MeshLayout, NETNS_DIR, type NodeLayout, podDir } from '../layout.ts'
import type { AddressPool } from './addresses.ts'
import { setprivArgs } from './capabilities.ts'
import { ContainerRunner } from './container.ts'
import { environmentOf, expand, type FindObject } from './content.ts'
import type { EventRecorder } from './events.ts'
import { type Bind, directoryOf, hostMounts, isHidden, type LaunchSpec } from './launch.ts'
import { callCni, forgetSandbox, makeSandbox, removeSandbox, type SandboxRecord, sandboxRecord, writeSandbox } from './sandbox.ts'
import { podStatus } from './status.ts'
import { hostnameOf, volumeBinds, writeVolumes } from './volumes.ts'

/** What workers of a node share. */
export interface WorkerContext {
  readonly mesh: MeshLayout
  readonly node: NodeLayout
  readonly client: ObjectClient
  readonly clock: Clock
  readonly log: Log
  readonly events: EventRecorder
  readonly addresses: AddressPool
  /** Directory by image name: its programs, and the working directory. */
  readonly images: Readonly<Record<string, string>>
  /** Whether an agent must agree before containers start. */
  readonly hasCni: boolean
  /** Runs a costly start; at most some at once. */
  limitStarts<T>(work: () => Promise<T>): Promise<T>
}

const STATUS_DELAY_MS = 30
const SANDBOX_RETRY = { minMs: 100, maxMs: 2000 } // a pod waits this long at most after the agent's return
const QUIET_TRIES = 5
const DEFAULT_GRACE_S = 30
const BASE_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** One pod. */
export class PodWorker {
  readonly #context: WorkerContext
  readonly #uid: string
  readonly #stop = new AbortController()
  readonly #startTime: string
  #pod: Pod
  #record: SandboxRecord | undefined
  #isSandboxUp = false
  #sandboxFault: string | undefined
  #isInitialized = false
  #keepsObject = false
  #inits: ContainerRunner[] = []
  #containers: ContainerRunner[] = []
  #sentStatus = ''
  #sending: Promise<void> = Promise.resolve()
  #statusTimer: Disposable | undefined
  #config = new Map<string, MeshObject>()

  constructor(context: WorkerContext, pod: Pod) {
    this.#context = context
    this.#pod = pod
    this.#uid = pod.metadata.uid ?? ''
    this.#startTime = new Date(context.clock.nowMs()).toISOString()
  }

  /** A newer object of the same pod. */
  update(pod: Pod): void {
    this.#pod = pod
    if (pod.metadata.deletionTimestamp !== undefined) this.#stop.abort()
  }

  /** The object is gone, or (`keepsObject`) the kubelet ends: everything ends at once. */
  kill(options: { readonly keepsObject?: boolean } = {}): void {
    this.#keepsObject = options.keepsObject === true
    this.#pod = { ...this.#pod, metadata: { ...this.#pod.metadata, deletionGracePeriodSeconds: 0 } }
    this.#stop.abort()
    for (const one of [...this.#inits, ...this.#containers]) void one.stop(0) // also when an orderly end is under way
  }

  /** Runs the pod until it is deleted and gone. Never rejects. */
  async run(): Promise<void> {
    const { log } = this.#context
    if (this.#pod.metadata.deletionTimestamp !== undefined) this.#stop.abort()
    try {
      await this.#start()
      await untilAborted(this.#stop.signal)
    } catch (error) {
      log.error('pod failed', { pod: this.#pod.metadata.name, error: messageOf(error) })
      this.#event('Warning', 'Failed', messageOf(error))
      await untilAborted(this.#stop.signal)
    }
    await this.#end()
  }

  async #start(): Promise<void> {
    const { signal } = this.#stop
    await this.#retry('FailedCreatePodSandBox', () => this.#context.limitStarts(() => this.#makeSandbox()))
    if (signal.aborted) return
    await this.#retry('FailedMount', () => this.#writeVolumes())
    if (signal.aborted) return
    const spec = this.#pod.spec ?? { containers: [] }
    this.#inits = (spec.initContainers ?? []).map((one) => this.#runner(one, spec.restartPolicy === 'Never' ? 'Never' : 'OnFailure'))
    this.#containers = spec.containers.map((one) => this.#runner(one, spec.restartPolicy ?? 'Always'))
    for (const init of this.#inits) {
      if ((await init.run()) !== 0 || signal.aborted) return this.#reportSoon() // restartPolicy Never: the pod has failed
    }
    this.#isInitialized = true
    for (const one of this.#containers) void one.run()
    this.#reportSoon()
  }

  async #makeSandbox(): Promise<void> {
    const { mesh, node, addresses, hasCni } = this.#context
    const { name, namespace = 'default' } = this.#pod.metadata
    const isHostNetwork = this.#pod.spec?.hostNetwork === true
    this.#record ??= sandboxRecord(mesh, node, { uid: this.#uid, namespace, name }, isHostNetwork ? undefined : addresses.take())
    const record = this.#record
    if (!this.#isSandboxUp) {
      writeSandbox(mesh, record)
      await removeSandbox(record) // of a try before
      await makeSandbox(node, record)
      this.#isSandboxUp = true
    }
    // The agent looks the pod up: its object must carry the address before.
    await this.#sendStatus()
    if (hasCni && !record.isHostNetwork) await callCni(node.cniSocket, '/cmdadd', record)
    this.#sandboxFault = undefined
    this.#reportSoon()
  }

  async #writeVolumes(): Promise<void> {
    const { mesh, client, clock, log } = this.#context
    await this.#readConfig()
    const options = { pod: this.#pod, dir: podDir(mesh, this.#uid), podIps: this.#ips(), client, clock, log, signal: this.#stop.signal }
    await writeVolumes({ ...options, find: this.#find, roots: readRoots(mesh) })
  }

  /** Repeats with back-off until it works or the pod goes away; what failed becomes an event. */
  async #retry(reason: string, work: () => Promise<void>): Promise<void> {
    const backoff = new Backoff(SANDBOX_RETRY)
    let tries = 0
    while (!this.#stop.signal.aborted) {
      try {
        return await work()
      } catch (error) {
        this.#sandboxFault = messageOf(error)
        // The agent and its proxy start together with the pods: the first tries are expected to fail.
        if (++tries > QUIET_TRIES) this.#event('Warning', reason, messageOf(error))
        this.#reportSoon()
        await pause(this.#context.clock, backoff.nextMs(), this.#stop.signal)
      }
    }
  }

  #runner(container: Container, restartPolicy: 'Always' | 'OnFailure' | 'Never'): ContainerRunner {
    const { mesh, clock } = this.#context
    return new ContainerRunner({
      container,
      restartPolicy,
      podIp: this.#record?.ips.v4 ?? '',
      logFile: join(podDir(mesh, this.#uid), 'logs', `${container.name}.log`),
      graceMs: this.#graceMs(),
      clock,
      prepare: () => this.#prepare(container),
      enter: (pid, command) => {
        const options = {
          pid,
          cgroup: this.#record?.cgroup ?? '',
          setpriv: setprivArgs(container.securityContext, this.#pod.spec?.securityContext),
        }
        return enterContainer({ ...options, env: { PATH: this.#path() }, command })
      },
      onChange: (pid) => this.#containerChanged(container.name, pid),
      onEvent: (type, reason, message) => this.#event(type, reason, message),
    })
  }

  async #prepare(container: Container): Promise<LaunchSpec> {
    const { mesh, node, images } = this.#context
    await this.#readConfig()
    const ips = this.#ips()
    const facts = { pod: this.#pod, podIp: ips[0] ?? '', podIps: ips, hostIp: node.ip.v4 }
    const base = { PATH: this.#path(), HOME: '/root', HOSTNAME: hostnameOf(this.#pod) }
    const env = { ...base, ...environmentOf(container, facts, this.#find) }
    const image = localImage(container.image, images)
    const command = [...(container.command ?? image?.entryPoint ?? []), ...(container.args ?? [])].map((word) => expand(word, env))
    const program = command[0]
    if (program === undefined || program.includes('='))
      throw runtimeFailure('BAD_CONTAINER', { container: container.name, reason: 'it needs a command: there are no images here' })
    const imageDir = image?.workingDir
    const dir = podDir(mesh, this.#uid)
    return {
      cgroup: this.#record?.cgroup ?? '',
      netnsPath: join(NETNS_DIR, this.#record?.netns ?? ''),
      scratchDir: scratchDir(dir, container.name),
      hostname: hostnameOf(this.#pod),
      hostMounts: hostMounts(readFileSync('/proc/self/mountinfo', 'utf8')),
      binds: [
        ...hiddenBinds([directoryOf(process.execPath), imageDir]),
        ...(image?.binds ?? []),
        ...volumeBinds(this.#pod, container, dir),
      ],
      workingDir: container.workingDir ?? imageDir ?? '/',
      setpriv: setprivArgs(container.securityContext, this.#pod.spec?.securityContext),
      env,
      command,
    }
  }

  #containerChanged(name: string, pid: number | undefined): void {
    if (this.#record === undefined) return
    const { [name]: _, ...others } = this.#record.containers
    const containers = pid === undefined ? others : { ...others, [name]: pid }
    if (this.#record.containers[name] !== pid) {
      this.#record = { ...this.#record, containers }
      writeSandbox(this.#context.mesh, this.#record)
    }
    this.#reportSoon()
  }

  async #end(): Promise<void> {
    const { mesh, node, client, log, hasCni, addresses, clock } = this.#context
    const { name, namespace = 'default' } = this.#pod.metadata
    this.#reportSoon()
    const graceMs = this.#graceMs()
    await Promise.all([...this.#inits, ...this.#containers].map((one) => one.stop(graceMs)))
    this.#statusTimer?.[Symbol.dispose]()
    const record = this.#record
    const backoff = new Backoff(SANDBOX_RETRY)
    for (let isDone = record === undefined; !isDone && record !== undefined; ) {
      try {
        await this.#context.limitStarts(() => removeSandbox(record))
        isDone = true
      } catch (error) {
        log.warn('sandbox was not removed, trying again', { pod: name, error: messageOf(error) })
        await pause(clock, backoff.nextMs())
      }
    }
    if (record !== undefined) {
      if (hasCni && !record.isHostNetwork)
        await callCni(node.cniSocket, '/cmddel', record).catch((error: unknown) =>
          log.warn('agent was not told', { pod: name, error: messageOf(error) }),
        )
      forgetSandbox(mesh, this.#uid)
      if (!record.isHostNetwork) addresses.release(record.ips)
    }
    if (this.#keepsObject) return
    try {
      const current = await client.get('pods', namespace, name)
      if (current.metadata.uid === this.#uid) await client.delete('pods', namespace, name, { gracePeriodSeconds: 0 })
    } catch (error) {
      if (codeOf(error) !== 'NOT_FOUND') log.warn('pod object was not deleted', { pod: name, error: messageOf(error) })
    }
  }

  #graceMs(): number {
    const { spec, metadata } = this.#pod
    return (metadata.deletionGracePeriodSeconds ?? spec?.terminationGracePeriodSeconds ?? DEFAULT_GRACE_S) * 1000
  }

  #ips(): string[] {
    return this.#record === undefined ? [] : [this.#record.ips.v4, this.#record.ips.v6]
  }

  /** The mesh's interpreter comes first, so that `node` means the same in every pod. */
  #path(): string {
    return `${directoryOf(process.execPath)}:${BASE_PATH}`
  }

  readonly #find: FindObject = (kind, name) => this.#config.get(`${kind}/${name}`)

  /** Reads every ConfigMap and Secret of the namespace once per start: small, and no watch to keep. */
  async #readConfig(): Promise<void> {
    const config = new Map<string, MeshObject>()
    for (const kind of ['configmaps', 'secrets'])
      for (const object of (await this.#context.client.list(kind, this.#pod.metadata.namespace)).items)
        config.set(`${kind}/${object.metadata.name}`, object)
    this.#config = config
  }

  #event(type: 'Normal' | 'Warning', reason: string, message: string): void {
    this.#context.events.record(this.#pod, type, reason, message)
  }

  #reportSoon(): void {
    if (this.#statusTimer !== undefined) return
    this.#statusTimer = this.#context.clock.after(STATUS_DELAY_MS, () => {
      this.#statusTimer = undefined
      this.#sendStatus().catch((error: unknown) => {
        if (codeOf(error) === 'NOT_FOUND') return
        this.#context.log.warn('status was not stored, trying again', { pod: this.#pod.metadata.name, error: messageOf(error) })
        void pause(this.#context.clock, 500).then(() => this.#reportSoon())
      })
    })
  }

  /** One after the other: of two under way the older might be stored last, and would stay. */
  #sendStatus(): Promise<void> {
    const sent = this.#sending.then(() => this.#storeStatus())
    this.#sending = sent.catch(() => undefined) // whoever sent it is told
    return sent
  }

  async #storeStatus(): Promise<void> {
    const { client, clock, node } = this.#context
    const nowIso = new Date(clock.nowMs()).toISOString()
    const view = (runner: ContainerRunner) => ({ container: runner.options.container, view: runner.view() })
    const status = podStatus({
      pod: this.#pod,
      ips: this.#isSandboxUp ? this.#record?.ips : undefined,
      hostIps: [node.ip.v4, node.ip.v6],
      inits: this.#inits.map(view),
      containers: this.#containers.map(view),
      isInitialized: this.#isInitialized,
      startTime: this.#startTime,
      nowIso,
      sandboxFault: this.#sandboxFault,
    })
    const text = JSON.stringify(status).replaceAll(nowIso, '')
    if (text === this.#sentStatus) return
    const { name, namespace = 'default' } = this.#pod.metadata
    const stored = (await client.patch('pods', namespace, name, { status }, { subresource: 'status' })) as Pod
    this.#sentStatus = text
    if (stored.metadata.uid === this.#uid) this.update({ ...stored, metadata: { ...this.#pod.metadata, ...stored.metadata } })
  }
}

function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}

function scratchDir(podDirectory: string, container: string): string {
  const dir = join(podDirectory, 'scratch')
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  return join(dir, container)
}

/** Directories that /tmp or /run of the container would hide. */
function hiddenBinds(paths: readonly (string | undefined)[]): Bind[] {
  const hidden = paths.filter((path): path is string => path !== undefined && isHidden(path))
  return hidden.map((path) => ({ from: path, to: path, isReadOnly: true }))
}

function readRoots(mesh: MeshLayout): string {
  try {
    return readFileSync(join(mesh.dir, 'root-cert.pem'), 'utf8')
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return '' // the control plane has not written it, or there is none
    throw error
  }
}
