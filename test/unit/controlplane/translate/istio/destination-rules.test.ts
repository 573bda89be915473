// DestinationRules on services: whose rule holds, subsets by labels, ports, and what is said of each.
import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import { worldOf } from '../../../../../controlplane/push/world.ts'
import { type Translation, Translator } from '../../../../../controlplane/translate/translate.ts'
import type { Backend } from '../../../../../model/backend.ts'
import type { MeshObject } from '../../../../../model/object.ts'
import { FakeSource, NAMES, pod } from '../../../../support/fake-source.ts'
import { destinationRule, saidOfIstio } from '../../../../support/istio-world.ts'
import { object, SHOP, translate } from '../../../../support/route-world.ts'

const KEY = 'shop/cart.shop.svc.cluster.local'
const ROBIN = { trafficPolicy: { loadBalancer: { simple: 'ROUND_ROBIN' } } }
const RANDOM = { trafficPolicy: { loadBalancer: { simple: 'RANDOM' } } }
const ROOT = { namespace: NAMES.rootNamespace }

interface Row {
  readonly name: string
  readonly objects: readonly MeshObject[]
  /** Balancer of Service cart; undefined = no backend. */
  readonly want: string | undefined
  readonly says: Readonly<Record<string, RegExp>>
}

const ROWS: readonly Row[] = [
  { name: 'its own namespace', objects: [destinationRule(ROBIN)], want: 'roundRobin', says: { dr: /^True Accepted: in force$/ } },
  {
    name: 'a full host',
    objects: [destinationRule({ host: 'cart.shop.svc.cluster.local', ...ROBIN })],
    want: 'roundRobin',
    says: { dr: /^True/ },
  },
  { name: 'no such service', objects: [destinationRule({ host: 'none', ...ROBIN })], want: undefined, says: { dr: /^False HostNotFound/ } },
  {
    name: 'the oldest of two',
    objects: [destinationRule(RANDOM, { name: 'b', createdAt: '2026-02-01T00:00:00Z' }), destinationRule(ROBIN, { name: 'c' })],
    want: 'roundRobin',
    says: { b: /^False Conflicted: .*shop\/c$/, c: /^True Accepted/ },
  },
  {
    name: 'a narrower host before an older one',
    objects: [
      destinationRule({ host: '*.shop.svc.cluster.local', ...RANDOM }, { name: 'wide' }),
      destinationRule(ROBIN, { name: 'own', createdAt: '2026-02-01T00:00:00Z' }),
    ],
    want: 'roundRobin',
    says: { own: /^True/, wide: /^True/ },
  },
  {
    name: 'another namespace',
    objects: [destinationRule({ host: 'cart.shop.svc.cluster.local', ...ROBIN }, { namespace: 'web' })],
    want: undefined,
    says: { dr: /^False NotAllowed: a rule holds only in the namespace of its host/ },
  },
  {
    name: 'the root namespace',
    objects: [destinationRule({ host: '*.local', ...ROBIN }, ROOT)],
    want: 'roundRobin',
    says: { dr: /^True/ },
  },
  {
    name: 'the root namespace, not exported',
    objects: [destinationRule({ host: '*.local', ...ROBIN, exportTo: ['.'] }, ROOT)],
    want: undefined,
    says: { dr: /^False NotAllowed/ },
  },
  {
    name: 'the root namespace, exported there',
    objects: [destinationRule({ host: '*', ...ROBIN, exportTo: ['shop'] }, ROOT)],
    want: 'roundRobin',
    says: { dr: /^True/ },
  },
  {
    name: 'its own namespace before the root namespace',
    objects: [
      destinationRule({ host: 'cart.shop.svc.cluster.local', ...RANDOM }, { ...ROOT, name: 'root', createdAt: '2020-01-01T00:00:00Z' }),
      destinationRule(ROBIN),
    ],
    want: 'roundRobin',
    says: { dr: /^True/, root: /^False Conflicted/ },
  },
  {
    name: 'a workloadSelector: nothing is in force',
    objects: [destinationRule({ ...ROBIN, workloadSelector: { matchLabels: { a: 'b' } } })],
    want: undefined,
    says: { dr: /^False Invalid: nothing is in force: workloadSelector: is not supported/ },
  },
  {
    name: 'a misspelt field',
    objects: [destinationRule({ trafficPolicies: {} })],
    want: undefined,
    says: { dr: /^False Invalid: nothing is in force: spec: Unrecognized key: "trafficPolicies"/ },
  },
  {
    name: 'unsupported fields are named, the rest is in force',
    objects: [destinationRule({ trafficPolicy: { ...ROBIN.trafficPolicy, tls: { mode: 'MUTUAL' }, tunnel: {}, retryBudget: {} } })],
    want: 'roundRobin',
    says: {
      dr: /^True PartiallyInvalid: not in force: trafficPolicy\.tunnel: .*; trafficPolicy\.retryBudget: .*; trafficPolicy\.tls\.mode: MUTUAL/,
    },
  },
]

