// docs/capture.md, the guard: what leaves a pod's device without having passed the hooks on sockets; tcx and clsact.
import assert from 'node:assert/strict'
import type { GuardKind } from '../../bpf/guard.ts'
import { hasClsact } from '../../bpf/link.ts'
import { row } from '../support/capture-rows.ts'
import type { Scenario } from '../support/capture-scenario.ts'
import { end, enrol, fill, proxyIn, reopen, scenario } from '../support/capture-scenario.ts'

const KINDS: readonly GuardKind[] = ['tcx', 'clsact']

describe('capture, guard', () => {
  let s: Scenario
  let port = 40_000

  before(async () => {
    s = await scenario(`wbg${process.pid}`)
    await proxyIn(s, s.a, 'zt')
    enrol(s, s.a)
  })
  after(() => end(s))

  /** Sends one raw SYN from pod a; @returns how many pod b saw */
  async function syn(source: string, to: string): Promise<number> {
    const sourcePort = port++
    const fd = await s.other.do('sniff', { ifindex: 2 })
    assert.equal(await s.app.do('raw', { source, ip: to, port: 8080, sourcePort }), 'sent')
    return await s.other.do('counted', { fd, sourcePort, ms: 60 })
  }

  async function guarded(run: () => Promise<void>): Promise<void> {
    for (const guard of KINDS) {
      reopen(s, { guard })
      s.lab.inNode(() => s.datapath.guardOn(s.a))
      try {
        assert.equal(
          s.lab.inNode(() => hasClsact(s.a.hostIfindex)),
          guard === 'clsact',
        )
        assert.equal(
          s.lab.inNode(() => s.datapath.inspect(s.a).guard),
          true,
        )
        await run()
      } finally {
        s.lab.inNode(() => s.datapath.guardOff(s.a))
      }
      assert.equal(
        s.lab.inNode(() => s.datapath.inspect(s.a).guard),
        false,
      )
    }
  }

  const drops = (): { source: bigint; syn: bigint; other: bigint } =>
    s.datapath.drops().get(s.a.cookie) ?? { source: 0n, syn: 0n, other: 0n }

  it('control: without a guard raw SYNs and forged sources get out', async () => {
    assert.equal(await syn(s.a.ip4, s.b.ip4), 1)
    assert.equal(await syn('10.77.0.99', s.b.ip4), 1)
    assert.equal(await syn(s.a.ip6, s.b.ip6), 1)
  })

  row('guard-raw-syn', () =>
    guarded(async () => {
      const before = drops().syn
      assert.equal(await syn(s.a.ip4, s.b.ip4), 0)
      assert.equal(await syn(s.a.ip6, s.b.ip6), 0)
      assert.equal(drops().syn - before, 2n)
    }),
  )

  row('guard-source', () =>
    guarded(async () => {
      const before = drops().source
      assert.equal(await syn('10.77.0.99', s.b.ip4), 0)
      assert.equal(await syn('fd77::99', s.b.ip6), 0)
      assert.equal(drops().source - before, 2n)
    }),
  )

  row('guard-proxy', () =>
    guarded(async () => {
      for (const ip of [s.b.ip4, s.b.ip6]) assert.match(await s.proxyClient.do('call', { ip, port: 8080 }), /^appB 8080 /)
      assert.match(await s.app.do('callExempt', { ip: s.b.ip4, port: 8080, directory: s.lab.bpffs }), /^appB 8080 /)
    }),
  )

  row('guard-outside-cgroup', async () => {
    const outside = await s.lab.peer(s.a.path, undefined)
    assert.match(await outside.do('call', { ip: s.b.ip4, port: 8080 }), /^appB 8080 /)
    await guarded(async () => assert.match(await outside.do('call', { ip: s.b.ip4, port: 8080 }), /^error (EINPROGRESS|EAGAIN|ETIMEDOUT)$/))
    await outside.stop()
  })

  row('guard-answers', () => guarded(async () => assert.match(await s.other.do('call', { ip: s.a.ip4, port: 8080 }), /^zt 15006 /)))

  row('guard-in-flight', async () => {
    s.lab.inNode(() => s.datapath.releaseOutbound(s.a))
    // Nobody answers for this address, so that the SYN is repeated after 1 s.
    s.lab.addNeighbour(s.a, '10.77.0.200', s.b)
    const sourcePort = port++
    await s.app.do('startConnect', { ip: '10.77.0.200', port: 8080, sourcePort, bind: s.a.ip4 })
    s.lab.inNode(() => s.datapath.captureOutbound(s.a))
    s.lab.inNode(() => s.datapath.guardOn(s.a))
    assert.equal(s.datapath.stats().in_flight_entries, 1n)
    const fd = await s.other.do('sniff', { ifindex: 2 })
    assert.ok((await s.other.do('counted', { fd, sourcePort, ms: 5000, enough: 1 })) > 0)
    s.lab.inNode(() => s.datapath.guardOff(s.a))
    assert.equal(s.datapath.stats().in_flight_entries, 0n)
  })

  row('guard-full', () =>
    guarded(async () => {
      using _full = fill(s, 'permitted')
      assert.match(await s.proxyClient.do('call', { ip: s.b.ip4, port: 8080 }), /^error (EINPROGRESS|EAGAIN|ETIMEDOUT)$/)
    }),
  )

  row('guard-off', async () => {
    await guarded(async () => undefined)
    assert.equal(await syn(s.a.ip4, s.b.ip4), 1)
  })
})
