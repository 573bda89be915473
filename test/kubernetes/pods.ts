// Pods that tests of the mesh on a cluster put into it: a namespace in the mesh, servers, crowds of clients, and what a node holds of them.
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { cgroup2Root } from '../../linux/cgroup.ts'
import type { Pod } from '../../model/object.ts'
import type { MeshCluster } from './mesh-cluster.ts'
import { SYSTEM } from './mesh-cluster.ts'
import { APP_IMAGE } from './cluster/images.ts'
import { until } from './cluster/processes.ts'

const ENROLMENT = 'ambient.istio.io/redirection'

/** A server that names its caller's address; it counts the requests and tells the sum at /sum. */
const SERVER = `let n = 0
require('http').createServer((q, r) => r.end(q.url === '/sum' ? String(n) : (n++, q.socket.remoteAddress))).listen(8080, '::')`

/** A namespace of its own, in the mesh; dispose removes it with everything in it. */
export class MeshNamespace implements AsyncDisposable {
  readonly name: string
  readonly #mesh: MeshCluster

  private constructor(mesh: MeshCluster, name: string) {
    this.#mesh = mesh
    this.name = name
  }

  static async make(mesh: MeshCluster, name: string): Promise<MeshNamespace> {
    const labels = { 'istio.io/dataplane-mode': 'ambient' }
    await mesh.cluster.apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } })
    return new MeshNamespace(mesh, name)
  }

  /** A pod on a node. `script` is for sh. */
  pod(name: string, node: number, script: string, more: object = {}, spec: object = {}): object {
    return {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name, namespace: this.name, labels: { app: name } },
      spec: {
        nodeSelector: { 'kubernetes.io/hostname': `node${node}` },
        automountServiceAccountToken: false,
        terminationGracePeriodSeconds: 1, // with 0 the API forgets a pod that still runs
        containers: [{ name: 'app', image: APP_IMAGE, imagePullPolicy: 'Never', command: ['sh', '-c', script], ...more }],
        ...spec,
      },
    }
  }

  /** Starts a server on a node and waits for it. @returns its address */
  async server(name: string, node: number): Promise<string> {
    const more = { command: ['node', '-e', SERVER], readinessProbe: { tcpSocket: { port: 8080 }, periodSeconds: 1 } }
    await this.#mesh.cluster.apply(this.pod(name, node, '', more))
    await this.ready(name)
    const { status } = await this.get(name)
    assert.ok(status?.podIP)
    return status.podIP
  }

  async ready(name: string, limitMs = 60_000): Promise<void> {
    await until(`${this.name}/${name} is ready`, limitMs, async () => isReady(await this.get(name)))
  }

  get(name: string): Promise<Pod> {
    return this.#mesh.cluster.get<Pod>('-n', this.name, 'pod', name)
  }

  async pods(): Promise<readonly Pod[]> {
    return (await this.#mesh.cluster.get<{ items: readonly Pod[] }>('-n', this.name, 'pods')).items
  }

  /** Runs a command in a pod. */
  exec(name: string, ...command: readonly string[]): Promise<{ status: number; stdout: string; stderr: string }> {
    return this.#mesh.cluster.try('-n', this.name, 'exec', name, '--', ...command)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#mesh.cluster.kubectl('delete', 'namespace', this.name, '--ignore-not-found', '--wait=true', '--timeout=120s')
  }
}

export function isReady(pod: Pod): boolean {
  return pod.status?.conditions?.some((one) => one.type === 'Ready' && one.status === 'True') === true
}

export function isEnrolled(pod: Pod): boolean {
  return pod.metadata.annotations?.[ENROLMENT] === 'enabled'
}

/** Processes of a component's containers on a node, by its pods' cgroups. */
export async function processesOf({ cluster }: MeshCluster, component: string, node: number): Promise<number[]> {
  const selector = ['-l', `app=${component}`, '--field-selector', `spec.nodeName=node${node}`]
  const { items } = await cluster.get<{ items: readonly Pod[] }>('-n', SYSTEM, 'pods', ...selector)
  const root = join(cgroup2Root(), cluster.node(node).cgroup, 'kubepods')
  const groups = readdirSync(root, { recursive: true, encoding: 'utf8' })
  return items.flatMap(({ metadata }) =>
    groups
      .filter((path) => path.includes(`pod${metadata.uid}/`) && path.endsWith('cgroup.procs'))
      .flatMap((path) => readFileSync(join(root, path), 'utf8').split('\n').filter(Boolean).map(Number))
      .filter((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('main.js')),
  )
}

const MAPS_OF_PODS = ['pods', 'pod_ips', 'guards', 'listeners']

/** What a node holds for pods: files of the agent, entries of the kernel's maps, links, namespaces, leased addresses. */
export async function holdings(
  { cluster }: MeshCluster,
  node: number,
  maps: readonly string[] = MAPS_OF_PODS,
): Promise<Readonly<Record<string, number>>> {
  const { dir } = cluster.node(node)
  const entries = (path: string): number => (existsSync(join(dir, path)) ? readdirSync(join(dir, path)).length : 0)
  const counts = await Promise.all(
    maps.map(async (name) => {
      const { stdout } = await cluster.onNode(node, 'bpftool', '-j', 'map', 'dump', 'pinned', `/sys/fs/bpf/weft/map_${name}`)
      return [`map ${name}`, (JSON.parse(stdout || '[]') as unknown[]).length] as const
    }),
  )
  const links = JSON.parse((await cluster.onNode(node, 'ip', '-j', 'link', 'show', 'type', 'veth')).stdout) as unknown[]
  return {
    'agent files': entries('run/weft/node/cni'),
    namespaces: entries('run/netns'),
    addresses: entries('var/lib/cni/pods'),
    'results of plugins': entries('var/lib/cni/results'),
    links: links.length,
    ...Object.fromEntries(counts),
  }
}
