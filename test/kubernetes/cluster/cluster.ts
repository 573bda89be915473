// A real Kubernetes on one machine: control plane, nodes with containerd and kubelet, each in namespaces and cgroups of its own.
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { BASE_PROGRAMS, type Binaries, makeBinaries } from './binaries.ts'
import { startControlPlane } from './control-plane.ts'
import { startDns } from './dns.ts'
import { makeImages } from './images.ts'
import { type ClusterLayout, type ClusterOptions, clusterLayout, nodeLayout } from './layout.ts'
import { importImage, inNode, startNode } from './node.ts'
import { makeClusterPki } from './pki.ts'
import { attempt, run, wasInterrupted } from './processes.ts'
import { removeCluster } from './remove.ts'

/** A cluster that runs. Disposal removes it. */
export class Cluster implements AsyncDisposable {
  readonly layout: ClusterLayout
  readonly binaries: Binaries

  private constructor(layout: ClusterLayout, binaries: Binaries) {
    this.layout = layout
    this.binaries = binaries
  }

  /**
   * Builds what is missing, starts everything and waits until the nodes are Ready. What fails half-way is removed again, its logs stay (not after `interrupt`).
   * @param tell progress, one sentence at a time
   * @throws Error when one of its name is up
   */
  static async up(options: ClusterOptions, tell: (sentence: string) => void): Promise<Cluster> {
    const layout = clusterLayout(options)
    if (existsSync(join(layout.pidDir, 'etcd'))) throw new Error(`the cluster ${layout.id} is up already`)
    const binaries = await makeBinaries([...BASE_PROGRAMS, ...(options.hasDns === true ? (['coredns'] as const) : [])], tell)
    const images = makeImages(binaries, options.hasDns === true)
    rmSync(layout.dir, { recursive: true, force: true })
    mkdirSync(layout.dir, { recursive: true })
    writeFileSync(join(layout.dir, 'options.json'), JSON.stringify(options))
    let nodes: readonly Promise<void>[] = []
    try {
      await makeClusterPki(layout)
      await startControlPlane(layout, binaries)
      tell('the control plane is ready')
      const numbers = Array.from({ length: layout.nodes }, (_, index) => index + 1)
      nodes = numbers.map((number) => startNode(layout, number, binaries, images))
      await Promise.all(nodes)
      const cluster = new Cluster(layout, binaries)
      if (options.hasDns === true) await startDns(cluster)
      return cluster
    } catch (error) {
      await Promise.allSettled(nodes)
      await removeCluster(layout, !wasInterrupted())
      throw error
    } finally {
      for (const image of images.filter((path) => path.includes(`.${process.pid}.`))) rmSync(image, { force: true })
    }
  }

  /** The running cluster of a name. @throws Error when there is none */
  static async find(id: string): Promise<Cluster> {
    const file = join(clusterLayout({ id, number: 0, nodes: 0 }).dir, 'options.json')
    if (!existsSync(file)) throw new Error(`no cluster ${id} is up`)
    const options = JSON.parse(readFileSync(file, 'utf8')) as ClusterOptions
    return new Cluster(clusterLayout(options), await makeBinaries([], () => undefined))
  }

  /** Environment for kubectl and the weft command. */
  get env(): Readonly<Record<string, string>> {
    return { KUBECONFIG: this.layout.kubeconfig, PATH: `${this.binaries.dir}:${process.env.PATH}` }
  }

  /** Runs kubectl. @returns what it printed @throws Error with what it said */
  kubectl(...args: readonly string[]): Promise<string> {
    return run(this.binaries.path('kubectl'), args, { env: this.env })
  }

  /** Runs kubectl when its failure is an answer too. */
  try(...args: readonly string[]): ReturnType<typeof attempt> {
    return attempt(this.binaries.path('kubectl'), args, { env: this.env })
  }

  /** Applies objects, on the server's side. */
  async apply(...objects: readonly object[]): Promise<void> {
    const list = { apiVersion: 'v1', kind: 'List', items: objects }
    const args = ['apply', '--server-side', '--force-conflicts', '-f', '-']
    await run(this.binaries.path('kubectl'), args, { env: this.env, input: JSON.stringify(list) })
  }

  /** Objects as the API server has them. */
  async get<T>(...args: readonly string[]): Promise<T> {
    return JSON.parse(await this.kubectl('get', ...args, '-o', 'json')) as T
  }

  /** Runs a command in a node's namespaces. */
  onNode(number: number, ...command: readonly string[]): ReturnType<typeof attempt> {
    const [program = '', ...args] = inNode(this.layout, number, command)
    return attempt(program, args, { env: this.env })
  }

  /** Gives every node the images of an archive. */
  async load(archive: string): Promise<void> {
    const numbers = Array.from({ length: this.layout.nodes }, (_, index) => index + 1)
    await Promise.all(numbers.map((number) => importImage(this.layout, number, this.binaries, archive)))
  }

  /** Node `number`'s names and paths. */
  node(number: number): ReturnType<typeof nodeLayout> {
    return nodeLayout(this.layout, number)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await removeCluster(this.layout)
  }
}

/** Starts a process of its own that removes the cluster as soon as `pid` has ended, however it ends. */
export function guard(id: string, pid: number): void {
  const main = join(import.meta.dirname, 'main.ts')
  spawn(process.execPath, [main, 'guard', '--id', id, '--pid', String(pid)], { detached: true, stdio: 'ignore' }).unref()
}
