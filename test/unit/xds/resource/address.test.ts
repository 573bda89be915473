// Workloads, services, policies and networks survive the wire unchanged; every kind of bad value is refused with its field.
import assert from 'node:assert/strict'
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import { describe, it } from 'mocha'
import { type IpAddress, parseCidr } from '../../../../model/address.ts'
import { type Authorization, EMPTY_MATCH } from '../../../../model/policy.ts'
import type { Service } from '../../../../model/service.ts'
import type { Workload } from '../../../../model/workload.ts'
import { AuthorizationSchema } from '../../../../proto/authorization_pb.ts'
import { AddressSchema, type ServiceSchema, type WorkloadSchema } from '../../../../proto/workload_pb.ts'
import { decodeAddress, encodeService, encodeWorkload } from '../../../../xds/resource/address.ts'
import { decodeAuthorization, encodeAuthorization } from '../../../../xds/resource/authorization.ts'
import { decodeNetworks, encodeNetworks } from '../../../../xds/resource/networks.ts'

const ip = (text: string): IpAddress => text as IpAddress
const cidr = (text: string) => {
  const block = parseCidr(text)
  assert.ok(block)
  return block
}

const WORKLOAD: Workload = {
  uid: 'Kubernetes//Pod/shop/cart-1',
  name: 'cart-1',
  namespace: 'shop',
  addresses: [ip('10.244.1.5'), ip('fd00:10:244:1::5')],
  hostname: '',
  network: '',
  protocol: 'HBONE',
  trustDomain: 'cluster.local',
  serviceAccount: 'cart',
  node: 'node-1',
  canonicalName: 'cart',
  canonicalRevision: 'v2',
  workloadType: 'DEPLOYMENT',
  workloadName: 'cart',
  health: 'UNHEALTHY',
  clusterId: 'Kubernetes',
  locality: { region: 'r', zone: 'z', subzone: '' },
  isHostNetwork: false,
  capacity: 3,
  services: new Map([['shop/cart.shop.svc.cluster.local', [{ servicePort: 80, targetPort: 8080 }]]]),
  authorizationPolicies: ['shop/only-front'],
  waypoint: { kind: 'hostname', namespace: 'shop', hostname: 'waypoint.shop.svc.cluster.local', hbonePort: 15008 },
  networkGateway: { kind: 'address', network: 'other', ip: ip('192.0.2.7'), hbonePort: 15008 },
  hasNativeTunnel: false,
  applicationTunnel: { protocol: 'PROXY', port: 15088 },
  isPending: false,
}
const SERVICE: Service = {
  name: 'cart',
  namespace: 'shop',
  hostname: 'cart.shop.svc.cluster.local',
  vips: [
    { network: '', cidr: cidr('10.96.0.12') },
    { network: '', cidr: cidr('fd00:10:96::/120') },
  ],
  ports: [{ servicePort: 80, targetPort: 0, appProtocol: 'HTTP2' }],
  subjectAltNames: ['spiffe://cluster.local/ns/shop/sa/cart'],
  waypoint: { kind: 'address', network: '', ip: ip('10.96.0.99'), hbonePort: 15008 },
  loadBalancing: { routingPreference: ['NETWORK', 'REGION', 'ZONE'], mode: 'FAILOVER', allowsUnhealthy: true },
  ipFamilies: 'DUAL',
  isCanonical: true,
  isPrivate: false,
}
const POLICY: Authorization = {
  name: 'p',
  namespace: 'shop',
  scope: 'WORKLOAD_SELECTOR',
  action: 'DENY',
  isDryRun: true,
  rules: [
    [],
    [
      [],
      [
        {
          ...EMPTY_MATCH,
          principals: [{ kind: 'presence' }, { kind: 'suffix', value: '/sa/x' }],
          notNamespaces: [{ kind: 'exact', value: 'ops' }],
          sourceIps: [cidr('10.0.0.0/8'), cidr('::/0')],
          notDestinationPorts: [8080],
          serviceAccounts: [{ namespace: 'shop', serviceAccount: 'cart' }],
        },
      ],
    ],
  ],
}

function errorsOf(result: { ok: boolean; errors?: readonly string[] }): string {
  assert.equal(result.ok, false)
  return (result.errors ?? []).join(' | ')
}

