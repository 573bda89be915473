// The demo's shop on a real cluster: the same scenes as on the local runtime, with kubectl as the way to objects, pods and logs.
import { join } from 'node:path'
import { SHOP, SHOP_DIR, type PodCommand, PLAINTEXT_MARKER, ShopStage } from '../../cli/demo/shop-stage.ts'
import { Traffic } from '../../cli/demo/traffic.ts'

import type { MeshObject, Pod } from '../../model/object.ts'
import { Tap } from '../../tap/tap.ts'
import { steadyClock } from '../support/steady-clock.ts'
import type { MeshCluster } from './mesh-cluster.ts'

const START_LIMIT_MS = 90_000
/** Kinds whose plural is used by more than one API. */
const GROUPS: Readonly<Record<string, string>> = { gateways: 'gateways.gateway.networking.k8s.io' }

/** The shop in a cluster; dispose removes it. */
export class ClusterShop extends ShopStage implements AsyncDisposable {
  readonly #mesh: MeshCluster

  private constructor(mesh: MeshCluster, tap: Tap) {
    super({ tap, traffic: new Traffic(() => mesh.logFiles('ztunnel')), clock: steadyClock() })
    this.#mesh = mesh
  }

  /** Applies the shop's YAML as it is and waits until every pod is ready and in the mesh. @throws Error */
  static async open(mesh: MeshCluster): Promise<ClusterShop> {
    const tap = await Tap.open({ device: mesh.cluster.layout.bridge, markers: [PLAINTEXT_MARKER] })
    const shop = new ClusterShop(mesh, tap)
    try {
      await mesh.cluster.kubectl('apply', '-f', join(SHOP_DIR, 'shop.yaml'))
      const isReady = await shop.until(() => shop.#isReady(), START_LIMIT_MS)
      if (!isReady) throw new Error(`the shop is not ready: ${await mesh.cluster.kubectl('-n', SHOP, 'get', 'pods', '-o', 'wide')}`)
      return shop
    } catch (error) {
      await shop[Symbol.asyncDispose]()
      throw error
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.tap[Symbol.asyncDispose]()
    await this.#mesh.cluster.kubectl('delete', 'namespace', SHOP, '--ignore-not-found', '--wait=true', '--timeout=180s')
  }

  async pods(): Promise<readonly Pod[]> {
    return (await this.#mesh.cluster.get<{ items: readonly Pod[] }>('-n', SHOP, 'pods')).items.filter(
      (pod) => pod.metadata.deletionTimestamp === undefined,
    )
  }

  object(plural: string, name: string): Promise<MeshObject> {
    return this.#mesh.cluster.get<MeshObject>('-n', SHOP, GROUPS[plural] ?? plural, name)
  }

  async apply(object: MeshObject): Promise<void> {
    await this.#mesh.cluster.apply(object)
  }

  async remove(plural: string, namespace: string | undefined, name: string): Promise<void> {
    const place = namespace === undefined ? [] : ['-n', namespace]
    await this.#mesh.cluster.kubectl(...place, 'delete', GROUPS[plural] ?? plural, name, `--wait=${plural === 'namespaces'}`) // one of that name comes again
  }

  async setLabels(labels: Readonly<Record<string, string | null>>): Promise<void> {
    const patch = JSON.stringify({ metadata: { labels } })
    await this.#mesh.cluster.kubectl('patch', 'namespace', SHOP, '--type=merge', '-p', patch)
  }

  async exec(pod: string, command: readonly string[]): Promise<PodCommand> {
    const [namespace = '', name = ''] = pod.split('/')
    const { status, stdout, stderr } = await this.#mesh.cluster.try('-n', namespace, 'exec', target(namespace, name), '--', ...command)
    return { status, output: (stdout || stderr).trim() }
  }

  async logs(pod: string): Promise<string> {
    const [namespace = '', name = ''] = pod.split('/')
    return (await this.#mesh.cluster.try('-n', namespace, 'logs', target(namespace, name), '--tail=2000')).stdout
  }

  async #isReady(): Promise<boolean> {
    const pods = await this.pods()
    const isReady = (pod: Pod): boolean => pod.status?.conditions?.some((one) => one.type === 'Ready' && one.status === 'True') === true
    const isMeshed = (pod: Pod): boolean => pod.metadata.annotations?.['ambient.istio.io/redirection'] === 'enabled'
    return pods.length >= 7 && pods.every((pod) => isReady(pod) && isMeshed(pod))
  }
}

/** The shop's pods are named by their Deployments. */
function target(namespace: string, name: string): string {
  return namespace === SHOP ? `deployment/${name}` : `pod/${name}`
}
