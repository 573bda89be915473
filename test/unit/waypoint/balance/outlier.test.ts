// Outlier detection through the cluster, on a clock of our own: what counts, how long, how many, panic, and the backend that
// dies and comes back.
import assert from 'node:assert/strict'
import type { Outcome } from '../../../../waypoint/balance/endpoint.ts'
import { ANY, endpoint, endpoints, outlierOf, policyOf, rig, spread, uidOf } from './balance-values.ts'
import type { Rig } from './balance-values.ts'

function end(cluster: Rig['cluster'], uid: string, outcome: Outcome): void {
  const choice = cluster.choose({ ...ANY, session: uid })
  assert.ok(choice.kind === 'endpoint' && choice.endpoint.uid === uid, `${uid} is not usable`)
  choice.lease.done(outcome)
}

const OK: Outcome = { status: 200 }
const E500: Outcome = { status: 500 }
const E503: Outcome = { status: 503 }

const COUNTED: readonly {
  name: string
  five: number | undefined
  gateway: number | undefined
  given: readonly Outcome[]
  want: boolean
}[] = [
  { name: '3 × 500 of 3 5xx', five: 3, gateway: undefined, given: [E500, E500, E500], want: true },
  { name: '2 × 500 of 3 5xx', five: 3, gateway: undefined, given: [E500, E500], want: false },
  { name: 'a success in between', five: 3, gateway: undefined, given: [E500, E500, OK, E500, E500], want: false },
  { name: 'a 404, which is a success', five: 2, gateway: undefined, given: [E500, { status: 404 }, E500], want: false },
  { name: 'a request that the client gave up, which is nothing', five: 2, gateway: undefined, given: [E500, {}, E500], want: true },
  { name: '500s for gateway errors', five: undefined, gateway: 1, given: [E500, E500], want: false },
  { name: 'a 500 between gateway errors', five: undefined, gateway: 2, given: [E503, E500, E503], want: false },
  { name: '502, 504 as gateway errors', five: undefined, gateway: 2, given: [{ status: 502 }, { status: 504 }], want: true },
  {
    name: 'failures as gateway errors',
    five: undefined,
    gateway: 4,
    given: (['connect', 'refused', 'reset', 'timeout'] as const).map((failure) => ({ failure })),
    want: true,
  },
  { name: 'gateway errors as 5xx', five: 3, gateway: undefined, given: [E503, { failure: 'connect' }, E500], want: true },
  { name: 'nothing when both are off', five: 0, gateway: 0, given: [E503, E503, E503], want: false },
]

