// docs/capture.md, pins: what stays without a process, how a new one takes over, and how everything goes away.
import assert from 'node:assert/strict'
import { closeSync, existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { detachPinned } from '../../bpf/link.ts'
import { openPin } from '../../bpf/map.ts'
import { pins } from '../../bpf/spec.ts'
import { releaseNode } from '../../bpf/release.ts'
import { row } from '../support/capture-rows.ts'
import type { Scenario } from '../support/capture-scenario.ts'
import { end, enrol, proxyIn, reopen, scenario } from '../support/capture-scenario.ts'
import type { LabPeer } from '../support/netns-lab.ts'

describe('capture, pins', () => {
  let s: Scenario
  let proxy: LabPeer
  const inspect = (pod = s.a): ReturnType<Scenario['datapath']['inspect']> => s.lab.inNode(() => s.datapath.inspect(pod))

  before(async () => {
    s = await scenario(`wbp${process.pid}`)
    proxy = await proxyIn(s, s.a, 'zt')
  })
  after(() => end(s))

  row('pin-steps', async () => {
    const none = { inbound: false, outbound: false, guard: false }
    const steps = ['steerInbound', 'captureOutbound', 'guardOn', 'guardOff', 'releaseOutbound', 'unsteerInbound'] as const
    const want = [
      { ...none, inbound: true },
      { ...none, inbound: true, outbound: true },
      { inbound: true, outbound: true, guard: true },
      { ...none, inbound: true, outbound: true },
      { ...none, inbound: true },
      none,
    ]
    for (const [i, step] of steps.entries())
      for (let twice = 0; twice < 2; twice++) {
        s.lab.inNode(() => s.datapath[step](s.a))
        const { listeners, ...state } = inspect()
        assert.deepEqual(state, want[i], step)
        assert.deepEqual(listeners, [15001, 15006, 15008])
      }
    assert.deepEqual(s.datapath.pods(), [])
    for (const step of steps.slice(0, 3)) s.lab.inNode(() => s.datapath[step](s.a))
    using _held = hold([pins.guard(s.lab.bpffs, s.a.hostIfindex)])
    for (const step of ['guardOff', 'guardOn'] as const) s.lab.inNode(() => s.datapath[step](s.a))
    assert.deepEqual(s.datapath.pods(), [s.a.cookie])
    assert.deepEqual({ ...inspect({ ...s.a, ips: [s.a.ip4] }), listeners: [] }, { ...none, listeners: [] }, 'other addresses')
  })

  row('pin-survive', async () => {
    s.datapath[Symbol.dispose]()
    assert.match(await s.app.do('call', { ip: s.b.ip4, port: 8080 }), new RegExp(`^zt 15001 .*orig=${s.b.ip4}:8080`))
    s.datapath = s.lab.datapath()
    assert.deepEqual(inspect(), { inbound: true, outbound: true, guard: true, listeners: [15001, 15006, 15008] })
  })

  row('pin-adopt', async () => {
    const links = readdirSync(s.lab.bpffs).sort()
    const out = s.app.do('calls', { ip: s.b.ip4, port: 8080, count: 800 })
    const inbound = s.other.do('calls', { ip: s.a.ip4, port: 8080, count: 800 })
    for (let n = 0; n < 5; n++) {
      reopen(s)
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    assert.deepEqual(await out, { zt: 800 })
    assert.deepEqual(await inbound, { zt: 800 })
    assert.deepEqual(readdirSync(s.lab.bpffs).sort(), links)
  })

  row('pin-second-pod', async () => {
    const second = await proxyIn(s, s.b, 'ztb')
    enrol(s, s.b)
    assert.match(await s.other.do('call', { ip: s.a.ip4, port: 8080 }), new RegExp(`^ztb 15001 .*orig=${s.a.ip4}:8080`))
    assert.match(await s.app.do('call', { ip: s.b.ip4, port: 8080 }), new RegExp(`^zt 15001 .*orig=${s.b.ip4}:8080`))
    assert.match(await s.proxyClient.do('call', { ip: s.b.ip4, port: 8080 }), new RegExp(`^ztb 15006 local=${s.b.ip4}:8080`))
    assert.deepEqual([...s.datapath.pods()].sort(), [s.a.cookie, s.b.cookie].sort())
    s.lab.inNode(() => s.datapath.forget(s.b))
    await second.stop()
    assert.match(await s.other.do('call', { ip: s.a.ip4, port: 8080 }), /^zt 15006 /)
  })

  row('pin-broken', async () => {
    detachPinned(pins.steer(s.lab.bpffs, s.a.cookie))
    assert.equal(inspect().inbound, false)
    s.lab.inNode(() => s.datapath.steerInbound(s.a))
    assert.equal(inspect().inbound, true)
    detachPinned(pins.guard(s.lab.bpffs, s.a.hostIfindex))
    assert.equal(inspect().guard, false)
    s.lab.inNode(() => s.datapath.guardOn(s.a))
    assert.equal(inspect().guard, true)
    detachPinned(pins.cgroupLink(s.lab.bpffs, 'connect4'))
    assert.equal(inspect().outbound, false)
    reopen(s)
    assert.equal(inspect().outbound, true)
    assert.match(await s.app.do('call', { ip: s.b.ip4, port: 8080 }), /^zt 15001 /)
  })

  row('pin-dead-namespace', async () => {
    const c = s.lab.pod('c')
    for (const step of ['steerInbound', 'captureOutbound', 'guardOn'] as const) s.lab.inNode(() => s.datapath[step](c))
    const heir = { ...s.b, ips: [c.ip4] }
    s.lab.deleteNamespace(c)
    await s.lab.closeNamespace(c)
    assert.ok(s.datapath.pods().includes(c.cookie))
    s.lab.inNode(() => s.datapath.steerInbound(heir)) // takes the address over before the dead pod is forgotten
    s.lab.inNode(() => s.datapath.forget(c))
    assert.deepEqual([...s.datapath.pods()].sort(), [s.a.cookie, s.b.cookie].sort())
    assert.ok(!existsSync(pins.steer(s.lab.bpffs, c.cookie)) && !existsSync(pins.guard(s.lab.bpffs, c.hostIfindex)))
    assert.equal(
      s.lab.inNode(() => s.datapath.inspect(heir).inbound),
      true,
    )
    s.lab.inNode(() => s.datapath.forget(heir))
    assert.deepEqual(s.datapath.pods(), [s.a.cookie])
    reopen(s)
  })

  it('refuses a directory that is not on a bpffs, and a third address', () => {
    assert.throws(() => s.lab.datapath({ bpffsDir: '/tmp' }), { code: 'NOT_BPFFS' })
    assert.throws(() => s.lab.inNode(() => s.datapath.steerInbound({ ...s.a, ips: [s.a.ip4, s.b.ip4] })), { code: 'TOO_MANY_ADDRESSES' })
    assert.throws(() => s.lab.inNode(() => s.datapath.guardOn({ ...s.a, hostIfindex: 0 })), { code: 'NO_HOST_DEVICE' })
  })

  row('pin-release', async () => {
    s.datapath[Symbol.dispose]()
    await proxy.stop()
    using _held = hold(
      readdirSync(s.lab.bpffs)
        .filter((name) => !name.startsWith('map_'))
        .map((name) => join(s.lab.bpffs, name)),
    )
    const { removed } = releaseNode(s.lab.bpffs)
    assert.match(removed[0] ?? '', /^guard_/)
    assert.equal(removed[1], 'link_connect4')
    assert.match(removed.at(-1) ?? '', /^map_/)
    assert.equal(existsSync(s.lab.bpffs), false)
    assert.match(await s.app.do('call', { ip: s.b.ip4, port: 8080 }), /^appB 8080 /)
    assert.match(await s.other.do('call', { ip: s.a.ip4, port: 8080 }), /^appA 8080 /)
    const outside = await s.lab.peer(s.a.path, undefined)
    assert.match(await outside.do('call', { ip: s.b.ip4, port: 8080 }), /^appB 8080 /)
    assert.deepEqual(releaseNode(s.lab.bpffs), { removed: [] })
    s.datapath = s.lab.datapath()
  })
})

/** Keeps links alive, as the kernel itself does for a while after their pins are gone: what is taken off must be off nevertheless. */
function hold(paths: readonly string[]): Disposable {
  const fds = paths.map(openPin)
  return {
    [Symbol.dispose]() {
      for (const fd of fds) closeSync(fd)
    },
  }
}
