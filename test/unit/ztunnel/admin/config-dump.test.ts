// The dump has the shape that istioctl reads, and says no secret.
import assert from 'node:assert/strict'
import { configDump } from '../../../../ztunnel/admin/config-dump.ts'
import { parseLocalXds } from '../../../../ztunnel/local-xds.ts'

const FILE = `
workloads:
- { uid: Kubernetes//Pod/shop/web, name: web, namespace: shop, workloadIps: ["10.0.0.1"], protocol: HBONE, services: { shop/web.example: { 80: 8080 } } }
services:
- { name: web, namespace: shop, hostname: web.example, vips: ["/10.96.0.1"], ports: { 80: 8080 }, waypoint: { destination: shop/wp.example, hboneMtlsPort: 15008 } }
policies:
- { name: deny, namespace: shop, scope: Namespace, action: Deny, rules: [[[{ destinationPorts: [80], principals: [Presence], sourceIps: ["10.0.0.0/8"] }]]] }
`

describe('configDump', () => {
  it('shows workloads, services with endpoints, policies and pods as ztunnel does', () => {
    const parsed = parseLocalXds(FILE)
    assert.ok(parsed.ok)
    const connection = { src: '10.0.0.2:1', originalDst: '10.0.0.1:80', actualDst: '10.0.0.1:80', protocol: 'HBONE' } as const
    const dump = JSON.parse(
      JSON.stringify(
        configDump({
          ...parsed.value,
          certificates: [],
          pods: [{ uid: 'u1', info: { name: 'web', namespace: 'shop', serviceAccount: 'web' }, state: 'Up' }],
          connections: [0, 1].map(() => ({ uid: 'u1', inbound: [connection], outbound: [] })), // two threads
          config: {},
          version: {},
        }),
      ),
    )
    assert.deepEqual(dump.workloads[0].services, ['shop/web.example'])
    assert.equal(dump.workloads[0].protocol, 'HBONE')
    const uid = 'Kubernetes//Pod/shop/web'
    assert.deepEqual(dump.services[0].endpoints, { [uid]: { workloadUid: uid, port: { 80: 8080 }, status: 'Healthy' } })
    assert.deepEqual(dump.services[0].vips, ['/10.96.0.1'])
    assert.deepEqual(dump.services[0].waypoint, { destination: 'shop/wp.example', hboneMtlsPort: 15008 })
    assert.deepEqual(dump.policies[0].rules, [[[{ principals: ['Presence'], sourceIps: ['10.0.0.0/8'], destinationPorts: [80] }]]])
    assert.equal(dump.workloadState.u1.connections.inbound.length, 2)
  })
})
