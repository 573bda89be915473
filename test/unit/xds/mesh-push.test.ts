// A push as a change of the state: good resources are taken, bad ones named.
import assert from 'node:assert/strict'
import { ADDRESS_TYPE, AUTHORIZATION_TYPE, NETWORKS_TYPE } from '../../../xds/kinds.ts'
import { encodeService, encodeWorkload } from '../../../xds/resource/address.ts'
import { encodeAuthorization } from '../../../xds/resource/authorization.ts'
import { encodeNetworks } from '../../../xds/resource/networks.ts'
import { parseLocalXds } from '../../../ztunnel/local-xds.ts'
import { difference } from '../../../ztunnel/source-file.ts'
import { decodeMeshPush } from '../../../xds/mesh-push.ts'

const FILE = `
workloads:
- { uid: Kubernetes//Pod/shop/web, name: web, namespace: shop, workloadIps: ["10.0.0.1"], protocol: HBONE, workloadName: web }
services:
- { name: web, namespace: shop, hostname: web.shop.svc.cluster.local, vips: ["/10.96.0.1"], ports: { 80: 8080 }, canonical: true }
policies:
- { name: deny, namespace: shop, scope: Namespace, action: Deny, rules: [[[{ destinationPorts: [80] }]]] }
networks: ["10.0.0.0/8"]
`

describe('mesh-push', () => {
  const parsed = parseLocalXds(FILE)
  assert.ok(parsed.ok)
  const [web] = parsed.value.workloads
  const [service] = parsed.value.services
  const [policy] = parsed.value.policies
  assert.ok(web !== undefined && service !== undefined && policy !== undefined)

  it('takes workloads and services of one push, and names what it cannot read', () => {
    const { change, errors } = decodeMeshPush(ADDRESS_TYPE, {
      upserts: [
        { name: web.uid, bytes: encodeWorkload(web) },
        { name: 'shop/web.shop.svc.cluster.local', bytes: encodeService(service) },
        { name: 'broken', bytes: Buffer.from([0xff]) },
      ],
      removes: ['gone'],
    })
    assert.equal(change.workloads?.upserts[0]?.workloadName, 'web')
    assert.equal(change.services?.upserts[0]?.hostname, service.hostname)
    assert.deepEqual([change.workloads?.removes, change.services?.removes], [['gone'], ['gone']])
    assert.match(errors.join(), /^broken: /)
  })

  it('takes policies and address blocks', () => {
    const policies = decodeMeshPush(AUTHORIZATION_TYPE, {
      upserts: [{ name: 'shop/deny', bytes: encodeAuthorization(policy) }],
      removes: ['shop/old'],
    })
    assert.deepEqual(policies.change.policies, { upserts: [policy], removes: ['shop/old'] })
    const bytes = encodeNetworks({ podAndServiceCidrs: parsed.value.networks })
    assert.deepEqual(
      decodeMeshPush(NETWORKS_TYPE, { upserts: [{ name: 'default', bytes }], removes: [] }).change.networks,
      parsed.value.networks,
    )
    assert.deepEqual(decodeMeshPush(NETWORKS_TYPE, { upserts: [], removes: ['default'] }).change.networks, [])
  })

  it('refuses a type that was not asked for', () => {
    assert.equal(decodeMeshPush('type.googleapis.com/other', { upserts: [], removes: [] }).errors.length, 1)
  })

  it('a changed file names what is gone', () => {
    const change = difference(parsed.value, { workloads: [], services: [service], policies: [], networks: [] })
    assert.deepEqual(change.workloads, { upserts: [], removes: [web.uid] })
    assert.deepEqual(change.services.removes, [])
    assert.deepEqual(change.policies.removes, ['shop/deny'])
  })
})
