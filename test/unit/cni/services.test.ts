// Services and slices to virtual addresses: families, ports by name, readiness, local policy.
import assert from 'node:assert/strict'
import { vipServices } from '../../../cni/services.ts'
import { formatEndpoint } from '../../../model/address.ts'
import type { EndpointSlice, Service, ServiceSpec, SliceEndpoint } from '../../../model/object.ts'

const PORTS = [{ name: 'http', port: 80, targetPort: 8080 }]
const service = (spec: ServiceSpec, name = 'cart'): Service => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, namespace: 'shop' },
  spec,
})
const slice = (endpoints: SliceEndpoint[], more: Partial<EndpointSlice> = {}): EndpointSlice => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: { name: 's', namespace: 'shop', labels: { 'kubernetes.io/service-name': 'cart' } },
  addressType: 'IPv4',
  endpoints,
  ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
  ...more,
})
const at = (address: string, conditions?: SliceEndpoint['conditions'], nodeName = 'node-1'): SliceEndpoint => ({
  addresses: [address],
  nodeName,
  ...(conditions === undefined ? {} : { conditions }),
})

const TABLE: readonly {
  readonly name: string
  readonly services: Service[]
  readonly slices?: EndpointSlice[]
  readonly want: string[]
}[] = [
  {
    name: 'one port, two endpoints, sorted',
    services: [service({ clusterIP: '10.96.0.1', ports: PORTS })],
    slices: [slice([at('10.244.1.9'), at('10.244.1.10', { ready: true })])],
    want: ['10.96.0.1:80 TCP -> 10.244.1.10:8080 10.244.1.9:8080'],
  },
  {
    name: 'no endpoints: kept, so that connects are refused',
    services: [service({ clusterIP: '10.96.0.1', ports: PORTS })],
    want: ['10.96.0.1:80 TCP -> '],
  },
  { name: 'headless', services: [service({ clusterIP: 'None', ports: PORTS })], want: [] },
  { name: 'external name', services: [service({ type: 'ExternalName', externalName: 'x.y', ports: PORTS })], want: [] },
  { name: 'without spec', services: [{ apiVersion: 'v1', kind: 'Service', metadata: { name: 'cart', namespace: 'shop' } }], want: [] },
  {
    name: 'both families, each with its own slice',
    services: [service({ clusterIP: '10.96.0.1', clusterIPs: ['10.96.0.1', 'fd00::1'], ports: PORTS })],
    slices: [slice([at('10.244.1.9')]), slice([at('fd00:10::9')], { addressType: 'IPv6' })],
    want: ['10.96.0.1:80 TCP -> 10.244.1.9:8080', '[fd00::1]:80 TCP -> [fd00:10::9]:8080'],
  },
  {
    name: 'TCP and UDP under one number',
    services: [
      service({
        clusterIP: '10.96.0.10',
        ports: [
          { name: 'dns', port: 53, protocol: 'UDP' },
          { name: 'dns-tcp', port: 53, protocol: 'TCP' },
        ],
      }),
    ],
    slices: [
      slice([at('172.30.0.2')], {
        ports: [
          { name: 'dns', port: 5353, protocol: 'UDP' },
          { name: 'dns-tcp', port: 5354, protocol: 'TCP' },
        ],
      }),
    ],
    want: ['10.96.0.10:53 TCP -> 172.30.0.2:5354', '10.96.0.10:53 UDP -> 172.30.0.2:5353'],
  },
  { name: 'SCTP is not carried', services: [service({ clusterIP: '10.96.0.1', ports: [{ port: 80, protocol: 'SCTP' }] })], want: [] },
  {
    name: 'not ready is left out',
    services: [service({ clusterIP: '10.96.0.1', ports: PORTS })],
    slices: [slice([at('10.244.1.9', { ready: false }), at('10.244.1.10')])],
    want: ['10.96.0.1:80 TCP -> 10.244.1.10:8080'],
  },
  {
    name: 'when none is ready, those that serve while they terminate',
    services: [service({ clusterIP: '10.96.0.1', ports: PORTS })],
    slices: [
      slice([at('10.244.1.9', { ready: false, serving: true, terminating: true }), at('10.244.1.10', { ready: false, serving: false })]),
    ],
    want: ['10.96.0.1:80 TCP -> 10.244.1.9:8080'],
  },
  {
    name: 'internalTrafficPolicy Local',
    services: [service({ clusterIP: '10.96.0.1', ports: PORTS, internalTrafficPolicy: 'Local' })],
    slices: [slice([at('10.244.2.9', undefined, 'node-2'), at('10.244.1.9')])],
    want: ['10.96.0.1:80 TCP -> 10.244.1.9:8080'],
  },
  {
    name: 'a slice of another service or namespace, foreign families and bad values',
    services: [service({ clusterIP: '10.96.0.1', ports: PORTS })],
    slices: [
      slice([at('10.244.1.1')], { metadata: { name: 'o', namespace: 'shop', labels: { 'kubernetes.io/service-name': 'other' } } }),
      slice([at('10.244.1.2')], { metadata: { name: 'o', namespace: 'else', labels: { 'kubernetes.io/service-name': 'cart' } } }),
      slice([at('fd00::3'), at('nonsense')]),
      slice([at('10.244.1.4')], { ports: [{ name: 'http', port: 99_999 }] }),
      slice([at('10.244.1.5')], { ports: [{ name: 'metrics', port: 8080 }] }),
    ],
    want: ['10.96.0.1:80 TCP -> '],
  },
  {
    name: 'two services that claim one address',
    services: [service({ clusterIP: '10.96.0.1', ports: PORTS }), service({ clusterIP: '10.96.0.1', ports: PORTS }, 'thief')],
    slices: [slice([at('10.244.1.9')])],
    want: ['10.96.0.1:80 TCP -> 10.244.1.9:8080'],
  },
]

describe('cni/services', () => {
  for (const row of TABLE) {
    it(row.name, () => {
      const found = vipServices(row.services, row.slices ?? [], 'node-1').map(
        ({ vip, port, protocol, backends }) =>
          `${formatEndpoint({ ip: vip, port })} ${protocol} -> ${backends.map(formatEndpoint).join(' ')}`,
      )
      assert.deepEqual(found, row.want)
    })
  }
})
