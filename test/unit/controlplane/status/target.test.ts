// How a status is sent to Kubernetes: our entries of lists with keys, everybody's of lists that are replaced as a whole.
import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import type { StatusWrite } from '../../../../controlplane/status/queue.ts'
import { appliedObject, applyTarget, STATUS_MANAGER } from '../../../../controlplane/status/target.ts'
import type { MeshObject } from '../../../../model/object.ts'

const condition = (type: string): object => ({ type, status: 'True', reason: 'x', lastTransitionTime: '2026-01-01T00:00:00Z' })
const write = (kind: StatusWrite['kind'], object: Partial<MeshObject>, status: object): StatusWrite => ({
  kind,
  object: {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'cart', namespace: 'shop', resourceVersion: '7', labels: { a: 'b' }, annotations: { c: 'd' } },
    spec: { clusterIP: '10.96.0.9' },
    ...object,
  },
  status,
})

const ROWS: readonly { readonly name: string; readonly write: StatusWrite; readonly want: object }[] = [
  {
    name: 'a service: the conditions of others are left out, not taken over',
    write: write('services', {}, { conditions: [condition('foreign/Ready'), condition('istio.io/WaypointBound')] }),
    want: { conditions: [condition('istio.io/WaypointBound')] },
  },
  {
    name: 'a service that names no waypoint any more: our condition goes',
    write: write('services', {}, { conditions: [condition('foreign/Ready')] }),
    want: { conditions: [] },
  },
  {
    name: 'a Gateway: its addresses and listeners are ours',
    write: write(
      'gateways',
      {},
      { addresses: [{ value: '1.2.3.4' }], conditions: [condition('Accepted'), condition('x/y')], listeners: [] },
    ),
    want: { addresses: [{ value: '1.2.3.4' }], conditions: [condition('Accepted')], listeners: [] },
  },
  {
    name: 'a class',
    write: write('gatewayclasses', {}, { conditions: [condition('Accepted'), condition('SupportedVersion')] }),
    want: { conditions: [condition('Accepted')] },
  },
  {
    name: 'a route: the parents of other controllers are sent, else they would be gone',
    write: write('httproutes', {}, { parents: [{ controllerName: 'other' }, { controllerName: 'weft.dev/gateway-controller' }] }),
    want: { parents: [{ controllerName: 'other' }, { controllerName: 'weft.dev/gateway-controller' }] },
  },
  {
    name: 'a kind of Istio’s: its list has no key',
    write: write('authorizationpolicies', {}, { conditions: [condition('Reconciled'), condition('ZtunnelAccepted')] }),
    want: { conditions: [condition('Reconciled'), condition('ZtunnelAccepted')] },
  },
]

describe('controlplane/status/target', () => {
  for (const { name, write: given, want } of ROWS) {
    it(`sends ${name}`, () => {
      const { status, ...rest } = appliedObject(given)
      assert.deepEqual(status, want)
      const metadata = { name: 'cart', namespace: 'shop', resourceVersion: '7' }
      assert.deepEqual(rest, { apiVersion: 'v1', kind: 'Service', metadata }, 'the object’s name and version, nothing else of it')
    })
  }

  it('sends no namespace where there is none', () => {
    const object = { apiVersion: 'v1', kind: 'GatewayClass', metadata: { name: 'weft-waypoint' } }
    assert.deepEqual(appliedObject({ kind: 'gatewayclasses', object, status: {} }), { ...object, status: {} })
  })

  it('applies under a manager of its own', async () => {
    const managers: string[] = []
    const target = applyTarget({
      applyStatus: async (object, { fieldManager }) => {
        managers.push(fieldManager)
        return object
      },
    })
    await target(write('services', {}, {}))
    assert.deepEqual(managers, [STATUS_MANAGER])
  })
})
