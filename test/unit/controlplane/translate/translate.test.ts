// Run after run over random histories: what is published and said is what a translation of everything from scratch gives.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { describe, it } from 'mocha'
import { Publisher } from '../../../../controlplane/push/publish.ts'
import { worldOf } from '../../../../controlplane/push/world.ts'
import { keyOf } from '../../../../controlplane/translate/pods.ts'
import { type Translation, Translator } from '../../../../controlplane/translate/translate.ts'
import { type MeshObject, objectKey, type Pod } from '../../../../model/object.ts'
import { FakeSource, NAMES, pluralOf, pod } from '../../../support/fake-source.ts'

type Variant = number
type Event = readonly [what: string, index: number, variant: Variant]

const SPACES = ['shop', 'bank', NAMES.rootNamespace] as const
const pick = <T>(list: readonly T[], n: number): T => list[n % list.length] as T
const metadata = (name: string, namespace: string, labels: Record<string, string> = {}) => ({ name, namespace, labels })

/** Objects by kind; the variant decides what is in them, and each says something else than its neighbours. */
const MAKERS: Readonly<Record<string, (index: number, variant: Variant) => MeshObject>> = {
  Namespace: (i, v) => ({
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name: pick(SPACES, i), labels: pick([{}, { 'istio.io/use-waypoint': 'wp' }, { 'topology.istio.io/network': 'n2' }], v) },
  }),
  Node: (i, v) => ({
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: `node-${i % 2}`, labels: { 'topology.kubernetes.io/zone': `z${v % 2}` } },
    spec: { podCIDR: `10.244.${v % 3}.0/24` },
    status: { heartbeat: v },
  }),
  Pod: (i, v) => {
    const labels = pick([{ app: 'a' }, { app: 'b', version: 'v2' }, { app: 'wp', 'gateway.networking.k8s.io/gateway-name': 'wp' }], v)
    const annotations = pick([{}, { 'ambient.istio.io/redirection': 'enabled' }, { 'ambient.istio.io/redirection': 'pending' }], v >> 2)
    const more = { labels, annotations, node: `node-${v % 2}`, serviceAccount: pick(['default', 'wp'], v >> 1) }
    const ip = v % 7 === 6 ? 'no address' : `10.244.0.${(i % 5) + 1}`
    return pod(pick(SPACES, i), `p${i % 5}`, { ...more, ip, phase: v % 11 === 10 ? 'Failed' : 'Running' })
  },
  Service: (i, v) => ({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: metadata(i % 4 === 0 ? 'wp' : `s${i % 2}`, pick(SPACES, i), v % 3 === 2 ? { 'istio.io/use-waypoint': 'none' } : {}),
    spec: { clusterIP: `10.96.${i % 3}.${v % 3}`, ports: [{ name: 'http', port: 80 + (v % 2), targetPort: 8080 }] },
  }),
  EndpointSlice: (i, v) => ({
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: metadata(`e${i % 3}`, pick(SPACES, i), { 'kubernetes.io/service-name': pick(['s0', 's1', 'wp'], v) }),
    addressType: 'IPv4',
    endpoints: [0, 1, 2, 3, 4, 5].flatMap((p) => {
      if (((v >> p) & 1) === 0) return []
      if (p === 5) return [{ addresses: [`192.0.2.${i + 1}`] }]
      return [{ addresses: [`10.244.0.${p + 1}`], targetRef: { kind: 'Pod', name: `p${p}`, namespace: pick(SPACES, i) } }]
    }),
    ports: [{ name: 'http', port: 8080 + (v % 2), protocol: 'TCP' }],
  }),
  AuthorizationPolicy: (i, v) => ({
    apiVersion: 'security.istio.io/v1',
    kind: 'AuthorizationPolicy',
    metadata: metadata(`policy${i % 2}`, pick(SPACES, i)),
    spec: { ...(v % 3 > 0 && { selector: { matchLabels: { app: pick(['a', 'b'], v) } } }), action: 'DENY', rules: [{}] },
  }),
  PeerAuthentication: (i, v) => ({
    apiVersion: 'security.istio.io/v1',
    kind: 'PeerAuthentication',
    metadata: metadata(`peer${i % 2}`, pick(SPACES, i)),
    spec: { mtls: { mode: pick(['STRICT', 'PERMISSIVE'], v) }, ...(v % 3 === 2 && { selector: { matchLabels: { app: 'a' } } }) },
  }),
  Gateway: (i, v) => ({
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'Gateway',
    metadata: { ...metadata('wp', pick(SPACES, i), { 'istio.io/waypoint-for': pick(['service', 'all'], v) }), uid: `gateway-${i % 3}` },
    spec: { gatewayClassName: v % 5 === 4 ? 'other' : 'weft-waypoint', listeners: [] },
    status: { seen: v },
  }),
  ServiceAccount: (i, v) => ({
    apiVersion: 'v1',
    kind: 'ServiceAccount',
    metadata: {
      ...metadata('wp', pick(SPACES, i)),
      ownerReferences: [{ apiVersion: 'x/v1', kind: 'Gateway', name: 'wp', uid: `gateway-${v % 4}`, controller: true }],
    },
  }),
  DestinationRule: (i, v) => ({
    apiVersion: 'networking.istio.io/v1',
    kind: 'DestinationRule',
    metadata: metadata(`rule${i % 2}`, pick(SPACES, i)),
    spec: { host: `s${i % 2}`, subsets: [{ name: 'one', labels: pick([{ app: 'a' }, { version: 'v2' }, {}], v) }] },
  }),
}

