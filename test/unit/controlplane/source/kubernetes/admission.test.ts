// Objects that a CRD without a schema lets through: said in an Event, and never in the way of others. Whatever they hold,
// translation and status go on.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { describe, it } from 'mocha'
import { worldOf } from '../../../../../controlplane/push/world.ts'
import { Admission } from '../../../../../controlplane/source/kubernetes/admission.ts'
import type { ConfigSource } from '../../../../../controlplane/source/source.ts'
import { StatusWriter } from '../../../../../controlplane/status/writer.ts'
import { Translator } from '../../../../../controlplane/translate/translate.ts'
import type { MeshObject } from '../../../../../model/object.ts'
import { findKind } from '../../../../../objects/kinds.ts'
import { trimmer } from '../../../../../objects/kube/trim.ts'
import { FakeClock } from '../../../../support/fake-clock.ts'
import { keptLog } from '../../../../support/xds-pair.ts'

const NAMES = {
  clusterId: 'Kubernetes',
  network: '',
  trustDomain: 'cluster.local',
  clusterDomain: 'cluster.local',
  rootNamespace: 'weft-system',
  cidrs: [],
}
const GATEWAY = 'gateway.networking.k8s.io/v1'

const make = (kind: string, apiVersion: string, spec: unknown, status?: unknown, name = kind.toLowerCase()): MeshObject =>
  ({
    apiVersion,
    kind,
    metadata: { name, namespace: 'default', uid: `uid-${name}`, resourceVersion: '1' },
    spec,
    ...(status === undefined ? {} : { status }),
  }) as MeshObject

/** Valid objects; one place of one of them is made wrong. */
const OBJECTS: Readonly<Record<string, MeshObject>> = {
  services: make(
    'Service',
    'v1',
    { clusterIP: '10.0.0.9', ports: [{ port: 80, name: 'http' }], selector: { app: 'x' } },
    undefined,
    'cart',
  ),
  authorizationpolicies: make('AuthorizationPolicy', 'security.istio.io/v1', {
    selector: { matchLabels: { app: 'x' } },
    action: 'DENY',
    rules: [
      {
        from: [{ source: { principals: ['a'], ipBlocks: ['10.0.0.0/8'] } }],
        to: [{ operation: { ports: ['80'], methods: ['GET'] } }],
        when: [{ key: 'source.ip', values: ['10.0.0.1'] }],
      },
    ],
  }),
  peerauthentications: make('PeerAuthentication', 'security.istio.io/v1', {
    selector: { matchLabels: { app: 'x' } },
    mtls: { mode: 'STRICT' },
    portLevelMtls: { 80: { mode: 'DISABLE' } },
  }),
  gateways: make(
    'Gateway',
    GATEWAY,
    {
      gatewayClassName: 'weft-waypoint',
      listeners: [
        { name: 'mesh', port: 15008, protocol: 'HBONE', allowedRoutes: { namespaces: { from: 'All' }, kinds: [{ kind: 'HTTPRoute' }] } },
      ],
    },
    { conditions: [{ type: 'Accepted', status: 'True' }], listeners: [{ name: 'mesh', conditions: [] }] },
  ),
  httproutes: make(
    'HTTPRoute',
    GATEWAY,
    {
      parentRefs: [{ group: '', kind: 'Service', name: 'cart' }],
      rules: [{ matches: [{ path: { type: 'PathPrefix', value: '/a' } }], backendRefs: [{ name: 'cart', port: 80 }] }],
    },
    {
      parents: [
        { parentRef: { name: 'cart' }, controllerName: 'weft.dev/gateway-controller', conditions: [{ type: 'Accepted', status: 'True' }] },
      ],
    },
  ),
  virtualservices: make('VirtualService', 'networking.istio.io/v1', {
    hosts: ['cart'],
    http: [{ match: [{ uri: { prefix: '/a' } }], route: [{ destination: { host: 'cart', subset: 's' } }] }],
  }),
  destinationrules: make('DestinationRule', 'networking.istio.io/v1', {
    host: 'cart',
    subsets: [{ name: 's', labels: { v: '1' } }],
    trafficPolicy: { loadBalancer: { simple: 'RANDOM' } },
  }),
}

type Path = readonly (string | number)[]

function pathsOf(value: unknown, at: Path = []): Path[] {
  if (typeof value !== 'object' || value === null) return [at]
  return [at, ...Object.entries(value).flatMap(([key, one]) => pathsOf(one, [...at, Array.isArray(value) ? Number(key) : key]))]
}

