// A real node for the agent alone: containerd drives our plugin, the agent runs from this checkout in the node's namespaces,
// a stand-in plays ztunnel inside the container of a pod that is called so. No image of ours, no control plane.
import { type ChildProcess, spawn } from 'node:child_process'
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pause, systemClock } from '../../kit/clock.ts'
import { cgroup2Root, makeCgroup } from '../../linux/cgroup.ts'
import type { Pod } from '../../model/object.ts'
import { Cluster, guard } from './cluster/cluster.ts'
import { inNode } from './cluster/node.ts'
import { attempt } from './cluster/processes.ts'

const ROOT = join(import.meta.dirname, '../..')
const IMAGE = 'docker.io/weft/shop:dev'
/** An address that nobody has: a packet to it is one that was not captured. */
export const NOWHERE = '10.250.0.1'

/** A pod of the shop's image that stays. */
export function pod(namespace: string, name: string, spec: object = {}, script = 'exec sleep 100000'): object {
  const container = { name: 'app', image: IMAGE, imagePullPolicy: 'Never', command: ['sh', '-c', script] }
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace, labels: { app: name } },
    spec: { automountServiceAccountToken: false, terminationGracePeriodSeconds: 0, containers: [container], ...spec },
  }
}

/** The cluster of one node, its agent and its ztunnel. */
export class CniNode implements AsyncDisposable {
  readonly cluster: Cluster
  readonly cgroup: string
  readonly #processes = new Map<string, ChildProcess>()

  private constructor(cluster: Cluster) {
    this.cluster = cluster
    this.cgroup = join(cgroup2Root(), cluster.node(1).cgroup)
  }

