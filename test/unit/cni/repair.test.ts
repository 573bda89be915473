// What counts as a difference between the kernel and what it should be, and what is done about it.
import assert from 'node:assert/strict'
import { PodRunner } from '../../../cni/enroll.ts'
import type { Enrolment, Stage } from '../../../cni/machine.ts'
import { STAGES } from '../../../cni/machine.ts'
import type { PodPlace } from '../../../cni/pods.ts'
import { driftOf, reconcile, type RepairOptions } from '../../../cni/repair.ts'
import type { IpAddress } from '../../../model/address.ts'
import { silentLog } from '../../support/netns-lab.ts'

const ALL = { inbound: true, outbound: true, guard: true, listeners: [15_001, 15_006, 15_008, 15_053] }
const NOTHING = { inbound: false, outbound: false, guard: false, listeners: [] }

const TABLE: readonly {
  readonly name: string
  readonly stage: Stage
  readonly isPublished?: boolean
  readonly bypassesInbound?: boolean
  readonly seen: Partial<typeof ALL>
  readonly missing?: number[]
  readonly want: string
}[] = [
  { name: 'all is well', stage: 'enrolled', seen: {}, want: 'none' },
  { name: 'steering gone', stage: 'enrolled', seen: { inbound: false }, want: 'inbound drift' },
  { name: 'steering gone where none is wanted', stage: 'enrolled', bypassesInbound: true, seen: { inbound: false }, want: 'none' },
  {
    name: 'everything gone',
    stage: 'enrolled',
    seen: { inbound: false, outbound: false, guard: false },
    want: 'inbound,outbound,guard drift',
  },
  { name: 'listeners gone', stage: 'enrolled', seen: {}, missing: [15_008], want: 'listeners lost' },
  { name: 'capture before listeners', stage: 'enrolled', seen: { guard: false }, missing: [15_008], want: 'guard drift' },
  {
    name: 'failed but published: capture must hold',
    stage: 'failed',
    isPublished: true,
    seen: { outbound: false },
    want: 'outbound drift',
  },
  {
    name: 'failed and published: listeners are known to be missing',
    stage: 'failed',
    isPublished: true,
    seen: {},
    missing: [15_001],
    want: 'none',
  },
  { name: 'failed before it was published', stage: 'failed', seen: { inbound: false }, want: 'none' },
  { name: 'leftovers of a pod that is out', stage: 'out', seen: { inbound: false, outbound: false }, want: 'leftover drift' },
]

describe('cni/repair', () => {
  for (const row of TABLE) {
    it(row.name, () => {
      const enrolment: Enrolment = { stage: row.stage, wanted: 'in', isPublished: row.isPublished ?? row.stage === 'enrolled' }
      const drift = driftOf(enrolment, { bypassesInbound: row.bypassesInbound ?? false }, { ...ALL, ...row.seen }, row.missing ?? [])
      assert.equal(drift === undefined ? 'none' : `${drift.kinds.join()} ${drift.event}`, row.want)
    })
  }

  it('leaves stages under way alone', () => {
    const resting: readonly Stage[] = ['out', 'enrolled', 'failed']
    for (const stage of STAGES.filter((each) => !resting.includes(each))) {
      for (const seen of [ALL, NOTHING])
        assert.equal(driftOf({ stage, wanted: 'in', isPublished: true }, { bypassesInbound: false }, seen, [15_001]), undefined)
    }
    assert.equal(driftOf({ stage: 'out', wanted: 'out', isPublished: false }, { bypassesInbound: false }, NOTHING, [15_001]), undefined)
  })

  const place: PodPlace = {
    uid: 'a',
    namespace: 'shop',
    name: 'a',
    serviceAccount: 'default',
    netns: '/run/netns/a',
    netnsInode: 1n,
    cookie: 7n,
    ips: ['10.0.0.1' as IpAddress],
    hostIfindex: 1,
    bypassesInbound: false,
  }
  const bench = (change: Partial<RepairOptions> & { cookies?: bigint[]; isAttached?: boolean; isBroken?: boolean } = {}) => {
    const did: string[] = []
    const runner = new PodRunner(
      place,
      { stage: 'enrolled', wanted: 'in', isPublished: true },
      {
        steps: { run: () => new Promise<void>(() => undefined) },
        files: { save: () => undefined, remove: () => undefined },
        log: silentLog,
        onStage: (each) => void did.push(each.stage),
      },
    )
    const options: RepairOptions = {
      datapath: {
        inspect: () => {
          if (change.isBroken === true) throw new Error('EINVAL')
          return { ...ALL, guard: false }
        },
        pods: () => change.cookies ?? [7n],
        forget: ({ cookie }) => void did.push(`forget ${cookie}`),
        isCgroupAttached: () => change.isAttached ?? true,
      },
      reattach: () => void did.push('reattach'),
      runners: () => new Map([['a', runner]]),
      requiredPorts: [15_001],
      isZtunnelConnected: () => true,
      netnsDir: '/nonexistent',
      metrics: { drifted: (kind) => void did.push(`count ${kind}`) },
      log: silentLog,
      open: () => ({ fd: 3, [Symbol.dispose]: () => undefined }),
      livingCookies: () => new Set([8n]),
      ...change,
    }
    reconcile(options)
    return did
  }

  it('repairs and counts', () => {
    assert.deepEqual(bench(), ['count guard', 'securing'])
  })

  it('attaches again before it looks at pods', () => {
    assert.deepEqual(bench({ isAttached: false }), ['count cgroup', 'reattach', 'count guard', 'securing'])
  })

  it('removes state of dead pods, and leaves that of living namespaces alone', () => {
    assert.deepEqual(bench({ cookies: [7n, 8n, 9n] }), ['count orphan', 'forget 9', 'count guard', 'securing'])
  })

  it('forgets a pod whose namespace is gone', () => {
    const gone = (): never => {
      throw Object.assign(new Error('gone'), { code: 'NETNS_GONE' })
    }
    assert.deepEqual(bench({ open: gone }), ['gone'])
  })

  it('goes on when a pod or the whole cannot be looked at', () => {
    assert.deepEqual(bench({ isBroken: true }), [])
    const did = bench({
      reattach: () => {
        throw new Error('refused')
      },
      isAttached: false,
    })
    assert.deepEqual(did, ['count cgroup', 'count guard', 'securing'])
  })
})
