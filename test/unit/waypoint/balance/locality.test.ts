// Who is how near: levels by failover, by labels, shares by distribution, and when there are none of these.
import assert from 'node:assert/strict'
import type { LocalityPolicy } from '../../../../model/backend.ts'
import { covers, neighbourhoods } from '../../../../waypoint/balance/locality.ts'
import { endpoint, members, outlierOf, place, policyOf, rig, spread } from './balance-values.ts'

const PLACES = ['r1/z1/s1', 'r1/z1/s2', 'r1/z2/s1', 'r2/z1/s1', 'r3/z1/s1']
const OFF: LocalityPolicy = { isEnabled: true, distribute: [], failover: [], failoverPriority: [] }
const REGION = 'topology.kubernetes.io/region'
const ZONE = 'topology.kubernetes.io/zone'

/** Places of each neighbourhood, with level and weight. */
function split(policy: LocalityPolicy | undefined, canFailOver = true, local = 'r1/z1/s1'): string[] {
  const list = members(PLACES.map((at, index) => endpoint(`e${index}`, { at })))
  return neighbourhoods(list, policy, place(local), canFailOver).map(({ members: near, level, weight }) => {
    const places = near.map(({ endpoint: { workload } }) => Object.values(workload.locality).join('/'))
    return `${level} x${weight}: ${places.join(' ')}`
  })
}

const ALL = [`0 x1: ${PLACES.join(' ')}`]
const SPLITS = [
  { name: 'makes all equal without a policy', given: split(undefined), want: ALL },
  {
    name: 'makes all equal when switched off',
    given: split({ ...OFF, isEnabled: false, distribute: [{ from: '*', to: { r1: 1 } }] }),
    want: ALL,
  },
  { name: 'makes no levels without outlier detection', given: split(OFF, false), want: ALL },
  {
    name: 'prefers the same subzone, zone, region, in this order',
    given: split(OFF),
    want: ['0 x1: r1/z1/s1', '1 x1: r1/z1/s2', '2 x1: r1/z2/s1', '3 x1: r2/z1/s1 r3/z1/s1'],
  },
  {
    name: 'fails over to the region that is named',
    given: split({
      ...OFF,
      failover: [
        { from: 'r2', to: 'r1' },
        { from: 'r1', to: 'r3' },
      ],
    }),
    want: ['0 x1: r1/z1/s1', '1 x1: r1/z1/s2', '2 x1: r1/z2/s1', '3 x1: r3/z1/s1', '4 x1: r2/z1/s1'],
  },
  {
    name: 'leaves no gaps between levels',
    given: split(OFF, true, 'r2/z9/s9'),
    want: ['0 x1: r2/z1/s1', '1 x1: r1/z1/s1 r1/z1/s2 r1/z2/s1 r3/z1/s1'],
  },
  {
    name: 'goes by labels in their order',
    given: split({ ...OFF, failoverPriority: [REGION, ZONE] }),
    want: ['0 x1: r1/z1/s1 r1/z1/s2', '1 x1: r1/z2/s1', '2 x1: r2/z1/s1 r3/z1/s1'],
  },
  {
    name: 'takes the value that a label asks for',
    given: split({ ...OFF, failoverPriority: [`${REGION}=r3`] }),
    want: ['0 x1: r3/z1/s1', '1 x1: r1/z1/s1 r1/z1/s2 r1/z2/s1 r2/z1/s1'],
  },
  { name: 'leaves out labels that proxies do not know', given: split({ ...OFF, failoverPriority: ['version'] }), want: ALL },
  {
    name: 'orders by labels, then by distance, when both are given',
    given: split({ ...OFF, failoverPriority: [REGION], failover: [{ from: 'r1', to: 'r3' }] }),
    want: ['0 x1: r1/z1/s1', '1 x1: r1/z1/s2', '2 x1: r1/z2/s1', '3 x1: r3/z1/s1', '4 x1: r2/z1/s1'],
  },
  {
    name: 'distributes by the narrowest pattern, also without outlier detection',
    given: split({ ...OFF, distribute: [{ from: 'r1/z1/*', to: { 'r1/*': 20, 'r1/z1/s1': 70, 'r2/*': 10 } }] }, false),
    want: ['0 x70: r1/z1/s1', '0 x20: r1/z1/s2 r1/z2/s1', '0 x10: r2/z1/s1'],
  },
  { name: 'does not distribute for another locality', given: split({ ...OFF, distribute: [{ from: 'r2', to: { r2: 100 } }] }), want: ALL },
  {
    name: 'gives nothing to places that a distribution leaves out',
    given: split({ ...OFF, distribute: [{ from: '*', to: { r3: 100, r2: 0 } }] }),
    want: ['0 x100: r3/z1/s1'],
  },
]