function withAt(value: unknown, at: Path, to: unknown): unknown {
  const [first, ...rest] = at
  if (first === undefined) return to
  const copy = (Array.isArray(value) ? [...value] : { ...(value as object) }) as Record<string | number, unknown>
  copy[first] = withAt(copy[first], rest, to)
  return copy
}

function admission() {
  const { log, lines } = keptLog()
  const events: MeshObject[] = []
  const apply = async (object: object): Promise<MeshObject> => {
    events.push(object as MeshObject)
    return object as MeshObject
  }
  return { it: new Admission({ api: { apply }, log, clock: new FakeClock() }), events, lines, log }
}

describe('controlplane/source/kubernetes/admission', () => {
  it('tells all faults of a broken object, once', () => {
    const { it: door, events, lines } = admission()
    const broken = make('PeerAuthentication', 'security.istio.io/v1', { mtls: { mode: 'LOOSE' }, sele: {} })
    for (let i = 0; i < 3; i++) assert.equal(door.admit(broken), broken)
    assert.equal(lines.length, 1)
    assert.equal(events.length, 1)
    const { reason, message, involvedObject } = events[0] as MeshObject & {
      reason: string
      message: string
      involvedObject: { uid: string }
    }
    assert.deepEqual([reason, involvedObject.uid], ['InvalidObject', 'uid-peerauthentication'])
    assert.match(message, /spec\.mtls\.mode: .*sele/)
  })

  it('keeps what a Gateway said before', () => {
    const { it: door, events } = admission()
    const gateway = OBJECTS.gateways as MeshObject
    const broken = { ...gateway, metadata: { ...gateway.metadata, resourceVersion: '2' }, spec: { gatewayClassName: 7 } }
    assert.equal(door.admit(broken), undefined, 'nothing is known from before')
    assert.equal(door.admit(gateway), gateway)
    assert.deepEqual(door.admit(broken), { ...broken, spec: gateway.spec })
    door.forget(gateway)
    assert.equal(door.admit(broken), undefined)
    assert.equal(events.length, 2)
  })

  it('lets pods pass that the local runtime would not run', () => {
    const pod = make('Pod', 'v1', { hostPID: true, containers: [{ name: 'c', securityContext: { privileged: true } }] })
    assert.equal(admission().it.admit(pod), pod)
  })

  it('does not stop others, whatever an object holds', () => {
    const leaf = fc.oneof(
      fc.string(),
      fc.integer(),
      fc.boolean(),
      fc.constantFrom(null, '*', 'cart', 'HTTP', 'x'),
      fc.constant([]),
      fc.constant({}),
    )
    const junk = fc.oneof(
      leaf,
      fc.array(leaf, { maxLength: 3 }),
      fc.dictionary(fc.constantFrom('name', 'kind', 'port', 'type', 'conditions', 'value'), leaf),
    )
    const change = fc
      .constantFrom(...Object.keys(OBJECTS))
      .chain((plural) => fc.record({ plural: fc.constant(plural), at: fc.constantFrom(...pathsOf(partsOf(plural))), junk }))
    fc.assert(
      fc.property(change, ({ plural, at, junk: to }) => {
        const { it: door, log } = admission()
        const lists = new Map<string, MeshObject[]>()
        for (const [kind, object] of Object.entries(OBJECTS)) {
          const row = findKind((one) => one.plural === kind)
          assert.ok(row)
          const parts = kind === plural ? (withAt(partsOf(kind), at, to) as object) : partsOf(kind)
          const kept = trimmer(row)({ ...parts, metadata: object.metadata })
          const admitted = kept === undefined ? undefined : door.admit(kept)
          lists.set(kind, admitted === undefined ? [] : [admitted])
        }
        const source = { objects: (kind: string) => lists.get(kind) ?? [] } as unknown as ConfigSource
        const translation = new Translator(NAMES).translate(worldOf(source, new Set()))
        const leader = { isLeader: true, onChange: () => undefined }
        using status = new StatusWriter({ source, log, clock: new FakeClock(), leader } as unknown as ConstructorParameters<
          typeof StatusWriter
        >[0])
        status.report({
          translation,
          faults: translation.faults,
          programmed: { programmed: new Set(), refusals: new Map() },
          deployFaults: [],
        })
        if (plural !== 'services') assert.equal(translation.services.size, 1)
      }),
      { numRuns: 300 },
    )
  }).timeout('60s')
})

function partsOf(plural: string): object {
  const { spec, status } = OBJECTS[plural] as MeshObject
  return status === undefined ? { spec } : { spec, status }
}
