// Names of the mesh as a table: what is asked, from where, and what comes back.
import assert from 'node:assert/strict'
import type { Service } from '../../../../model/service.ts'
import { serviceKeyOf } from '../../../../model/service.ts'
import type { Workload } from '../../../../model/workload.ts'
import { resolve } from '../../../../ztunnel/dns/resolver.ts'
import { serviceOf, workloadOf } from '../../../support/mesh-values.ts'

const HEADLESS = 'shop/db.shop.svc.cluster.local'
const SERVICES: Service[] = [
  serviceOf('web', ['10.96.0.5']),
  serviceOf('web', ['10.96.0.6'], { namespace: 'bank' }),
  serviceOf('both', ['10.96.0.7', 'fd00:10:96::7']),
  serviceOf('db', []),
  serviceOf('out', ['240.0.0.1'], { hostname: 'api.example.com' }),
  serviceOf('net', ['192.168.0.0/16'], { hostname: 'net.example' }),
  serviceOf('wild', ['240.0.0.2'], { hostname: '*.wild.example' }),
  serviceOf('mine', ['240.0.0.3'], { hostname: 'private.example', isPrivate: true }),
  serviceOf('theirs', ['240.0.0.4'], { hostname: 'theirs.example', isPrivate: true, namespace: 'bank' }),
  serviceOf('bare', [], { hostname: 'bare.example', loadBalancing: { mode: 'PASSTHROUGH', routingPreference: [], allowsUnhealthy: true } }),
  serviceOf('block', ['192.0.2.0/24'], {
    hostname: 'block.example',
    loadBalancing: { mode: 'PASSTHROUGH', routingPreference: [], allowsUnhealthy: true },
  }),
  serviceOf('named', [], { hostname: 'named.example' }),
]
const ENDPOINTS: Workload[] = ['10.244.1.2', '10.244.2.2'].map((address, i) =>
  workloadOf(`db-${i}`, [address], { services: new Map([[HEADLESS, []]]), health: i === 0 ? 'HEALTHY' : 'UNHEALTHY' }),
)
const view = {
  servicesWithHost: (host: string) => SERVICES.filter((service) => service.hostname === host),
  endpointsOf: (key: string) =>
    key === 'shop/named.example'
      ? [workloadOf('n', [], { hostname: 'real.example' })]
      : SERVICES.some((service) => serviceKeyOf(service) === key) && key === HEADLESS
        ? ENDPOINTS
        : [],
}

const ROWS: { name: string; ask: string; type?: 'A' | 'AAAA' | 'SRV'; want: string }[] = [
  { name: 'the full name', ask: 'web.shop.svc.cluster.local', want: '10.96.0.5' },
  { name: 'a dot at the end and capitals', ask: 'WEB.shop.svc.cluster.local.', want: '10.96.0.5' },
  { name: 'the short name means the own namespace', ask: 'web', want: '10.96.0.5' },
  { name: 'name and namespace', ask: 'web.bank', want: '10.96.0.6' },
  { name: 'name, namespace and svc', ask: 'web.bank.svc', want: '10.96.0.6' },
  { name: 'the other family: the name exists, no address', ask: 'web.shop.svc.cluster.local', type: 'AAAA', want: '' },
  { name: 'both families', ask: 'both', type: 'AAAA', want: 'fd00:10:96::7' },
  { name: 'headless: addresses of the ready endpoints', ask: 'db.shop.svc.cluster.local', want: '10.244.1.2' },
  { name: 'a host outside', ask: 'api.example.com', want: '240.0.0.1' },
  {
    name: 'a search domain was added: CNAME first',
    ask: 'api.example.com.shop.svc.cluster.local',
    want: 'CNAME api.example.com 240.0.0.1',
  },
  { name: 'a block is no address', ask: 'net.example', want: '' },
  { name: 'a wildcard', ask: 'a.b.wild.example', want: '240.0.0.2' },
  { name: 'the wildcard does not cover its own domain', ask: 'wild.example', want: 'forward' },
  { name: 'a host that its own namespace sees', ask: 'private.example', want: '240.0.0.3' },
  { name: 'a host that only another namespace sees', ask: 'theirs.example', want: 'forward' },
  { name: 'a host without addresses: where it really is', ask: 'bare.example', want: 'forward' },
  { name: 'a host with a block: where it really is', ask: 'block.example', want: 'forward' },
  { name: 'a host without addresses whose endpoints have names', ask: 'named.example', want: 'forward' },
  { name: 'the same with a search domain', ask: 'bare.example.shop.svc.cluster.local', want: 'forward' },
  { name: 'an unknown name', ask: 'nobody.example.org', want: 'forward' },
  { name: 'another type', ask: 'web.shop.svc.cluster.local', type: 'SRV', want: 'forward' },
  { name: 'a name that looks like a search domain only', ask: 'svc.cluster.local', want: 'forward' },
]

describe('ztunnel/dns/resolver', () => {
  for (const row of ROWS) {
    it(row.name, () => {
      const got = resolve({ type: row.type ?? 'A', name: row.ask, class: 'IN' }, workloadOf('client', ['10.244.1.1']), view, {
        clusterDomain: 'cluster.local',
        random: () => 0,
      })
      const text =
        got.kind === 'forward'
          ? 'forward'
          : got.answers
              .map((answer) => `${answer.type === 'CNAME' ? 'CNAME ' : ''}${String('data' in answer ? answer.data : '')}`)
              .join(' ')
      assert.equal(text, row.want)
    })
  }
})
