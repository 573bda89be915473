// The shop beside kube-proxy: the same scenes, with service addresses of pods outside the mesh translated by kube-proxy. The tests before
// this one run without it.
import assert from 'node:assert/strict'
import { SCENES } from '../../cli/demo/claims.ts'
import { startKubeProxy } from './cluster/node.ts'
import { killDaemon, until } from './cluster/processes.ts'
import { meshCluster, type MeshCluster } from './mesh-cluster.ts'
import { ClusterShop } from './shop-on-cluster.ts'

/** Those in which the way to a service matters. */
const PLAYED = ['meshed', 'authorized', 'strict', 'toggled', 'waypoint', 'canary']

describe('the shop on Kubernetes with kube-proxy', () => {
  let mesh: MeshCluster
  let shop: ClusterShop
  const nodes = [1, 2]
  /** Whether the mesh translates service addresses for pods outside it. */
  const serveServices = async (isServed: boolean): Promise<void> => {
    const { status, stderr } = await mesh.weft('upgrade', '--timeout', '600', '--set', `cni.serveServices=${isServed}`)
    assert.equal(status, 0, stderr)
  }
  before(async () => {
    mesh = await meshCluster()
    const { layout, binaries } = mesh.cluster
    for (const number of nodes) startKubeProxy(layout, mesh.cluster.node(number), binaries, 'nftables')
    await serveServices(false)
    for (const number of nodes)
      await until(`kube-proxy of node ${number} has its rules`, 60_000, async () => {
        const { stdout } = await mesh.cluster.onNode(number, 'nft', 'list', 'table', 'ip', 'kube-proxy')
        return stdout.includes('10.96.0.10')
      })
    shop = await ClusterShop.open(mesh)
  })
  after(async () => {
    await shop?.[Symbol.asyncDispose]()
    for (const number of nodes) {
      await killDaemon(mesh.cluster.layout, `node${number}-kube-proxy`)
      await mesh.cluster.onNode(number, 'nft', 'delete', 'table', 'ip', 'kube-proxy')
    }
    await serveServices(true)
  })

  for (const scene of SCENES.filter(({ name }) => PLAYED.includes(name))) {
    it(`plays the scene ${scene.name}`, async () => {
      const claims = await scene(shop)
      assert.deepEqual(
        claims.filter(({ isTrue }) => !isTrue),
        [],
      )
    })
  }
})