describe('xds/resource', () => {
  it('carries a workload unchanged, in every form', () => {
    const plain = {
      ...WORKLOAD,
      protocol: 'NONE',
      capacity: 1,
      waypoint: undefined,
      networkGateway: undefined,
      applicationTunnel: undefined,
    } as const
    for (const workload of [WORKLOAD, plain, { ...WORKLOAD, isPending: true }, { ...WORKLOAD, capacity: 0, isHostNetwork: true }]) {
      assert.deepEqual(decodeAddress(encodeWorkload(workload)), { ok: true, value: { kind: 'workload', workload } })
    }
  })

  it('publishes a pending workload as HBONE whatever its protocol is', () => {
    const decoded = decodeAddress(encodeWorkload({ ...WORKLOAD, protocol: 'NONE', isPending: true }))
    assert.ok(decoded.ok && decoded.value.kind === 'workload')
    assert.equal(decoded.value.workload.protocol, 'HBONE')
    assert.equal(decoded.value.workload.isPending, true)
  })

  it('carries a service unchanged', () => {
    for (const service of [SERVICE, { ...SERVICE, vips: [], waypoint: undefined, loadBalancing: undefined }])
      assert.deepEqual(decodeAddress(encodeService(service)), { ok: true, value: { kind: 'service', service } })
  })

  it('gives equal bytes for equal workloads, whatever the order of the services', () => {
    const a: [string, { servicePort: number; targetPort: number }[]] = ['shop/a.svc', [{ servicePort: 1, targetPort: 1 }]]
    const b: [string, { servicePort: number; targetPort: number }[]] = ['shop/b.svc', [{ servicePort: 2, targetPort: 2 }]]
    const one = encodeWorkload({ ...WORKLOAD, services: new Map([a, b]) })
    assert.ok(one.equals(encodeWorkload({ ...WORKLOAD, services: new Map([b, a]) })))
  })

  it('uses the published field numbers', () => {
    // Address{workload=1: uid=20 "u", namespace=2 "n", tunnel_protocol=5 HBONE}
    const bytes = Buffer.from([0x0a, 9, 0x12, 1, 0x6e, 0x28, 1, 0xa2, 1, 1, 0x75])
    const decoded = decodeAddress(bytes)
    assert.ok(decoded.ok && decoded.value.kind === 'workload')
    assert.equal(decoded.value.workload.uid, 'u')
    assert.equal(decoded.value.workload.serviceAccount, 'default')
    assert.equal(decoded.value.workload.trustDomain, 'cluster.local')
    assert.equal(decoded.value.workload.capacity, 1)
  })

  it('carries policies and networks unchanged', () => {
    assert.deepEqual(decodeAuthorization(encodeAuthorization(POLICY)), { ok: true, value: POLICY })
    const networks = { podAndServiceCidrs: [cidr('10.244.0.0/16'), cidr('fd00:10:96::/112')] }
    assert.deepEqual(decodeNetworks(encodeNetworks(networks)), { ok: true, value: networks })
  })

  const WORKLOADS: readonly { name: string; given: MessageInitShape<typeof WorkloadSchema>; want: RegExp }[] = [
    { name: 'no uid', given: { uid: '' }, want: /uid: is empty/ },
    { name: 'long uid', given: { uid: 'u'.repeat(2000) }, want: /uid: 2000 characters/ },
    { name: 'control characters', given: { node: 'a\nb' }, want: /node: holds characters/ },
    { name: 'namespace with a slash', given: { namespace: 'a/b' }, want: /namespace: "a\/b" is not a lower-case name/ },
    { name: 'upper-case account', given: { serviceAccount: 'Cart' }, want: /service_account/ },
    { name: 'trust domain with a path', given: { trustDomain: 'a/b' }, want: /trust_domain/ },
    { name: 'address of 5 bytes', given: { addresses: [new Uint8Array(5)] }, want: /addresses: 5 bytes/ },
    { name: 'loopback address', given: { addresses: [Uint8Array.of(127, 0, 0, 1)] }, want: /loopback/ },
    {
      name: 'mapped loopback',
      given: { addresses: [Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 127, 0, 0, 1)] },
      want: /loopback/,
    },
    { name: 'legacy protocol', given: { tunnelProtocol: 2 }, want: /legacy Istio mTLS/ },
    { name: 'unknown protocol', given: { tunnelProtocol: 9 as 0 }, want: /tunnel_protocol: unknown value 9/ },
    { name: 'unknown status', given: { status: 9 as 0 }, want: /status: unknown value 9/ },
    { name: 'unknown mode', given: { networkMode: -1 as 0 }, want: /network_mode: unknown value -1/ },
    { name: 'service key', given: { services: { cart: {} } }, want: /is not namespace\/hostname/ },
    { name: 'service port', given: { services: { 'a/b': { ports: [{ servicePort: 70000 }] } } }, want: /70000 is not a port/ },
    { name: 'empty waypoint', given: { waypoint: {} }, want: /waypoint.*neither hostname nor address/ },
    { name: 'tunnel port', given: { applicationTunnel: { port: 65536 } }, want: /application_tunnel.port/ },
    { name: 'too many addresses', given: { addresses: Array(65).fill(Uint8Array.of(10, 0, 0, 1)) }, want: /65 entries, at most 64/ },
  ]
  for (const { name, given, want } of WORKLOADS) {
    it(`refuses a workload: ${name}`, () => {
      const value = { uid: 'u', namespace: 'n', ...given }
      const bytes = toBinary(AddressSchema, create(AddressSchema, { type: { case: 'workload', value } }))
      assert.match(errorsOf(decodeAddress(bytes)), want)
    })
  }

  const SERVICES: readonly { name: string; given: MessageInitShape<typeof ServiceSchema>; want: RegExp }[] = [
    { name: 'no hostname', given: { hostname: '' }, want: /hostname: "" is not a host name/ },
    { name: 'long prefix', given: { addresses: [{ address: Uint8Array.of(10, 0, 0, 1), length: 33 }] }, want: /\/33 is longer/ },
    { name: 'port 0', given: { ports: [{ servicePort: 0 }] }, want: /0 is not a port/ },
    { name: 'app protocol', given: { ports: [{ servicePort: 1, appProtocol: 77 as 0 }] }, want: /app_protocol: unknown value 77/ },
    { name: 'scope', given: { loadBalancing: { routingPreference: [0] } }, want: /routing_preference: unknown value 0/ },
    {
      name: 'waypoint without port',
      given: { waypoint: { destination: { case: 'hostname', value: { namespace: 'a', hostname: 'b' } } } },
      want: /hbone_mtls_port/,
    },
  ]
  for (const { name, given, want } of SERVICES) {
    it(`refuses a service: ${name}`, () => {
      const value = { name: 'cart', namespace: 'shop', hostname: 'h', ...given }
      const bytes = toBinary(AddressSchema, create(AddressSchema, { type: { case: 'service', value } }))
      assert.match(errorsOf(decodeAddress(bytes)), want)
    })
  }

  it('never reads weighted waypoints as "no waypoint"', () => {
    const to = (hostname: string) => ({
      destination: { case: 'hostname' as const, value: { namespace: 'shop', hostname } },
      hboneMtlsPort: 15008,
    })
    const value = {
      namespace: 'shop',
      hostname: 'h',
      weightedWaypoints: [
        { destination: to('a'), weight: 10 },
        { destination: to('b'), weight: 90 },
      ],
    }
    const decoded = decodeAddress(toBinary(AddressSchema, create(AddressSchema, { type: { case: 'service', value } })))
    assert.ok(decoded.ok && decoded.value.kind === 'service')
    assert.deepEqual(decoded.value.service.waypoint, { kind: 'hostname', namespace: 'shop', hostname: 'b', hbonePort: 15008 })
  })

  it('reports every fault of a resource at once, at most 16', () => {
    const bad = Array(40).fill(new Uint8Array(3))
    const bytes = toBinary(AddressSchema, create(AddressSchema, { type: { case: 'workload', value: { addresses: bad, node: '\u0001' } } }))
    const result = decodeAddress(bytes)
    assert.ok(!result.ok)
    assert.equal(result.errors.length, 16)
  })

  it('refuses a policy as a whole when a part of it cannot be read', () => {
    const bytes = toBinary(
      AuthorizationSchema,
      create(AuthorizationSchema, {
        name: 'p',
        scope: 9 as 0,
        rules: [{ clauses: [{ matches: [{ principals: [{}], sourceIps: [{ address: new Uint8Array(3) }] }] }] }],
      }),
    )
    const text = errorsOf(decodeAuthorization(bytes))
    assert.match(text, /scope: unknown value 9/)
    assert.match(text, /principals: a value with no known kind/)
    assert.match(text, /source_ips: 3 bytes/)
    const narrowed = create(AuthorizationSchema, { name: 'p', rules: [{ clauses: [{ matches: [{ extensions: [{ name: 'x' }] }] }] }] })
    assert.match(errorsOf(decodeAuthorization(toBinary(AuthorizationSchema, narrowed))), /extensions/)
  })

  it('refuses an address with neither case, and bytes that are no protobuf', () => {
    assert.match(errorsOf(decodeAddress(Buffer.alloc(0))), /neither workload nor service/)
    assert.match(errorsOf(decodeAddress(Buffer.from('ffffffff', 'hex'))), /not protobuf/)
  })
})
