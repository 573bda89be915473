// Status of routes: entries of other controllers stay, ours follow the parents that are named.
import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import { routeStatus } from '../../../../controlplane/status/route-status.ts'
import type { HttpRoute, RouteParentStatus } from '../../../../model/gateway-api.ts'
import { route, SHOP, translate } from '../../../support/route-world.ts'

const NOW = '2026-01-02T00:00:00.000Z'
const FOREIGN: RouteParentStatus = { parentRef: { name: 'edge' }, controllerName: 'example.com/other', conditions: [] }
const PARENT = { group: '', kind: 'Service', name: 'cart' }

function run(parents: readonly object[], status: object | undefined, generation = 3) {
  const made = route('HTTPRoute', { parentRefs: parents })
  const object = { ...made, metadata: { ...made.metadata, generation }, ...(status === undefined ? {} : { status }) } as HttpRoute
  const { routeOutcomes } = translate([...SHOP, object])
  const [outcome = []] = [...routeOutcomes.values()]
  return routeStatus(object, outcome, NOW)
}

describe('controlplane/status/route-status', () => {
  it('writes an entry per parent with our name, the reference written out and the generation in every condition', () => {
    const status = run([PARENT, { name: 'edge' }, { ...PARENT, name: 'gone', port: 80 }], undefined)
    assert.deepEqual(
      status?.parents?.map(({ parentRef, controllerName }) => [parentRef, controllerName]),
      [
        [PARENT, 'weft.dev/gateway-controller'],
        [{ ...PARENT, name: 'gone', port: 80 }, 'weft.dev/gateway-controller'],
      ],
    )
    const conditions = status?.parents?.flatMap((entry) => entry.conditions) ?? []
    assert.deepEqual(
      conditions.map(({ type, status, observedGeneration }) => `${type} ${status} ${observedGeneration}`),
      ['Accepted True 3', 'ResolvedRefs True 3', 'Accepted False 3', 'ResolvedRefs True 3'],
    )
  })

  it('says nothing twice', () => {
    const status = run([PARENT], undefined)
    assert.equal(run([PARENT], status), undefined)
    assert.notEqual(run([PARENT], status, 4), undefined)
  })

  it('keeps entries of others and their conditions in ours', () => {
    const first = run([PARENT], { parents: [FOREIGN] })
    assert.deepEqual(first?.parents?.[0], FOREIGN)
    const [, ours] = first?.parents ?? []
    const extra = { type: 'example.com/Seen', status: 'True' as const }
    const second = run([PARENT], { parents: [FOREIGN, { ...ours, conditions: [extra, ...(ours?.conditions ?? [])] }] }, 4)
    assert.deepEqual(
      second?.parents?.[1]?.conditions.map(({ type }) => type),
      ['example.com/Seen', 'Accepted', 'ResolvedRefs'],
    )
  })

  it('takes back what it said of a parent that is no longer named', () => {
    const status = run([PARENT, { ...PARENT, name: 'cart-v2' }], { parents: [FOREIGN] })
    assert.equal(status?.parents?.length, 3)
    assert.deepEqual(
      run([PARENT], status)?.parents?.map(({ parentRef }) => parentRef.name),
      ['edge', 'cart'],
    )
    assert.deepEqual(run([], status)?.parents, [FOREIGN])
  })

  it('writes nothing for a route of other controllers alone', () => {
    assert.equal(run([{ name: 'edge' }], { parents: [FOREIGN] }), undefined)
    assert.equal(run([{ name: 'edge' }], undefined), undefined)
  })

  it('is not misled by a status that is none', () => {
    assert.equal(run([PARENT], { parents: 'x' })?.parents?.length, 1)
  })
})
