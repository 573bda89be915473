// What a node proxy or a replica of the control plane holds, asked in its own network namespace: works while the API server is away.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import type { Pod } from '../../model/object.ts'
import { attempt } from './cluster/processes.ts'
import { type MeshCluster, SYSTEM } from './mesh-cluster.ts'
import { processesOf } from './pods.ts'

/** Numbers of a page of metrics, by the whole line in front of the number. */
export type Numbers = ReadonlyMap<string, number>

/** A process of the mesh on a node. */
export class Component {
  readonly pid: number
  readonly node: number

  constructor(pid: number, node: number) {
    this.pid = pid
    this.node = node
  }

  /** The only process of a component on each node; the API server is asked for the pods. */
  static async each(mesh: MeshCluster, component: string): Promise<readonly Component[]> {
    const numbers = Array.from({ length: mesh.cluster.layout.nodes }, (_, index) => index + 1)
    const found = await Promise.all(
      numbers.map(async (node) => (await processesOf(mesh, component, node)).map((pid) => new Component(pid, node))),
    )
    return found.flat()
  }

  /** Body of a page on this process's loopback. @throws Error when nobody answers */
  async page(port: number, path: string): Promise<string> {
    const args = ['-t', `${this.pid}`, '-n', 'curl', '-sf', '-m', '5', `http://127.0.0.1:${port}${path}`]
    const { status, stdout, stderr } = await attempt('nsenter', args)
    assert.equal(status, 0, `process ${this.pid} does not answer ${path} on port ${port}: ${stderr}`)
    return stdout
  }

  async metrics(port: number): Promise<Numbers> {
    const lines = (await this.page(port, '/metrics')).split('\n').filter((line) => line !== '' && !line.startsWith('#'))
    return new Map(
      lines.map((line) => {
        const at = line.lastIndexOf(' ')
        return [line.slice(0, at), Number(line.slice(at + 1))]
      }),
    )
  }

  /** Proportional set size, MiB. */
  pssMib(): number {
    return Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${this.pid}/smaps_rollup`, 'utf8'))?.[1]) / 1024
  }

  /** Open files. */
  files(): number {
    return readdirSync(`/proc/${this.pid}/fd`).length
  }
}

/** The sum of all lines of a metric. */
export function sumOf(numbers: Numbers, name: string): number {
  return [...numbers].reduce((sum, [line, value]) => (line === name || line.startsWith(`${name}{`) ? sum + value : sum), 0)
}

/** What a ztunnel knows of the mesh, and its certificates; comparable as text. */
export interface ProxyState {
  readonly counts: string
  readonly mesh: string
  /** `ID SERIAL` of each identity. */
  readonly certificates: readonly string[]
}

/** The state of a ztunnel. */
export async function stateOf(ztunnel: Component): Promise<ProxyState> {
  const dump = JSON.parse(await ztunnel.page(15_000, '/config_dump')) as Record<string, unknown[]> & {
    certificates: { identity: string; certChain: { serialNumber: string }[] }[]
  }
  const { workloads = [], services = [], policies = [], networks = [], certificates } = dump
  return {
    counts: `${workloads.length} workloads, ${services.length} services, ${policies.length} policies`,
    mesh: JSON.stringify({ workloads, services, policies, networks }),
    certificates: certificates.map(({ identity, certChain }) => `${identity} ${certChain[0]?.serialNumber}`),
  }
}

/** Pods of a component, by the API server. */
export async function podsOf(mesh: MeshCluster, component: string): Promise<readonly Pod[]> {
  return (await mesh.cluster.get<{ items: readonly Pod[] }>('-n', SYSTEM, 'pods', '-l', `app=${component}`)).items
}
