// Answers of cluster DNS by the specification's names.
import assert from 'node:assert/strict'
import dnsPacket from 'dns-packet'
import type { EndpointSlice, Service } from '../../../../model/object.ts'
import { SERVICE_NAME_LABEL } from '../../../../model/object.ts'
import { answerPacket } from '../../../../runtime/dns/server.ts'
import { resolve, type ZoneSource } from '../../../../runtime/dns/zone.ts'

const services: Service[] = [
  service('web', { clusterIP: '10.96.1.1', clusterIPs: ['10.96.1.1', 'fd00:10:96::101'], ports: [{ name: 'http', port: 80 }] }),
  service('db', { clusterIP: 'None', clusterIPs: ['None'], ports: [{ name: 'sql', port: 5432 }] }),
  service('empty', { clusterIP: 'None', clusterIPs: ['None'] }),
  service('out', { type: 'ExternalName', externalName: 'example.com' }),
]
const slices: EndpointSlice[] = [
  {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: 'db-1', namespace: 'shop', labels: { [SERVICE_NAME_LABEL]: 'db' } },
    addressType: 'IPv4',
    endpoints: [
      { addresses: ['10.244.1.7'], hostname: 'db-0', conditions: { ready: true } },
      { addresses: ['10.244.2.8'], conditions: { ready: true } },
      { addresses: ['10.244.2.9'], conditions: { ready: false } },
    ],
    ports: [{ name: 'sql', port: 5432, protocol: 'TCP' }],
  },
]
const source: ZoneSource = {
  services: () => services,
  service: (namespace, name) => services.find((one) => one.metadata.namespace === namespace && one.metadata.name === name),
  allSlices: () => slices,
  slices: (_, name) => slices.filter((slice) => slice.metadata.labels?.[SERVICE_NAME_LABEL] === name),
}

describe('cluster DNS', () => {
  const rows: { name: string; type?: string; want: unknown }[] = [
    { name: 'web.shop.svc.cluster.local', want: ['10.96.1.1'] },
    { name: 'WEB.Shop.svc.cluster.local.', want: ['10.96.1.1'] },
    { name: 'web.shop.svc.cluster.local', type: 'AAAA', want: ['fd00:10:96::101'] },
    { name: 'web.shop.svc.cluster.local', type: 'MX', want: [] },
    { name: 'db.shop.svc.cluster.local', want: ['10.244.1.7', '10.244.2.8'] },
    { name: 'db-0.db.shop.svc.cluster.local', want: ['10.244.1.7'] },
    { name: '10-244-2-8.db.shop.svc.cluster.local', want: ['10.244.2.8'] },
    { name: '10-244-2-9.db.shop.svc.cluster.local', want: 'missing' },
    { name: 'empty.shop.svc.cluster.local', want: 'missing' },
    { name: 'out.shop.svc.cluster.local', want: ['example.com'] },
    {
      name: '_http._tcp.web.shop.svc.cluster.local',
      type: 'SRV',
      want: [{ priority: 0, weight: 100, port: 80, target: 'web.shop.svc.cluster.local' }],
    },
    { name: '_http._udp.web.shop.svc.cluster.local', type: 'SRV', want: 'missing' },
    { name: '10-244-1-7.shop.pod.cluster.local', want: ['10.244.1.7'] },
    { name: '10-244-1-999.shop.pod.cluster.local', want: 'missing' },
    { name: '1.1.96.10.in-addr.arpa', type: 'PTR', want: ['web.shop.svc.cluster.local'] },
    { name: '7.1.244.10.in-addr.arpa', type: 'PTR', want: ['db-0.db.shop.svc.cluster.local'] },
    { name: '8.8.8.8.in-addr.arpa', type: 'PTR', want: 'refused' },
    { name: `${'1.0.1'}.${'0.'.repeat(17)}6.9.0.0.0.1.0.0.0.0.d.f.ip6.arpa`, type: 'PTR', want: ['web.shop.svc.cluster.local'] },
    { name: 'none.shop.svc.cluster.local', want: 'missing' },
    { name: 'shop.svc.cluster.local', want: [] },
    { name: 'nowhere.svc.cluster.local', want: 'missing' },
    { name: 'a.b.c.web.shop.svc.cluster.local', want: 'missing' },
    { name: 'example.com', want: 'refused' },
    { name: 'notcluster.local', want: 'refused' },
  ]
  for (const { name, type = 'A', want } of rows)
    it(`${type} ${name}`, () => {
      const answer = resolve(name, type, 'cluster.local', source)
      assert.deepEqual(answer.is === 'found' ? answer.answers.map((record) => record.data) : answer.is, want)
    })

  const lookup = (name: string, type: string) => resolve(name, type, 'cluster.local', source)
  it('answers packets with the question, the id and the code', () => {
    const query = dnsPacket.encode({ type: 'query', id: 7, flags: dnsPacket.RECURSION_DESIRED, questions: [{ type: 'A', name: 'x.com' }] })
    const reply = dnsPacket.decode(answerPacket(query, { lookup }, 512) ?? Buffer.alloc(0)) as dnsPacket.DecodedPacket & { rcode: string }
    assert.deepEqual([reply.id, reply.rcode, reply.questions?.[0]?.name], [7, 'REFUSED', 'x.com'])
  })
  it('says truncated instead of too much', () => {
    const many = {
      is: 'found' as const,
      answers: Array.from({ length: 60 }, () => ({ type: 'A' as const, name: 'a.b', ttl: 1, data: '10.0.0.1' })),
      additionals: [],
    }
    const query = dnsPacket.encode({ type: 'query', id: 7, questions: [{ type: 'A', name: 'a.b' }] })
    const reply = dnsPacket.decode(answerPacket(query, { lookup: () => many }, 512) ?? Buffer.alloc(0))
    assert.equal(reply.flag_tc, true)
    assert.equal(reply.answers?.length, 0)
  })
  it('does not answer what is no query', () => {
    assert.equal(answerPacket(Buffer.from('nonsense'), { lookup }, 512), undefined)
    assert.equal(answerPacket(Buffer.alloc(0), { lookup }, 512), undefined)
    assert.equal(answerPacket(dnsPacket.encode({ type: 'response', id: 1 }), { lookup }, 512), undefined)
  })
})

function service(name: string, spec: NonNullable<Service['spec']>): Service {
  return { apiVersion: 'v1', kind: 'Service', metadata: { name, namespace: 'shop' }, spec }
}