function backendOf(translation: Translation): Backend {
  const backend = translation.backends.get(KEY)
  assert.ok(backend)
  return backend
}

describe('controlplane/translate/istio/destination-rules', () => {
  for (const { name, objects, want, says } of ROWS) {
    it(name, () => {
      const translation = translate([...SHOP, ...objects])
      assert.equal(translation.backends.get(KEY)?.policy.balancer.kind, want)
      for (const [rule, text] of Object.entries(says)) assert.match(saidOfIstio(translation, rule) ?? '', text)
    })
  }

  it('a port has its own settings and nothing of the rule', () => {
    const trafficPolicy = {
      ...ROBIN.trafficPolicy,
      outlierDetection: {},
      portLevelSettings: [{ port: { number: 80 }, connectionPool: { tcp: { maxConnections: 1 } } }, { port: { number: 80 } }],
    }
    const translation = translate([...SHOP, destinationRule({ trafficPolicy })])
    const { policy, ports } = backendOf(translation)
    assert.deepEqual([policy.balancer.kind, policy.outlier?.consecutive5xx], ['roundRobin', 5])
    const port = ports.get(80)
    assert.deepEqual([port?.balancer.kind, port?.outlier, port?.limits.maxConnections], ['leastRequest', undefined, 1])
    assert.match(saidOfIstio(translation, 'dr') ?? '', /portLevelSettings\[1\]\.port: comes twice/)
  })

  it('a subset takes over the parts of the rule that it does not set', () => {
    const subsets = [
      { name: 'v1', labels: { version: 'v1' }, trafficPolicy: { connectionPool: { http: { maxRetries: 1 } }, portLevelSettings: [] } },
    ]
    const trafficPolicy = { ...ROBIN.trafficPolicy, connectionPool: { tcp: { maxConnections: 1 } }, tls: { mode: 'SIMPLE' } }
    const translation = translate([...SHOP, destinationRule({ trafficPolicy, subsets })])
    const [subset] = backendOf(translation).subsets
    assert.deepEqual(
      [subset?.policy.balancer.kind, subset?.policy.limits.maxRetries, subset?.policy.limits.maxConnections],
      ['roundRobin', 1, undefined],
    )
    assert.equal(
      saidOfIstio(translation, 'dr'),
      'True PartiallyInvalid: not in force: trafficPolicy.tls.mode: SIMPLE is not supported: inside the mesh it is mutual TLS anyway; ' +
        'subsets[0].trafficPolicy.portLevelSettings: is not supported in a subset',
    )
  })

  it('a subset is the endpoints whose pods have all its labels, run after run', () => {
    const source = new FakeSource()
    const translator = new Translator(NAMES)
    const slice = (...names: readonly string[]): MeshObject =>
      ({
        ...object('discovery.k8s.io/v1', 'EndpointSlice', 'shop', 'cart-1', {}, { labels: { 'kubernetes.io/service-name': 'cart' } }),
        addressType: 'IPv4',
        ports: [{ name: 'http', port: 8080 }],
        endpoints: names.map((name, i) => ({ addresses: [`10.244.0.${i + 1}`], targetRef: { kind: 'Pod', namespace: 'shop', name } })),
      }) as MeshObject
    const run = (): Backend => backendOf(translator.translate(worldOf(source, new Set())))
    const subsets = [{ name: 'v1', labels: { version: 'v1' } }, { name: 'v2', labels: { version: 'v2', track: 'x' } }, { name: 'all' }]
    source.apply(...SHOP, destinationRule({ subsets }), slice('a', 'b'))
    source.apply(
      pod('shop', 'a', { ip: '10.244.0.1', labels: { version: 'v1' } }),
      pod('shop', 'b', { ip: '10.244.0.2', labels: { version: 'v2' } }),
    )
    source.apply(pod('shop', 'stranger', { ip: '10.244.0.9', labels: { version: 'v1' } }))
    const before = run()
    const uid = (name: string): string => `Kubernetes//Pod/shop/${name}`
    assert.deepEqual(
      before.subsets.map(({ workloads }) => workloads),
      [[uid('a')], [], [uid('a'), uid('b')]],
    )
    source.apply(pod('shop', 'other', { ip: '10.244.0.8' }))
    assert.equal(run(), before, 'a pod of no service changes nothing')
    source.apply(pod('shop', 'b', { ip: '10.244.0.2', labels: { version: 'v2', track: 'x' } }))
    assert.deepEqual(run().subsets[1]?.workloads, [uid('b')])
  })
})
