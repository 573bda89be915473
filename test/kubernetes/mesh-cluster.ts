// The cluster of this tier: made once for all files, with the mesh installed by `weft install` from an image of this checkout, and
// removed when the tests have ended, however they end. WEFT_TEST_CLUSTER=NAME uses one that is up and leaves it.
import assert from 'node:assert/strict'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { atEnd } from '../support/at-end.ts'
import { Cluster, guard } from './cluster/cluster.ts'
import { installMesh } from './cluster/mesh.ts'
import { attempt, until } from './cluster/processes.ts'

/** What everything of the mesh is in. */
export const SYSTEM = 'weft-system'
const ROOT = join(import.meta.dirname, '../..')
const FREE_NUMBERS = { from: 10, to: 63 }

let shared: Promise<MeshCluster> | undefined

/** The running mesh; the first caller waits until it is up. */
export function meshCluster(): Promise<MeshCluster> {
  if (shared === undefined) {
    shared = MeshCluster.up()
    atEnd(async () => (await shared?.catch(() => undefined))?.[Symbol.asyncDispose]())
  }
  return shared
}

/** What is special about a cluster. */
export interface MeshClusterOptions {
  /** Its name begins with this letter, and its networks with another number: it stands beside others. */
  readonly letter: string
  /** kube-proxy's mode; absent = none runs. */
  readonly proxy?: 'nftables' | 'iptables'
  /** Values of the chart, by name. */
  readonly values?: Readonly<Record<string, string>>
}

/** A cluster with the mesh. */
export class MeshCluster implements AsyncDisposable {
  readonly cluster: Cluster
  readonly #isOurs: boolean

  private constructor(cluster: Cluster, isOurs: boolean) {
    this.cluster = cluster
    this.#isOurs = isOurs
  }

  /** One for all files. @throws Error with what did not come up */
  static async up(): Promise<MeshCluster> {
    const given = process.env.WEFT_TEST_CLUSTER
    if (given !== undefined) return new MeshCluster(await Cluster.find(given), false)
    return MeshCluster.make({ letter: 't' })
  }

  /** One of its own, which the caller disposes of. @throws Error with what did not come up */
  static async make({ letter, proxy, values = {} }: MeshClusterOptions): Promise<MeshCluster> {
    const id = `${letter}${process.pid}`
    const number = FREE_NUMBERS.from + ((process.pid + letter.charCodeAt(0)) % (FREE_NUMBERS.to - FREE_NUMBERS.from))
    guard(id, process.pid)
    const cluster = await Cluster.up({ id, number, nodes: 2, hasDns: true, proxy }, (sentence) => console.log(`      ${sentence}`))
    const mesh = new MeshCluster(cluster, true)
    try {
      await mesh.#install(values)
      return mesh
    } catch (error) {
      await mesh[Symbol.asyncDispose]()
      throw error
    }
  }

  /** The weft command of this checkout, on the cluster. */
  weft(...words: readonly string[]): ReturnType<typeof attempt> {
    return attempt(process.execPath, [join(ROOT, 'cli/main.ts'), ...words], { env: this.cluster.env })
  }

  /** Files of what a component's containers have written, on all nodes; also of those that have ended. */
  logFiles(component: string): string[] {
    const { layout } = this.cluster
    return Array.from({ length: layout.nodes }, (_, index) => join(layout.dir, `node${index + 1}`, 'var/log/pods')).flatMap((pods) =>
      entries(pods)
        .filter((name) => name.startsWith(`${SYSTEM}_${component}-`))
        .flatMap((name) => entries(join(pods, name, component)).map((file) => join(pods, name, component, file))),
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isOurs) await this.cluster[Symbol.asyncDispose]()
  }

  async #install(values: Readonly<Record<string, string>>): Promise<void> {
    const { status, stdout, stderr } = await installMesh(
      this.cluster,
      `localhost/weft:${process.pid}`,
      (words) => this.weft(...words),
      values,
    )
    assert.equal(status, 0, `${stdout}\n${stderr}`)
    await until(
      'both nodes take pods',
      60_000,
      async () => (await this.cluster.kubectl('get', 'nodes', '-o', 'jsonpath={..taints}')) === '',
    )
  }
}

function entries(path: string): string[] {
  return existsSync(path) ? readdirSync(path) : []
}