const COVERS = [
  { pattern: '*', at: 'r1/z1/s1', want: true },
  { pattern: 'r1', at: 'r1/z1/s1', want: true },
  { pattern: 'r1/*', at: 'r1/z2/', want: true },
  { pattern: 'r1/z1', at: 'r1/z2/s1', want: false },
  { pattern: 'r1/z1/*', at: 'r1/z1/s9', want: true },
  { pattern: 'r1/*/s1', at: 'r1/z7/s1', want: true },
  { pattern: 'r1/z1/s2', at: 'r1/z1/s1', want: false },
  { pattern: 'r1', at: '', want: false },
]

describe('waypoint/balance/locality', () => {
  for (const { name, given, want } of SPLITS) it(name, () => assert.deepEqual(given, want))

  for (const { pattern, at, want } of COVERS) {
    it(`${pattern} ${want ? 'covers' : 'does not cover'} ${at === '' ? 'nowhere' : at}`, () =>
      assert.equal(covers(pattern, place(at)), want))
  }

  it('takes requests to the next level as endpoints of the nearest are ejected, and back', async () => {
    const near = ['e1', 'e2', 'e3', 'e4'].map((name) => endpoint(name, { at: 'r1/z1/s1' }))
    const far = ['e5', 'e6'].map((name) => endpoint(name, { at: 'r2/z1/s1' }))
    const { cluster, clock } = rig(policyOf({ locality: OFF, outlier: outlierOf() }), [...near, ...far])
    const farShare = (): number => {
      const counts = spread(cluster, 4000)
      return ((counts.e5 ?? 0) + (counts.e6 ?? 0)) / 4000
    }
    const fail = (uid: string): void => {
      const choice = cluster.choose({ hash: undefined, exclude: new Set(), session: uid })
      assert.ok(choice.kind === 'endpoint' && choice.endpoint.uid === uid)
      choice.lease.done({ failure: 'connect' })
    }
    const shares = [farShare()]
    for (const { uid } of near) {
      fail(uid)
      shares.push(farShare())
    }
    for (const [index, want] of [0, 0, 0.3, 0.65, 1].entries()) assert.ok(Math.abs(shares[index]! - want) < 0.03, `${shares}`)
    await clock.advance(60_000)
    assert.equal(farShare(), 0)
  })

  it('tries a farther endpoint when all near ones were tried', () => {
    const { cluster } = rig(policyOf({ locality: OFF, outlier: outlierOf() }), [endpoint('e1'), endpoint('e2', { at: 'r2' })])
    assert.deepEqual(spread(cluster, 20), { e1: 20 })
    assert.deepEqual(spread(cluster, 20, { hash: undefined, exclude: new Set(['e1']), session: undefined }), { e2: 20 })
  })

  it('does not follow a session to a place that a distribution leaves out', () => {
    const { cluster } = rig(policyOf({ locality: { ...OFF, distribute: [{ from: '*', to: { r1: 100 } }] } }), [
      endpoint('e1', { at: 'r1' }),
    ])
    assert.deepEqual(spread(cluster, 5), { e1: 5 })
    cluster.update([endpoint('e1', { at: 'r2' })])
    assert.deepEqual(spread(cluster, 5, { hash: undefined, exclude: new Set(), session: 'e1' }), { NO_ENDPOINT: 5 })
  })

  it('distributes requests by the shares', () => {
    const list = [endpoint('e1', { at: 'r1' }), endpoint('e2', { at: 'r2' }), endpoint('e3', { at: 'r2' }), endpoint('e4', { at: 'r3' })]
    const { cluster } = rig(policyOf({ locality: { ...OFF, distribute: [{ from: '*', to: { r1: 80, r2: 20 } }] } }), list)
    const counts = spread(cluster, 10_000)
    assert.ok(Math.abs((counts.e1 ?? 0) - 8000) < 200, JSON.stringify(counts))
    assert.equal(counts.e4, undefined)
  })
})
