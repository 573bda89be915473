// The outbound and inbound decisions as tables.
import assert from 'node:assert/strict'
import type { Endpoint, IpAddress } from '../../../../model/address.ts'
import type { Service } from '../../../../model/service.ts'
import type { Workload } from '../../../../model/workload.ts'
import { decideInbound, decideOutbound, decidePlaintext, inboundService } from '../../../../ztunnel/proxy/decide.ts'
import type { MeshView } from '../../../../ztunnel/proxy/decide.ts'
import { ip, serviceOf, workloadOf } from '../../../support/mesh-values.ts'

const at = (address: string, port: number): Endpoint => ({ ip: ip(address), port })
const workload = (name: string, address: string, change: Partial<Workload> = {}): Workload => workloadOf(name, [address], change)
const service = (name: string, vip: string, change: Partial<Service> = {}): Service => serviceOf(name, [vip], change)

const WAYPOINT = { kind: 'address', network: '', ip: ip('10.244.1.200'), hbonePort: 15008 } as const
const ABSENT = { kind: 'hostname', namespace: 'shop', hostname: 'waypoint.shop.svc.cluster.local', hbonePort: 15008 } as const
const client = workload('client', '10.244.1.2')
const PODS = [
  client,
  workload('server', '10.244.2.2', { services: new Map([['shop/web.shop.svc.cluster.local', [{ servicePort: 80, targetPort: 8080 }]]]) }),
  workload('plain', '10.244.2.3', { protocol: 'NONE' }),
  workload('late', '10.244.2.4', { isPending: true }),
  workload('far', '10.244.2.5', { network: 'other' }),
  workload('behind', '10.244.2.6', { waypoint: WAYPOINT }),
  workload('lost', '10.244.2.7', { waypoint: ABSENT }),
  workload('waypoint', '10.244.1.200', { waypoint: undefined }),
]
const SERVICES = [
  service('web', '10.96.0.1', { subjectAltNames: ['spiffe://other.domain/ns/a/sa/b', 'web.example'] }),
  service('empty', '10.96.0.2'),
  service('guarded', '10.96.0.3', { waypoint: WAYPOINT }),
  service('unguarded', '10.96.0.4', { waypoint: ABSENT }),
  service('through', '10.96.0.5', { loadBalancing: { routingPreference: [], mode: 'PASSTHROUGH', allowsUnhealthy: false } }),
  service('way', '10.96.0.8', { ports: [{ servicePort: 15008, targetPort: 15008, appProtocol: 'UNKNOWN' }] }),
  service('named', '10.96.0.9', { waypoint: { ...ABSENT, hostname: 'way.shop.svc.cluster.local' } }),
  service('names', '10.96.0.10'),
  service('tolate', '10.96.0.6'),
  service('toplain', '10.96.0.7'),
]
const ENDPOINTS: Record<string, string> = { web: 'server', tolate: 'late', toplain: 'plain' }

const WAY = workload('way', '10.244.1.200', { hasNativeTunnel: true })

const MESH: MeshView = {
  workloadByAddress: (_network, address) => PODS.find((pod) => pod.addresses.includes(address)),
  serviceByVip: (_network, address) => SERVICES.find((known) => known.vips[0]?.cidr.ip === address),
  serviceByHost: (_namespace, hostname) => SERVICES.find((known) => known.hostname === hostname),
  unresolvedNames: (known, port) => (known.name === 'names' && port === 80 ? ['a.example'] : []),
  isInMesh: (address) => address.startsWith('10.244.') || address.startsWith('10.96.'),
  chooseEndpoint(known, port) {
    if (known.name === 'way' && port === 15008) return { workload: WAY, endpoint: at('10.244.1.200', 15008) }
    const pod = PODS.find((candidate) => candidate.name === ENDPOINTS[known.name])
    return pod === undefined || port !== 80 ? undefined : { workload: pod, endpoint: { ip: pod.addresses[0] as IpAddress, port: 8080 } }
  },
}