describe('waypoint/balance/outlier', () => {
  for (const { name, five, gateway, given, want } of COUNTED) {
    it(`${want ? 'ejects' : 'does not eject'} for ${name}`, () => {
      const { cluster, ejected } = rig(
        policyOf({ outlier: outlierOf({ consecutive5xx: five, consecutiveGatewayErrors: gateway }) }),
        endpoints(3),
      )
      for (const outcome of given) end(cluster, 'e1', outcome)
      assert.deepEqual(ejected, want ? ['e1'] : [])
      assert.equal(cluster.stats.ejected, want ? 1 : 0)
      assert.equal(spread(cluster, 60).e1 === undefined, want)
    })
  }

  it('brings back at interval ticks, after the base time × number of ejections, which falls again', async () => {
    const { cluster, clock, ejected } = rig(policyOf({ outlier: outlierOf({ intervalMs: 10_000, baseEjectionMs: 15_000 }) }), endpoints(2))
    const outMs = async (): Promise<number> => {
      const startMs = clock.nowMs()
      end(cluster, 'e1', E503)
      while (cluster.stats.ejected > 0) await clock.advance(1000)
      return clock.nowMs() - startMs
    }
    assert.equal(clock.pending, 0, 'no timer while nobody is ejected')
    await clock.advance(4000)
    assert.equal(await outMs(), 16_000) // ejected at 4 s, due at 19 s, tick at 20 s
    assert.equal(await outMs(), 30_000)
    assert.equal(await outMs(), 50_000) // 45 s
    await clock.advance(20_000)
    assert.equal(await outMs(), 30_000) // two intervals in good health: 3 ejections count as 1
    await clock.advance(100_000)
    assert.equal(clock.pending, 0, 'and none when all is forgotten')
    assert.equal(ejected.length, 4)
  })

  it('never ejects for longer than five minutes, unless the base is longer', async () => {
    for (const [baseEjectionMs, want] of [
      [200_000, 300_000],
      [400_000, 400_000],
    ] as const) {
      const { cluster, clock } = rig(policyOf({ outlier: outlierOf({ intervalMs: 1000, baseEjectionMs }) }), endpoints(2))
      let lastMs = 0
      for (let i = 0; i < 3; i++) {
        end(cluster, 'e1', E503)
        const startMs = clock.nowMs()
        while (cluster.stats.ejected > 0) await clock.advance(10_000)
        lastMs = clock.nowMs() - startMs
      }
      assert.equal(lastMs, want)
    }
  })

  for (const { percent, count, want } of [
    { percent: 0, count: 10, want: 1 },
    { percent: 10, count: 4, want: 1 },
    { percent: 50, count: 4, want: 2 },
    { percent: 50, count: 5, want: 2 },
    { percent: 100, count: 4, want: 4 },
  ]) {
    it(`ejects at most ${want} of ${count} at ${percent} %`, () => {
      const { cluster, ejected } = rig(policyOf({ outlier: outlierOf({ maxEjectionPercent: percent }) }), endpoints(count))
      for (const { uid } of endpoints(count)) end(cluster, uid, E503)
      assert.equal(ejected.length, want)
    })
  }

  it('says NO_ENDPOINT when all are ejected and there is no panic', () => {
    const { cluster } = rig(policyOf({ outlier: outlierOf() }), [endpoint('e1')])
    end(cluster, 'e1', E503)
    assert.equal(uidOf(cluster.choose(ANY)), 'NO_ENDPOINT')
    assert.equal(uidOf(cluster.choose({ ...ANY, session: 'e1' })), 'NO_ENDPOINT')
    assert.equal(uidOf(cluster.choose({ ...ANY, exclude: new Set(['e1']) })), 'NO_ENDPOINT')
  })

  it('panics below the least share of healthy endpoints: all are used again', () => {
    const { cluster } = rig(policyOf({ outlier: outlierOf({ minHealthPercent: 50 }) }), endpoints(4))
    end(cluster, 'e0', E503)
    end(cluster, 'e1', E503)
    assert.deepEqual(Object.keys(spread(cluster, 100)).sort(), ['e2', 'e3'])
    assert.equal(cluster.stats.isPanicking, false)
    end(cluster, 'e2', E503)
    assert.equal(cluster.stats.isPanicking, true)
    assert.deepEqual(Object.keys(spread(cluster, 100)).sort(), ['e0', 'e1', 'e2', 'e3'])
  })

  it('ignores answers to requests from before the ejection', async () => {
    const { cluster, clock, ejected } = rig(policyOf({ outlier: outlierOf({ baseEjectionMs: 10_000 }) }), endpoints(2))
    const held = Array.from({ length: 20 }, () => cluster.choose({ ...ANY, session: 'e1' }))
    for (const choice of held) if (choice.kind === 'endpoint') choice.lease.done({ failure: 'reset' })
    assert.deepEqual(ejected, ['e1'])
    await clock.advance(10_000)
    assert.equal(cluster.stats.ejected, 0)
  })

  it('keeps ejections over updates, and forgets those of pods that are replaced', () => {
    const { cluster } = rig(policyOf({ outlier: outlierOf() }), endpoints(3))
    end(cluster, 'e1', E503)
    cluster.update(endpoints(4))
    assert.equal(spread(cluster, 100).e1, undefined)
    cluster.update(endpoints(4).map((one) => (one.uid === 'e1' ? { ...one, to: { ...one.to, port: 9090 } } : one)))
    assert.equal(cluster.stats.ejected, 0)
    assert.ok((spread(cluster, 100).e1 ?? 0) > 0)
    end(cluster, 'e2', E503)
    cluster.update(endpoints(2))
    assert.equal(cluster.stats.ejected, 0)
  })

  it('has no timer after disposal, and ejects nobody', () => {
    const { cluster, clock, ejected } = rig(policyOf({ outlier: outlierOf() }), endpoints(3))
    end(cluster, 'e1', E503)
    assert.equal(clock.pending, 1)
    const late = cluster.choose({ ...ANY, session: 'e2' })
    cluster[Symbol.dispose]()
    assert.equal(clock.pending, 0)
    if (late.kind === 'endpoint') late.lease.done(E503)
    assert.deepEqual(ejected, ['e1'])
    assert.equal(cluster.stats.activeRequests, 0)
  })

  for (const kind of ['leastRequest', 'roundRobin', 'random'] as const) {
    it(`${kind}: one of four backends dies and comes back every 5 s: one request at most finds it dead each time`, async () => {
      const { cluster, clock } = rig(policyOf({ balancer: { kind }, outlier: outlierOf() }), endpoints(4))
      const failed = new Array<number>(24).fill(0)
      let served = 0
      for (let ms = 0; ms < 120_000; ms += 50) {
        const period = Math.floor(ms / 5000)
        for (let i = 0; i < 5; i++) {
          const choice = cluster.choose(ANY)
          assert.ok(choice.kind === 'endpoint')
          const isDead = choice.endpoint.uid === 'e2' && period % 2 === 1
          if (isDead) failed[period]! += 1
          else if (choice.endpoint.uid === 'e2') served += 1
          choice.lease.done(isDead ? { failure: 'connect' } : OK)
        }
        await clock.advance(50)
      }
      assert.ok(
        failed.every((count) => count <= 1),
        `${failed}`,
      )
      assert.ok(failed.some((count) => count === 1) && served > 100, `${failed}, ${served} served`)
    })
  }
})
