// What becomes of single ServiceEntries, case by case, and what is kept from run to run. Whole worlds: test/scenario/controlplane/.
import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import { worldOf } from '../../../../../controlplane/push/world.ts'
import { type Translation, Translator } from '../../../../../controlplane/translate/translate.ts'
import type { MeshObject } from '../../../../../model/object.ts'
import { FakeSource, NAMES } from '../../../../support/fake-source.ts'
import { object, route, saidOf, SHOP, translate } from '../../../../support/route-world.ts'

const HTTP = [{ number: 80, name: 'http' }]
const STATIC = { resolution: 'STATIC', endpoints: [{ address: '198.51.100.1' }] }
const entry = (spec: object, more: object = {}, namespace = 'web', name = 'e'): MeshObject =>
  object(
    'networking.istio.io/v1',
    'ServiceEntry',
    namespace,
    name,
    { hosts: ['a.example'], ports: HTTP, ...spec },
    { creationTimestamp: '2026-01-01T00:00:00Z', ...more },
  )
const node = object('v1', 'Node', undefined, 'n', { podCIDR: '10.244.0.0/16' })

const finding = ({ entries }: Translation, name = 'e'): string => {
  for (const [{ metadata }, { finding: said }] of entries)
    if (metadata.name === name) return `${said.status} ${said.reason}: ${said.message}`
  return 'nothing'
}
/** `host vips ports flags` of every host of an entry. */
const services = ({ services: all }: Translation): string[] =>
  [...all.values()]
    .filter(({ hostname }) => hostname.includes('example'))
    .map(({ namespace, hostname, vips, ports, isPrivate, isCanonical, loadBalancing }) =>
      [
        `${namespace}/${hostname}`,
        vips.map(({ cidr }) => (cidr.ip.startsWith('240.240.') ? 'given' : `${cidr.ip}/${cidr.prefix}`)).join('+') || '-',
        ports.map(({ servicePort, targetPort }) => `${servicePort}>${targetPort}`).join('+'),
        ...(isPrivate ? ['private'] : []),
        ...(isCanonical || isPrivate ? [] : ['second']),
        ...(loadBalancing === undefined ? [] : [loadBalancing.mode]),
      ].join(' '),
    )
const workloads = ({ workloads: all }: Translation): string[] =>
  [...all.values()]
    .filter(({ uid }) => uid.includes('ServiceEntry'))
    .map(
      ({ addresses, hostname, services: of, capacity }) =>
        `${[...addresses, hostname].join('')} w${capacity} ${[...of.values()]
          .flat()
          .map(({ targetPort }) => targetPort)
          .join()}`,
    )

interface Row {
  readonly name: string
  readonly given: readonly MeshObject[]
  readonly services?: readonly string[]
  readonly workloads?: readonly string[]
  readonly said?: RegExp
}