  static async up(id: string, number: number): Promise<CniNode> {
    const cluster = await Cluster.up({ id, number, nodes: 1 }, () => undefined)
    guard(id, process.pid)
    const node = new CniNode(cluster)
    await cluster.apply(
      { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'weft-system' } },
      { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop', labels: { 'istio.io/dataplane-mode': 'ambient' } } },
      { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'ztunnel', namespace: 'weft-system' } },
    )
    await cluster.onNode(1, 'mkdir', '-p', '/run/weft/node')
    return node
  }

  /** A file as the node sees it (its /run, /etc/cni and /opt/cni are its own). */
  path(file: string): string {
    return join(this.cluster.node(1).dir, file)
  }

  async startAgent(...args: readonly string[]): Promise<void> {
    const { kubeconfig } = this.cluster.layout
    const all = [
      ...['--source', 'kubernetes', '--kubeconfig', kubeconfig, '--node', 'node1', '--cgroup', this.cgroup],
      ...['--cni-conf-dir', '/etc/cni/net.d', '--cni-bin-dir', '/opt/cni/bin', '--daemonset', 'cni', '--reconcile-interval', '1s', ...args],
    ]
    this.#spawn('agent', join(this.cgroup, 'agent'), join(ROOT, 'cni/main.ts'), all)
    await this.until('the agent answers', async () => (await this.monitor('/readyz')) !== '')
  }

  /** Inside the container of the pod `weft-system/ztunnel`, which the kubelet started. */
  async startZtunnel(): Promise<void> {
    const { metadata } = await this.cluster.get<Pod>('-n', 'weft-system', 'pod', 'ztunnel')
    let group: string | undefined
    await this.until('the container of ztunnel runs', () => {
      group = this.#groupOf(metadata.uid ?? '', 'sleep')
      return Promise.resolve(group !== undefined)
    })
    this.#spawn('ztunnel', group ?? '', join(ROOT, 'test/support/zds-standin.ts'), ['/run/weft/node/zds.sock', '/sys/fs/bpf/weft'])
  }

  /** Signals a process and waits for its end. */
  async end(name: 'agent' | 'ztunnel', signal: NodeJS.Signals = 'SIGKILL'): Promise<number | null> {
    const child = this.#processes.get(name)
    this.#processes.delete(name)
    if (child === undefined || child.exitCode !== null) return child?.exitCode ?? null
    const code = new Promise<number | null>((resolve) => child.once('exit', resolve))
    child.kill(signal)
    return code
  }

  /** Body of a GET on the agent's monitoring port; empty = nobody answers. */
  async monitor(path: string): Promise<string> {
    return (await this.cluster.onNode(1, 'curl', '-s', '-m', '2', `http://127.0.0.1:15014${path}`)).stdout
  }

  async isReady(): Promise<boolean> {
    return (await this.monitor('/readyz')) === '{"waitingFor":[]}'
  }

  /** Value of a metric; 0 = not there. */
  async metric(line: string): Promise<number> {
    const found = (await this.monitor('/metrics')).split('\n').find((each) => each.startsWith(`${line} `))
    return Number(found?.split(' ').at(-1) ?? 0)
  }

  async pods(namespace = 'shop'): Promise<readonly Pod[]> {
    return (await this.cluster.get<{ items: readonly Pod[] }>('-n', namespace, 'pods')).items
  }

  /** What a pod's container has printed. */
  logs(namespace: string, name: string, container = 'app'): Promise<string> {
    return this.cluster.kubectl('-n', namespace, 'logs', name, '-c', container)
  }

  /** What a curl inside a pod gets; empty = nothing. */
  async curl(name: string, url: string): Promise<string> {
    const [namespace = '', pod_ = ''] = name.split('/')
    const args = ['-n', namespace, 'exec', pod_, '--', 'curl', '-s', '--http0.9', '-m', '3', url]
    return (await attempt(this.cluster.binaries.path('kubectl'), args, { env: this.cluster.env })).stdout
  }

  /** Pins of pods, records of pods: what must go with the pods. */
  async traces(): Promise<{ readonly steer: number; readonly guard: number; readonly files: number }> {
    const { stdout } = await this.cluster.onNode(1, 'ls', '/sys/fs/bpf/weft')
    const pins = stdout.split('\n')
    const count = (prefix: string): number => pins.filter((pin) => pin.startsWith(prefix)).length
    const files = readdirSync(this.path('run/weft/node/cni')).filter((name) => name.endsWith('.json')).length
    return { steer: count('steer_'), guard: count('guard_'), files }
  }

  /** Counts packets that leave pods for NOWHERE. */
  async spy(): Promise<void> {
    const rules = `table inet weftspy { chain seen { type filter hook prerouting priority -300; ip daddr ${NOWHERE} counter; }\n}\n`
    writeFileSync(this.path('run/spy.nft'), rules)
    const { status, stderr } = await this.cluster.onNode(1, 'nft', '-f', '/run/spy.nft')
    if (status !== 0) throw new Error(stderr)
  }

  /** Packets that the spy has seen. */
  async seen(): Promise<number> {
    const { stdout } = await this.cluster.onNode(1, 'nft', 'list', 'table', 'inet', 'weftspy')
    return Number(/counter packets (\d+)/.exec(stdout)?.[1] ?? Number.NaN)
  }

  /** What a reboot takes: kernel state and everything below /run; containers keep running here, nobody calls ADD. */
  async loseState(): Promise<void> {
    await this.end('agent')
    await this.end('ztunnel')
    await this.cluster.onNode(1, 'sh', '-c', 'rm -rf /sys/fs/bpf/weft/*')
    rmSync(this.path('run/weft/node/cni'), { recursive: true, force: true })
  }

  /** Polls. @throws Error when it is not so after `limitMs` */
  async until(what: string, test: () => Promise<boolean>, limitMs = 60_000): Promise<void> {
    const endMs = systemClock.monotonicMs() + limitMs
    while (!(await test())) {
      if (systemClock.monotonicMs() > endMs) throw new Error(`not within ${limitMs} ms: ${what}`)
      await pause(systemClock, 100)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end('ztunnel')
    await this.end('agent')
    await this.cluster[Symbol.asyncDispose]()
  }

  #groupOf(uid: string, program: string): string | undefined {
    const below = readdirSync(this.cgroup, { recursive: true, encoding: 'utf8' }).filter(
      (path) => path.includes(`pod${uid}/`) && path.endsWith('/cgroup.procs'),
    )
    const file = below.find((path) =>
      readFileSync(join(this.cgroup, path), 'utf8')
        .split('\n')
        .some((pid) => pid !== '' && readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === program),
    )
    return file === undefined ? undefined : join(this.cgroup, file, '..')
  }

  #spawn(name: string, group: string, file: string, args: readonly string[]): void {
    makeCgroup(group)
    const command = [...inNode(this.cluster.layout, 1, [process.execPath, file, ...args])].join(' ')
    const stdio = process.env.SHOW_LOGS === undefined ? 'ignore' : 'inherit'
    this.#processes.set(
      name,
      spawn('sh', ['-c', `echo $$ > ${group}/cgroup.procs; exec ${command}`], { stdio: ['ignore', stdio, 'inherit'] }),
    )
  }
}
