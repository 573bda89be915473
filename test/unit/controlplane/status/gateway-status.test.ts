// Status of waypoints' Gateways and of classes: what is asked for, what is in force, who takes part.
import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import { classStatus, gatewayStatus } from '../../../../controlplane/status/gateway-status.ts'
import type { Gateway, GatewayClass } from '../../../../model/gateway-api.ts'

const NOW = '2026-01-02T00:00:00.000Z'
const MESH = { name: 'mesh', port: 15008, protocol: 'HBONE' }

interface Row {
  readonly name: string
  readonly spec?: object
  readonly isProgrammed?: boolean
  readonly isReady?: boolean
  readonly problem?: string
  readonly addresses?: readonly string[]
  /** Conditions of the Gateway, then per listener: name, kinds, routes, conditions that are not as they should be. */
  readonly want: readonly string[]
}

const ROWS: readonly Row[] = [
  { name: 'all is well', want: ['Accepted True Accepted', 'Programmed True Programmed', 'mesh GRPCRoute,HTTPRoute 2 '] },
  {
    name: 'no waypoint has it yet',
    isProgrammed: false,
    want: ['Accepted True Accepted', 'Programmed False Pending', 'mesh GRPCRoute,HTTPRoute 2 Programmed False Pending'],
  },
  {
    name: 'its pod is not ready',
    isReady: false,
    want: ['Accepted True Accepted', 'Programmed False Pending', 'mesh GRPCRoute,HTTPRoute 2 Programmed False Pending'],
  },
  {
    name: 'no address',
    addresses: [],
    want: [
      'Accepted True Accepted',
      'Programmed False AddressNotAssigned',
      'mesh GRPCRoute,HTTPRoute 2 Programmed False AddressNotAssigned',
    ],
  },
  {
    name: 'it cannot run',
    problem: 'the name is too long',
    want: ['Accepted True Accepted', 'Programmed False Invalid', 'mesh GRPCRoute,HTTPRoute 2 Programmed False Invalid'],
  },
  {
    name: 'another protocol beside',
    spec: { listeners: [MESH, { name: 'web', port: 80, protocol: 'HTTP' }] },
    want: [
      'Accepted True ListenersNotValid',
      'Programmed True Programmed',
      'mesh GRPCRoute,HTTPRoute 2 ',
      'web  0 Accepted False UnsupportedProtocol, Programmed False Invalid',
    ],
  },
  {
    name: 'another port only',
    spec: { listeners: [{ ...MESH, port: 15009 }] },
    want: [
      'Accepted False ListenersNotValid',
      'Programmed False Invalid',
      'mesh  0 Accepted False PortUnavailable, Programmed False Invalid',
    ],
  },
  { name: 'no listener', spec: { listeners: [] }, want: ['Accepted False ListenersNotValid', 'Programmed False Invalid'] },
  {
    name: 'an address of its own',
    spec: { addresses: [{ value: '1.2.3.4' }] },
    want: ['Accepted False UnsupportedAddress', 'Programmed True Programmed', 'mesh GRPCRoute,HTTPRoute 2 '],
  },
  {
    name: 'parameters that nobody knows',
    spec: { infrastructure: { parametersRef: { group: '', kind: 'ConfigMap', name: 'more' } } },
    want: ['Accepted False InvalidParameters', 'Programmed True Programmed', 'mesh GRPCRoute,HTTPRoute 2 '],
  },
  {
    name: 'one kind of routes',
    spec: { listeners: [{ ...MESH, allowedRoutes: { kinds: [{ kind: 'HTTPRoute' }] } }] },
    want: ['Accepted True Accepted', 'Programmed True Programmed', 'mesh HTTPRoute 2 '],
  },
  {
    name: 'a kind of routes that is not known',
    spec: { listeners: [{ ...MESH, allowedRoutes: { kinds: [{ kind: 'HTTPRoute' }, { kind: 'TLSRoute' }] } }] },
    want: ['Accepted True Accepted', 'Programmed True Programmed', 'mesh HTTPRoute 2 ResolvedRefs False InvalidRouteKinds'],
  },
]

const BAD = (type: string, status: string): boolean => (type === 'Conflicted') === (status === 'True')

describe('controlplane/status/gateway-status', () => {
  for (const { name, spec = {}, isProgrammed = true, isReady = true, problem, addresses = ['10.96.0.5'], want } of ROWS) {
    it(name, () => {
      const object = {
        apiVersion: 'gateway.networking.k8s.io/v1',
        kind: 'Gateway',
        metadata: { name: 'w', namespace: 'shop', generation: 2 },
        spec: { gatewayClassName: 'istio-waypoint', listeners: [MESH], ...spec },
      } as Gateway
      const facts = { object, attachedRoutes: 2, addresses: addresses.map((value) => ({ type: 'IPAddress', value }) as const) }
      const status = gatewayStatus(object, facts, { isProgrammed, isReady, problem }, NOW)
      const lines = (status?.conditions ?? []).map((each) => `${each.type} ${each.status} ${each.reason}`)
      for (const listener of status?.listeners ?? []) {
        const bad = listener.conditions
          .filter(({ type, status }) => BAD(type, status))
          .map((each) => `${each.type} ${each.status} ${each.reason}`)
        lines.push(
          `${listener.name} ${listener.supportedKinds.map(({ kind }) => kind).join()} ${listener.attachedRoutes} ${bad.join(', ')}`,
        )
        assert.ok(listener.conditions.every(({ observedGeneration }) => observedGeneration === 2))
      }
      assert.deepEqual(lines, want)
      assert.deepEqual(status?.addresses, facts.addresses)
      assert.equal(
        gatewayStatus({ ...object, status: status ?? {} }, facts, { isProgrammed, isReady, problem }, '2027-01-01T00:00:00Z'),
        undefined,
        'said once',
      )
    })
  }

  it('accepts our classes, and leaves others alone', () => {
    const made = (name: string, controllerName: string): GatewayClass => ({
      apiVersion: 'gateway.networking.k8s.io/v1',
      kind: 'GatewayClass',
      metadata: { name, generation: 1 },
      spec: { controllerName },
    })
    const said = (name: string, controllerName = 'weft.dev/gateway-controller'): string | undefined =>
      classStatus(made(name, controllerName), NOW)
        ?.conditions?.map(({ status, reason }) => `${status} ${reason}`)
        .join()
    assert.deepEqual([said('weft-waypoint'), said('edge'), said('x', 'istio.io/other')], ['True Accepted', 'False Unsupported', undefined])
  })
})