describe('decideOutbound', () => {
  const rows: { name: string; from?: Workload; dst: Endpoint; want: string }[] = [
    {
      name: 'an enrolled pod',
      dst: at('10.244.2.2', 8080),
      want: 'hbone 10.244.2.2:15008 authority 10.244.2.2:8080 as spiffe://cluster.local/ns/shop/sa/server',
    },
    {
      name: 'a service',
      dst: at('10.96.0.1', 80),
      want: 'hbone 10.244.2.2:15008 authority 10.244.2.2:8080 as spiffe://cluster.local/ns/shop/sa/server,spiffe://other.domain/ns/a/sa/b',
    },
    { name: 'a port that the service lacks', dst: at('10.96.0.1', 81), want: 'refuse NO_HEALTHY_UPSTREAM' },
    { name: 'a service without endpoints', dst: at('10.96.0.2', 80), want: 'refuse NO_HEALTHY_UPSTREAM' },
    { name: 'a service whose endpoints have names', dst: at('10.96.0.10', 80), want: 'unresolved a.example' },
    { name: 'another port of it', dst: at('10.96.0.10', 81), want: 'refuse NO_HEALTHY_UPSTREAM' },
    {
      name: 'a service behind a waypoint',
      dst: at('10.96.0.3', 80),
      want: 'hbone 10.244.1.200:15008 authority 10.96.0.3:80 as spiffe://cluster.local/ns/shop/sa/waypoint',
    },
    {
      name: 'a service behind a waypoint that is named',
      dst: at('10.96.0.9', 80),
      want: 'hbone 10.244.1.200:15008 authority 10.96.0.9:80 as spiffe://cluster.local/ns/shop/sa/way',
    },
    { name: 'a service whose waypoint is absent', dst: at('10.96.0.4', 80), want: 'refuse UNKNOWN_WAYPOINT' },
    { name: 'a passthrough service', dst: at('10.96.0.5', 443), want: 'direct 10.96.0.5:443' },
    { name: 'a service with a pending endpoint', dst: at('10.96.0.6', 80), want: 'refuse DESTINATION_PENDING' },
    { name: 'a service with a plain endpoint', dst: at('10.96.0.7', 80), want: 'direct 10.244.2.3:8080' },
    { name: 'a known pod that is not enrolled', dst: at('10.244.2.3', 80), want: 'direct 10.244.2.3:80' },
    { name: 'a pending pod', dst: at('10.244.2.4', 80), want: 'refuse DESTINATION_PENDING' },
    { name: 'a pod of another network', dst: at('10.244.2.5', 80), want: 'refuse OTHER_NETWORK' },
    {
      name: 'a pod behind a waypoint',
      dst: at('10.244.2.6', 80),
      want: 'hbone 10.244.1.200:15008 authority 10.244.2.6:80 as spiffe://cluster.local/ns/shop/sa/waypoint',
    },
    {
      name: 'a pod behind a waypoint, from it',
      from: PODS[7] as Workload,
      dst: at('10.244.2.6', 80),
      want: 'hbone 10.244.2.6:15008 authority 10.244.2.6:80 as spiffe://cluster.local/ns/shop/sa/behind',
    },
    { name: 'a pod whose waypoint is absent', dst: at('10.244.2.7', 80), want: 'refuse UNKNOWN_WAYPOINT' },
    { name: 'an unknown address of the mesh', dst: at('10.244.9.9', 80), want: 'unknown 10.244.9.9' },
    { name: 'an address outside', dst: at('93.184.216.34', 443), want: 'direct 93.184.216.34:443' },
    { name: 'loopback', dst: at('127.0.0.1', 15001), want: 'refuse SELF_CALL' },
    { name: 'its own mesh port', dst: at('10.244.1.2', 15006), want: 'refuse SELF_CALL' },
    {
      name: 'anything, from a pending pod',
      from: workload('x', '10.244.1.9', { isPending: true }),
      dst: at('93.184.216.34', 80),
      want: 'refuse SOURCE_PENDING',
    },
  ]
  for (const { name, from = client, dst, want } of rows) {
    it(name, () => {
      const got = decideOutbound(from, dst, MESH)
      const text = (to: Endpoint): string => `${to.ip}:${to.port}`
      assert.equal(
        got.kind === 'hbone'
          ? `hbone ${text(got.to)} authority ${text(got.authority)} as ${got.peers.join(',')}`
          : got.kind === 'direct'
            ? `direct ${text(got.to)}`
            : got.kind === 'unknown'
              ? `unknown ${got.ip}`
              : got.kind === 'unresolved'
                ? `unresolved ${got.hostnames.join()}`
                : `refuse ${got.code}`,
        want,
      )
    })
  }
})

describe('decideInbound', () => {
  const pod = PODS[1] as Workload
  for (const { authority, want } of [
    { authority: '10.244.2.2:8080', want: 8080 },
    { authority: '10.244.2.3:8080', want: 'WRONG_AUTHORITY' },
    { authority: '10.244.2.2:15008', want: 'SELF_CALL' },
    { authority: '10.244.2.2:15001', want: 'SELF_CALL' },
    { authority: '10.244.2.2:15006', want: 'SELF_CALL' },
    { authority: '10.244.2.2:15053', want: 'SELF_CALL' },
    { authority: '10.244.2.2:0', want: 'SELF_CALL' },
    { authority: '127.0.0.1:8080', want: 'WRONG_AUTHORITY' },
    { authority: '[::ffff:10.244.2.2]:8080', want: 8080 },
    { authority: 'web.shop.svc.cluster.local:80', want: 8080 },
    { authority: 'web.shop.svc.cluster.local:81', want: 'UNKNOWN_HOST' },
    { authority: 'other.shop.svc.cluster.local:80', want: 'UNKNOWN_HOST' },
    { authority: '10.244.2.2', want: 'BAD_AUTHORITY' },
    { authority: '10.244.2.2:99999', want: 'BAD_AUTHORITY' },
    { authority: '010.244.2.2:80', want: 'BAD_AUTHORITY' },
    { authority: '', want: 'BAD_AUTHORITY' },
    { authority: 'a b:80', want: 'BAD_AUTHORITY' },
  ] as const) {
    it(`authority ${JSON.stringify(authority)}`, () => {
      const got = decideInbound(pod, ip('10.244.2.2'), authority)
      assert.equal(got.kind === 'deliver' ? got.to.port : got.code, want)
    })
  }

  it('plaintext to a port of the mesh is refused', () => {
    assert.equal(decidePlaintext(at('10.244.2.2', 15006)).kind, 'refuse')
    assert.equal(decidePlaintext(at('10.244.2.2', 80)).kind, 'deliver')
  })

  it('believes a forwarded host only when the pod serves it', () => {
    assert.equal(inboundService(pod, 8080, 'empty.shop.svc.cluster.local', MESH)?.name, 'web')
    assert.equal(inboundService(pod, 9090, 'web.shop.svc.cluster.local', MESH)?.name, 'web')
    assert.equal(inboundService(pod, 9090, undefined, MESH), undefined)
  })
})