/** A source with a translator that is told what changed, as the push loop does it. */
class Running {
  readonly source = new FakeSource()
  readonly publisher = new Publisher()
  readonly settling = new Set<string>()
  readonly #translator = new Translator(NAMES)
  readonly #objects = new Map<string, MeshObject>()
  #pods: Map<string, Pod | undefined> | undefined

  constructor(forgets: (event: { readonly type: string }) => boolean) {
    void this.source.start()
    this.source.onChange((event) => {
      if (event.object.kind !== 'Pod' || forgets(event)) return
      this.#pods?.set(keyOf(event.object as Pod), event.type === 'DELETED' ? undefined : (event.object as Pod))
    })
  }

  apply([what, index, variant]: Event): void {
    if (what === 'settle') {
      const uid = `${NAMES.clusterId}//Pod/${pick(SPACES, index)}/p${index % 5}`
      if (!this.settling.delete(uid)) this.settling.add(uid)
      return
    }
    const object = MAKERS[what]?.(index, variant)
    assert.ok(object)
    const key = `${pluralOf(object)} ${objectKey(object)}`
    if (variant % 4 === 3 && this.#objects.delete(key)) this.source.delete(object)
    else {
      this.#objects.set(key, object)
      this.source.apply(object)
    }
  }

  run(): string {
    const translation = this.#translator.translate(worldOf(this.source, this.settling), this.#pods)
    this.#pods = new Map()
    this.publisher.publish(translation, translation.changed?.keys())
    return textOf(translation, this.publisher)
  }

  fromScratch(): string {
    const translation = new Translator(NAMES).translate(worldOf(this.source, this.settling))
    const publisher = new Publisher()
    publisher.publish(translation)
    return textOf(translation, publisher)
  }
}

/** All that can be told of a translation, sorted. */
function textOf(translation: Translation, { store, faults }: Publisher): string {
  const lines: string[] = []
  for (const typeUrl of store.typeUrls)
    for (const [name, { version, aliases, groups }] of store.snapshot(typeUrl)) lines.push(`${name} ${version} ${aliases} ${groups}`)
  for (const fault of [...translation.faults, ...faults]) lines.push(JSON.stringify(fault))
  for (const [object, { reason, waypoint }] of translation.bindings) lines.push(`${objectKey(object)} ${reason} ${waypoint}`)
  for (const [object, outcome] of translation.outcomes) lines.push(`${objectKey(object)} ${JSON.stringify(outcome)}`)
  for (const [object, finding] of translation.istioOutcomes) lines.push(`${objectKey(object)} ${JSON.stringify(finding)}`)
  lines.push(`ready ${[...translation.readyGateways].sort().join()}`)
  return lines.sort().join('\n')
}

const EVENT = fc.tuple(fc.constantFrom('settle', 'Pod', 'Pod', 'EndpointSlice', ...Object.keys(MAKERS)), fc.nat(11), fc.nat(127))
const HISTORY = fc.array(fc.array(EVENT, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 25 })
const NONE = (_event: { readonly type: string }): boolean => false

/** Plays a history; fails where the running translation is not what one from scratch is. */
function play(history: readonly (readonly Event[])[], forgets = NONE): void {
  const running = new Running(forgets)
  for (const kind of Object.keys(MAKERS)) for (let i = 0; i < 6; i++) running.apply([kind, i, 16 + i])
  running.run()
  for (const events of history) {
    for (const event of events) running.apply(event)
    assert.equal(running.run(), running.fromScratch())
  }
}

describe('controlplane/translate: incremental', () => {
  it('gives after any history what a translation from scratch gives', function () {
    this.timeout(60_000)
    fc.assert(
      fc.property(HISTORY, (history) => play(history)),
      { numRuns: 40 },
    )
  })

  it('would show a change that was not taken in (control)', () => {
    const isShown = fc.check(
      fc.property(HISTORY, (history) => play(history, ({ type }) => type === 'MODIFIED')),
      { numRuns: 40 },
    )
    assert.equal(isShown.failed, true)
  })

  it('counts only what has become another value as changed, and translates pods anew for what they depend on', () => {
    const running = new Running(NONE)
    const translator = new Translator(NAMES)
    const run = (...pods: readonly Pod[]): string[] => {
      const changed = new Map(pods.map((each) => [keyOf(each), each]))
      return [...(translator.translate(worldOf(running.source, new Set()), changed).changed?.keys() ?? ['all'])].sort()
    }
    const uids = (...names: readonly string[]): string[] => names.map((name) => `${NAMES.clusterId}//Pod/${name}`)
    const put = (kind: string, index: number, variant: Variant): void => running.apply([kind, index, variant])
    put('Pod', 0, 0) // shop/p0 on node-0, app a
    put('Pod', 3, 5) // shop/p3 on node-1, app wp
    put('Pod', 1, 0) // bank/p1 on node-0, app a
    put('Node', 0, 0)
    put('Gateway', 0, 0)
    assert.deepEqual(run(), ['all'])
    assert.deepEqual(run(), [])
    put('Node', 0, 6) // another heartbeat, the same zone
    put('Gateway', 0, 10) // another status
    assert.deepEqual(run(), [])
    put('Pod', 0, 0)
    assert.deepEqual(run([...running.source.objects('pods')][0] as Pod), [], 'another object with the same content')
    put('Node', 0, 1)
    assert.deepEqual(run(), uids('bank/p1', 'shop/p0'))
    put('AuthorizationPolicy', 0, 4)
    assert.deepEqual(run(), uids('shop/p0'), 'a policy for app=a of its namespace')
    put('AuthorizationPolicy', 3, 5)
    assert.deepEqual(run(), [], 'a policy that selects no pod')
  })
})
