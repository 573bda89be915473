// The shop's YAML, unchanged, on a real cluster without kube-proxy: the same scenes as `weft demo --check` on the local runtime give the
// same results.
import assert from 'node:assert/strict'
import { SCENES } from '../../cli/demo/claims.ts'
import { meshCluster } from './mesh-cluster.ts'
import { ClusterShop } from './shop-on-cluster.ts'

describe('the shop on Kubernetes', () => {
  let shop: ClusterShop
  before(async () => {
    shop = await ClusterShop.open(await meshCluster())
  })
  after(async () => {
    await shop?.[Symbol.asyncDispose]()
  })

  for (const scene of SCENES) {
    it(`plays the scene ${scene.name}`, async () => {
      const claims = await scene(shop)
      for (const { says, evidence } of claims) console.log(`      ${says}: ${evidence}`)
      const untrue = claims.filter(({ isTrue }) => !isTrue)
      assert.deepEqual(untrue, [])
    })
  }
})