const ROWS: readonly Row[] = [
  {
    name: 'STATIC',
    given: [entry(STATIC)],
    services: ['web/a.example given 80>80'],
    workloads: ['198.51.100.1 w1 80'],
    said: /^True Accepted: in force$/,
  },
  {
    name: 'a target port',
    given: [entry({ ...STATIC, ports: [{ number: 80, name: 'http', targetPort: 8080 }] })],
    services: ['web/a.example given 80>8080'],
    workloads: ['198.51.100.1 w1 8080'],
  },
  {
    name: 'a port of the endpoint’s own',
    given: [entry({ ...STATIC, endpoints: [{ address: '198.51.100.1', ports: { http: 9000 }, weight: 7 }] })],
    workloads: ['198.51.100.1 w7 9000'],
  },
  { name: 'IPv6 endpoints', given: [entry({ ...STATIC, endpoints: [{ address: '2001:db8::1' }] })], workloads: ['2001:db8::1 w1 80'] },
  { name: 'DNS: the host is the endpoint', given: [entry({ resolution: 'DNS' })], workloads: ['a.example w1 80'] },
  {
    name: 'DNS: each host its own',
    given: [entry({ resolution: 'DNS', hosts: ['a.example', 'b.example'] })],
    services: ['web/a.example given 80>80', 'web/b.example given 80>80'],
    workloads: ['a.example w1 80', 'b.example w1 80'],
  },
  {
    name: 'DNS: written endpoints serve all hosts',
    given: [entry({ resolution: 'DNS', hosts: ['a.example', 'b.example'], endpoints: [{ address: 'C.example.' }] })],
    said: /^False Invalid/,
  },
  {
    name: 'DNS_ROUND_ROBIN with an endpoint',
    given: [entry({ resolution: 'DNS_ROUND_ROBIN', endpoints: [{ address: 'c.example' }] })],
    workloads: ['c.example w1 80'],
  },
  {
    name: 'given addresses',
    given: [entry({ ...STATIC, addresses: ['192.0.2.1', '192.0.2.0/28'] })],
    services: ['web/a.example 192.0.2.1/32+192.0.2.0/28 80>80'],
  },
  {
    name: 'an address among the pods’',
    given: [node, entry({ ...STATIC, addresses: ['10.244.9.9'] })],
    services: ['web/a.example given 80>80'],
    said: /10\.244\.9\.9\/32 lies where pods/,
  },
  {
    name: 'a block around the pods’',
    given: [node, entry({ ...STATIC, addresses: ['10.0.0.0/8'] })],
    services: ['web/a.example given 80>80'],
    said: /10\.0\.0\.0\/8 lies where pods/,
  },
  {
    name: 'all addresses there are',
    given: [entry({ ...STATIC, addresses: ['0.0.0.0/0'] })],
    services: ['web/a.example given 80>80'],
    said: /0\.0\.0\.0\/0 cannot be an address/,
  },
  {
    name: 'an address of the link',
    given: [entry({ addresses: ['169.254.169.254'] })],
    services: ['web/a.example - 80>80 PASSTHROUGH'],
    said: /169\.254\.169\.254 cannot be/,
  },
  {
    name: 'no addresses wanted',
    given: [entry(STATIC, { labels: { 'networking.istio.io/enable-autoallocate-ip': 'false' } })],
    services: ['web/a.example - 80>80'],
    said: /connections to a\.example are not recognised: they have none/,
  },
  {
    name: 'NONE without addresses',
    given: [entry({})],
    services: ['web/a.example - 80>80 PASSTHROUGH'],
    said: /not recognised: resolution NONE gives no addresses.*use resolution DNS/,
  },
  {
    name: 'NONE behind a waypoint without addresses',
    given: [entry({}, {}, 'shop')],
    said: /not recognised, and do not go through the waypoint/,
  },
  {
    name: 'NONE with a block',
    given: [entry({ addresses: ['192.0.2.0/24'] })],
    services: ['web/a.example 192.0.2.0/24 80>80 PASSTHROUGH'],
    said: /^True Accepted/,
  },
  {
    name: 'a wildcard has no address of its own',
    given: [entry({ ...STATIC, hosts: ['*.a.example'] })],
    services: ['web/*.a.example - 80>80'],
    said: /connections to \*\.a\.example are not recognised/,
  },
  {
    name: 'a wildcard with an address',
    given: [entry({ ...STATIC, hosts: ['*.a.example'], addresses: ['192.0.2.1'] })],
    services: ['web/*.a.example 192.0.2.1/32 80>80'],
    said: /^True Accepted/,
  },
  {
    name: 'DYNAMIC_DNS',
    given: [entry({ hosts: ['*.a.example'], resolution: 'DYNAMIC_DNS' })],
    services: [],
    said: /^False UnsupportedValue: .*DYNAMIC_DNS/,
  },
  { name: 'no endpoint', given: [entry({ resolution: 'STATIC' })], workloads: [], said: /there is no endpoint: connections are refused/ },
  {
    name: 'an endpoint that is this host',
    given: [entry({ ...STATIC, endpoints: [{ address: '127.0.0.1' }, { address: '0.0.0.0' }, { address: '::1' }] })],
    workloads: [],
    said: /127\.0\.0\.1 is no address that others can reach/,
  },
  {
    name: 'an endpoint that is called localhost',
    given: [entry({ resolution: 'DNS', endpoints: [{ address: 'localhost' }] })],
    workloads: [],
    said: /localhost is no host/,
  },
  {
    name: 'cloud metadata',
    given: [entry({ ...STATIC, endpoints: [{ address: '169.254.169.254' }] })],
    workloads: [],
    said: /169\.254\.169\.254/,
  },
  { name: 'a group of hosts', given: [entry({ ...STATIC, endpoints: [{ address: '224.0.0.1' }] })], workloads: [] },
  {
    name: 'another network',
    given: [entry({ ...STATIC, endpoints: [{ address: '198.51.100.1', network: 'far' }] })],
    said: /far is another network/,
  },
  {
    name: 'UDP',
    given: [entry({ ...STATIC, ports: [...HTTP, { number: 53, name: 'dns', protocol: 'UDP' }] })],
    services: ['web/a.example given 80>80'],
    said: /ports\[1\]: UDP/,
  },
  {
    name: 'seen by its own namespace',
    given: [entry({ ...STATIC, exportTo: ['.'] })],
    services: ['web/a.example given 80>80 private'],
    said: /^True Accepted/,
  },
  { name: 'seen by itself by name', given: [entry({ ...STATIC, exportTo: ['web'] })], services: ['web/a.example given 80>80 private'] },
  {
    name: 'seen by others only: kept narrow',
    given: [entry({ ...STATIC, exportTo: ['shop'] })],
    services: ['web/a.example given 80>80 private'],
    said: /cannot tell shop from the rest/,
  },
  { name: 'seen by all', given: [entry({ ...STATIC, exportTo: ['.', '*'] })], services: ['web/a.example given 80>80'] },
  {
    name: 'seen by nobody',
    given: [entry({ ...STATIC, exportTo: ['~'] })],
    services: [],
    workloads: [],
    said: /^True Accepted: exported to nobody/,
  },
  {
    name: 'names in certificates',
    given: [entry({ ...STATIC, subjectAltNames: ['a.example', 'spiffe://x/y'] })],
    said: /subjectAltNames: only SPIFFE/,
  },
  {
    name: 'PreferClose',
    given: [entry(STATIC, { annotations: { 'networking.istio.io/traffic-distribution': 'PreferClose' } })],
    services: ['web/a.example given 80>80 FAILOVER'],
  },
  {
    name: 'a distribution that is none',
    given: [entry(STATIC, { annotations: { 'networking.istio.io/traffic-distribution': 'Best' } })],
    said: /"Best" is not known/,
  },
  {
    name: 'one host of two namespaces',
    given: [entry(STATIC), entry(STATIC, { creationTimestamp: '2026-02-01T00:00:00Z' }, 'bare', 'f')],
    services: ['web/a.example given 80>80', 'bare/a.example given 80>80 second'],
  },
  {
    name: 'one host twice in a namespace',
    given: [entry(STATIC), entry(STATIC, { creationTimestamp: '2025-01-01T00:00:00Z' }, 'web', 'older')],
    services: ['web/a.example given 80>80'],
    said: /^False NotAllowed: .*older ServiceEntry web\/older/,
  },
  {
    name: 'a host of a Service',
    given: [entry({ ...STATIC, hosts: ['cart.shop.svc.cluster.local', 'x.example'] }, {}, 'shop')],
    services: ['shop/x.example given 80>80'],
    said: /there is a Service of this name/,
  },
  {
    name: 'hosts that share an address',
    given: [entry({ ...STATIC, hosts: ['a.example', 'b.example'], addresses: ['192.0.2.1'] })],
    said: /count as a\.example/,
  },
  { name: 'what cannot be read', given: [entry({ hosts: 7 })], services: [], said: /^False Invalid: nothing is in force: spec\.hosts/ },
]

