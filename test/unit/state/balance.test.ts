// Endpoint choice: ports, health, families, locality and weights.
import assert from 'node:assert/strict'
import type { LoadBalancing, Service } from '../../../model/service.ts'
import type { Workload } from '../../../model/workload.ts'
import { chooseEndpoint, listEndpoints, namesBehind } from '../../../state/balance.ts'
import { serviceOf, workloadOf } from '../../support/mesh-values.ts'

const KEY = 'shop/web.shop.svc.cluster.local'
const backend = (name: string, address: string, change: Partial<Workload> = {}, targetPort = 8080): Workload =>
  workloadOf(name, [address], { services: new Map([[KEY, [{ servicePort: 80, targetPort }]]]), ...change })
const near = (region: string, zone: string) => ({ locality: { region, zone, subzone: '' } })
const balancing = (mode: LoadBalancing['mode'], ...routingPreference: LoadBalancing['routingPreference']): LoadBalancing => ({
  mode,
  routingPreference,
  allowsUnhealthy: false,
})
const client = workloadOf('client', ['10.244.1.1'], near('r1', 'z1'))
const seen = (service: Service, endpoints: Workload[], port = 80): string[] => {
  const found = new Set<string>()
  for (let i = 0; i < 50; i++) {
    const chosen = chooseEndpoint(service, endpoints, port, client, () => i / 50)
    if (chosen !== undefined) found.add(`${chosen.workload.name}:${chosen.endpoint.port}`)
  }
  return [...found].sort()
}

const ROWS: { name: string; service?: Partial<Service>; endpoints: Workload[]; port?: number; want: string[] }[] = [
  { name: 'all healthy endpoints', endpoints: [backend('a', '10.244.1.2'), backend('b', '10.244.1.3')], want: ['a:8080', 'b:8080'] },
  { name: 'a port that the service has not', endpoints: [backend('a', '10.244.1.2')], port: 81, want: [] },
  { name: 'no endpoint', endpoints: [], want: [] },
  { name: 'an endpoint of another service', endpoints: [workloadOf('x', ['10.244.1.9'])], want: [] },
  {
    name: 'unhealthy ones are left out',
    endpoints: [backend('a', '10.244.1.2'), backend('b', '10.244.1.3', { health: 'UNHEALTHY' })],
    want: ['a:8080'],
  },
  {
    name: 'unhealthy ones count if the service says so',
    service: { loadBalancing: { mode: 'UNSPECIFIED', routingPreference: [], allowsUnhealthy: true } },
    endpoints: [backend('b', '10.244.1.3', { health: 'UNHEALTHY' })],
    want: ['b:8080'],
  },
  {
    name: 'a named port takes the endpoint’s own',
    service: { ports: [{ servicePort: 80, targetPort: 0, appProtocol: 'UNKNOWN' }] },
    endpoints: [backend('a', '10.244.1.2', {}, 9000), backend('b', '10.244.1.3', {}, 0)],
    want: ['a:9000'],
  },
  {
    name: 'an IPv6-only service',
    service: { ipFamilies: 'IPV6_ONLY' },
    endpoints: [backend('a', '10.244.1.2'), backend('b', 'fd00::3')],
    want: ['b:8080'],
  },
  { name: 'weight 0 gets nothing', endpoints: [backend('a', '10.244.1.2', { capacity: 0 }), backend('b', '10.244.1.3')], want: ['b:8080'] },
  {
    name: 'STRICT wants every scope',
    service: { loadBalancing: balancing('STRICT', 'REGION', 'ZONE') },
    endpoints: [backend('a', '10.244.1.2', near('r1', 'z1')), backend('b', '10.244.1.3', near('r1', 'z2'))],
    want: ['a:8080'],
  },
  {
    name: 'STRICT without a match',
    service: { loadBalancing: balancing('STRICT', 'ZONE') },
    endpoints: [backend('b', '10.244.1.3', near('r1', 'z2'))],
    want: [],
  },
  {
    name: 'FAILOVER takes the best rank that is left',
    service: { loadBalancing: balancing('FAILOVER', 'REGION', 'ZONE') },
    endpoints: [backend('b', '10.244.1.3', near('r1', 'z2')), backend('c', '10.244.1.4', near('r2', 'z1'))],
    want: ['b:8080'],
  },
]

describe('state/balance', () => {
  for (const row of ROWS) {
    it(row.name, () => {
      assert.deepEqual(seen(serviceOf('web', ['10.96.0.5'], row.service), row.endpoints, row.port), row.want)
    })
  }

  it('spreads by capacity', () => {
    const endpoints = [backend('a', '10.244.1.2', { capacity: 3 }), backend('b', '10.244.1.3', { capacity: 1 })]
    const names = [0, 0.25, 0.5, 0.74, 0.76, 0.99].map(
      (at) => chooseEndpoint(serviceOf('web', ['10.96.0.5']), endpoints, 80, client, () => at)?.workload.name,
    )
    assert.deepEqual(names, ['a', 'a', 'a', 'a', 'b', 'b'])
  })

  it('prefers the address of the client’s family', () => {
    const both = workloadOf('a', ['fd00::2', '10.244.1.2'], { services: new Map([[KEY, [{ servicePort: 80, targetPort: 8080 }]]]) })
    assert.equal(chooseEndpoint(serviceOf('web', ['10.96.0.5']), [both], 80, client, () => 0)?.endpoint.ip, '10.244.1.2')
  })
})

describe('state/balance: endpoints with names', () => {
  const named = (name: string, change: Partial<Workload> = {}): Workload =>
    backend(name, '10.244.1.2', { addresses: [], hostname: `${name}.example`, ...change })
  const addressesOf = ({ addresses, name }: Workload): Workload['addresses'] =>
    name === 'a' ? workloadOf('', ['192.0.2.1', '192.0.2.2', '2001:db8::1']).addresses : addresses
  const service = serviceOf('web', ['10.96.0.5'])

  it('any address of the source’s family', () => {
    const found = new Set<string>()
    for (let i = 0; i < 40; i++) {
      const chosen = chooseEndpoint(service, [named('a'), named('b')], 80, client, () => i / 40, addressesOf)
      found.add(`${chosen?.workload.name} ${chosen?.endpoint.ip}:${chosen?.endpoint.port}`)
    }
    assert.deepEqual([...found].sort(), ['a 192.0.2.1:8080', 'a 192.0.2.2:8080'])
  })

  it('none while the name is not resolved', () => {
    assert.equal(
      chooseEndpoint(service, [named('b')], 80, client, () => 0, addressesOf),
      undefined,
    )
    assert.equal(
      chooseEndpoint(service, [named('a')], 80, client, () => 0),
      undefined,
    )
  })

  it('as a list: each address is one', () => {
    const list = listEndpoints(service, [named('a'), backend('c', '10.244.1.9')], 80, client, addressesOf)
    assert.deepEqual(
      list.map(({ workload, endpoint }) => `${workload.name} ${endpoint.ip}`),
      ['a 192.0.2.1', 'a 192.0.2.2', 'c 10.244.1.9'],
    )
  })

  it('names of a port', () => {
    assert.deepEqual(namesBehind(service, [named('a'), backend('c', '10.244.1.9'), named('z', { services: new Map() })], 80), ['a.example'])
    assert.deepEqual(namesBehind(service, [named('a')], 81), [])
  })
})