describe('controlplane/translate/service-entry/service-entries', () => {
  it('has no row twice', () => assert.equal(new Set(ROWS.map(({ name }) => name)).size, ROWS.length))

  for (const row of ROWS) {
    it(row.name, () => {
      const translation = translate([...SHOP, ...row.given])
      if (row.services !== undefined) assert.deepEqual(services(translation), row.services)
      if (row.workloads !== undefined) assert.deepEqual(workloads(translation), row.workloads)
      if (row.said !== undefined) assert.match(finding(translation), row.said)
    })
  }

  it('an endpoint with a pod’s address is never found by it', () => {
    const { workloads: all } = translate([...SHOP, entry(STATIC)])
    const [endpoint] = [...all.values()]
    assert.equal(endpoint?.isHostNetwork, true)
  })

  it('a route names it as parent and as backend, by its host or its name', () => {
    const parentRefs = [{ group: 'networking.istio.io', kind: 'ServiceEntry', name: 'e' }]
    const backend = (kind: string, name: string, port?: number): object => ({
      group: 'networking.istio.io',
      kind,
      name,
      ...(port !== undefined && { port }),
    })
    const of = (backends: readonly object[], own: object = STATIC): string[] =>
      saidOf(translate([...SHOP, entry(own, {}, 'shop'), route('HTTPRoute', { parentRefs, rules: [{ backendRefs: backends }] })]))
    assert.deepEqual(of([backend('Hostname', 'a.example', 80), backend('ServiceEntry', 'e', 80)]), [
      'Accepted True Accepted: in force',
      'ResolvedRefs True ResolvedRefs: all references are good',
    ])
    assert.match(of([backend('Hostname', 'a.example')]).join(), /a\.example needs a port/)
    assert.match(of([backend('Hostname', 'a.example', 81)]).join(), /a\.example has no TCP port 81/)
    assert.match(of([backend('ServiceEntry', 'none', 80)]).join(), /there is no ServiceEntry shop\/none/)
    assert.match(of([backend('WorkloadGroup', 'x', 80)]).join(), /InvalidKind/)
    assert.match(of([backend('ServiceEntry', 'e', 80)], { ...STATIC, hosts: ['a.example', 'b.example'] }).join(), /several hosts/)
    assert.match(of([], {}).join(), /UnsupportedValue: ServiceEntry shop\/e has no addresses/)
  })

  it('a private host is a backend of its own namespace only', () => {
    const parentRefs = [{ group: '', kind: 'Service', name: 'cart', namespace: 'shop' }]
    const backendRefs = [{ group: 'networking.istio.io', kind: 'Hostname', name: 'a.example', port: 80 }]
    const of = (namespace: string): string =>
      saidOf(
        translate([
          ...SHOP,
          entry({ ...STATIC, exportTo: ['.'] }),
          route('HTTPRoute', { parentRefs, rules: [{ backendRefs }] }, { namespace }),
        ]),
      ).join()
    assert.match(of('web'), /ResolvedRefs True/)
    assert.match(of('bare'), /BackendNotFound: .*no host a\.example that namespace bare sees/)
  })

  it('selects pods of its namespace, as they come, change and go', () => {
    const source = new FakeSource()
    const translator = new Translator(NAMES)
    const pod = (namespace: string, name: string, labels: object): MeshObject => ({
      ...object('v1', 'Pod', namespace, name, { containers: [] }, { labels }),
      status: { phase: 'Running', podIP: `10.244.1.${name.length}` },
    })
    const serving = (): string[] => {
      const { workloads: all } = translator.translate(worldOf(source, new Set()))
      return [...all.values()].filter((one) => one.services.has('web/a.example')).map(({ namespace, name }) => `${namespace}/${name}`)
    }
    const selecting = entry({ resolution: 'STATIC', workloadSelector: { labels: { app: 'x' } } })
    source.apply(...SHOP, selecting, pod('web', 'a', { app: 'x' }), pod('web', 'bb', { app: 'y' }), pod('bare', 'ccc', { app: 'x' }))
    assert.deepEqual(serving(), ['web/a'])
    source.apply(pod('web', 'bb', { app: 'x' }))
    assert.deepEqual(serving(), ['web/a', 'web/bb'])
    source.apply(entry({ resolution: 'STATIC', workloadSelector: { labels: { app: 'z' } } }))
    assert.deepEqual(serving(), [])
    source.apply(selecting)
    assert.deepEqual(serving(), ['web/a', 'web/bb'])
    source.delete(selecting)
    assert.deepEqual(serving(), [])
  })

  it('gives the same values while only the status changes, and keeps addresses', async () => {
    const source = new FakeSource()
    const translator = new Translator(NAMES)
    source.apply(...SHOP, entry(STATIC))
    const run = (): Translation => translator.translate(worldOf(source, new Set()))
    const [first] = [run().services.get('web/a.example')]
    await source.patchStatus('serviceentries', 'web', 'e', { addresses: [{ host: 'a.example', value: first?.vips[0]?.cidr.ip }] })
    const second = run().services.get('web/a.example')
    assert.ok(first !== undefined && second === first)
    const [[before], [after]] = [[...run().entries.values()], [...run().entries.values()]]
    assert.ok(before !== undefined && before === after)
  })

  it('its blocks are the mesh’s: what is dialled there and unknown is refused', () => {
    assert.deepEqual(
      translate([...SHOP, entry(STATIC)]).networks.map(({ ip, prefix }) => `${ip}/${prefix}`),
      ['240.240.0.0/16'],
    )
    assert.deepEqual(translate([...SHOP, entry({})]).networks, [])
  })
})
