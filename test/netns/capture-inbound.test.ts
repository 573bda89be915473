// docs/capture.md, inbound: who gets what arrives at an enrolled pod. The controls change the programs to see it fail.
import assert from 'node:assert/strict'
import net from 'node:net'
import { join } from 'node:path'
import { cgroupId } from '../../linux/cgroup.ts'
import { tcpConnect } from '../../linux/socket.ts'
import { keepSourceRouting, SOURCE_MARK } from '../../linux/source-routing.ts'
import { row } from '../support/capture-rows.ts'
import type { Scenario } from '../support/capture-scenario.ts'
import { end, enrol, fill, noVariants, PROXY_PORTS, proxyIn, reopen, scenario, settled, variant } from '../support/capture-scenario.ts'
import type { LabPeer } from '../support/netns-lab.ts'
import { skipTest } from '../support/skip.ts'

describe('capture, inbound', () => {
  let s: Scenario
  let proxy: LabPeer
  let a4 = ''
  let a6 = ''
  const control = (title: string, run: () => Promise<void>): void => {
    it(`control: ${title}`, async function () {
      const reason = noVariants()
      if (reason !== undefined) skipTest(this, reason)
      await run()
    })
  }

  before(async () => {
    s = await scenario(`wbi${process.pid}`)
    ;({ ip4: a4, ip6: a6 } = s.a)
  })
  after(() => end(s))

  row('in-open', async () => {
    const quiet = await s.lab.peer(s.a.path, 'pods/a')
    await quiet.do('echo', { port: 7000 })
    const fd = tcpConnect({ netnsFd: s.b.netnsFd, to: { ip: s.a.ip4, port: 7000 } })
    const socket = new net.Socket({ fd }).setEncoding('utf8')
    const next = (): Promise<string> => new Promise((resolve) => socket.once('data', (text) => resolve(String(text))))
    socket.write('before')
    assert.equal(await next(), 'before')
    proxy = await proxyIn(s, s.a, 'zt1')
    enrol(s, s.a)
    s.lab.inNode(() => s.datapath.guardOn(s.a))
    socket.write('after')
    assert.equal(await next(), 'after')
    socket.destroy()
    await quiet.stop()
    s.lab.inNode(() => s.datapath.guardOff(s.a))
  })

  row('in-tcp4', async () => {
    assert.match(
      await s.other.do('call', { ip: a4, port: 8080 }),
      new RegExp(`^zt1 15006 local=${a4}:8080 peer=${s.b.ip4}:\\d+ .*peername=${a4}:8080$`),
    )
  })

  row('in-tcp6', async () => {
    assert.match(await s.other.do('call', { ip: a6, port: 8080 }), new RegExp(`^zt1 15006 local=\\[${a6}\\]:8080 peer=\\[${s.b.ip6}\\]`))
  })

  row('in-no-app', async () => {
    assert.match(await s.other.do('call', { ip: a4, port: 4242 }), new RegExp(`^zt1 15006 local=${a4}:4242`))
  })

  row('in-hbone', async () => {
    assert.match(await s.other.do('call', { ip: a4, port: 15008 }), /^zt1 15008 /)
    assert.match(await s.other.do('call', { ip: a6, port: 15008 }), /^zt1 15008 /)
  })

  row('in-reserved', async () => {
    for (const port of [15001, 15053]) for (const ip of [a4, a6]) assert.equal(await s.other.do('call', { ip, port }), 'error ECONNREFUSED')
  })

  row('in-udp', async () => {
    await s.appServer.do('answer', { name: 'udpA', ip: a4, port: 9000 })
    assert.equal(await s.other.do('ask', { ip: a4, port: 9000, isConnected: false }), `udpA q from=${a4}:9000`)
  })

  row('in-node', async () => {
    const node = await s.lab.peer(s.lab.nodePath, 'pods')
    assert.match(await node.do('call', { ip: a4, port: 8080 }), new RegExp(`^zt1 15006 local=${a4}:8080 peer=${s.lab.ip4}`))
    await node.stop()
  })

  row('in-probe', async () => {
    const kubelet = await s.lab.peer(s.lab.nodePath, 'kubelet')
    assert.match(await kubelet.do('call', { ip: a4, port: 8080 }), new RegExp(`^appA 8080 local=${a4}:8080 peer=${s.lab.ip4}`))
    assert.match(await kubelet.do('call', { ip: a6, port: 8080 }), /^appA 8080 /)
    assert.match(await kubelet.do('call', { ip: `::ffff:${a4}`, port: 8080 }), /^appA 8080 /)
    assert.match(await kubelet.do('call', { ip: s.b.ip4, port: 8080 }), /^appB 8080 /)
    s.datapath.removeProbeCgroup(cgroupId(join(s.lab.cgroup, 'kubelet')))
    assert.match(await kubelet.do('call', { ip: a4, port: 8080 }), /^zt1 15006 /)
    await kubelet.stop()
    const stats = s.datapath.stats()
    assert.equal(stats.probes, 3n)
    await settled(s)
  })

  describe('with the client’s address kept', () => {
    const kept = (four: boolean): Promise<string> =>
      s.proxyClient.do('call', { ip: four ? a4 : a6, port: 8080, mark: SOURCE_MARK, bind: four ? s.b.ip4 : s.b.ip6, isTransparent: true })

    before(() => keepSourceRouting(s.a.netnsFd))

    row('in-kept-source', async () => {
      assert.match(await kept(true), new RegExp(`^appA 8080 local=${a4}:8080 peer=${s.b.ip4}:`))
      assert.match(await kept(false), new RegExp(`^appA 8080 local=\\[${a6}\\]:8080 peer=\\[${s.b.ip6}\\]:`))
      assert.match(await s.proxyClient.do('call', { ip: a4, port: 8080 }), new RegExp(`^appA 8080 .*peer=${a4}`))
      await settled(s)
    })

    it('in-kept-source, by linux/socket.ts and the registry', async () => {
      const directory = s.lab.bpffs
      const text = await s.proxyClient.do('keptSource', { netns: s.a.path, ip: a4, port: 8080, from: s.b.ip4, directory })
      assert.match(text, new RegExp(`^appA 8080 local=${a4}:8080 peer=${s.b.ip4}:`))
    })

    row('in-kept-source-full', async () => {
      using _full = fill(s, 'permitted')
      assert.match(await kept(true), new RegExp(`^zt1 15006 local=${a4}:8080 peer=${s.b.ip4}:`))
      assert.equal(s.datapath.stats().permitted_full, 1n)
    })

    control('without the bypass map the proxy’s connect comes back to it', async () => {
      const changed = variant('steer', (text) => text.replace('self || bpf_map_lookup_elem(&permitted, &t)', 'self'))
      reopen(s, { objectPath: changed.path })
      assert.match(await kept(true), new RegExp(`^zt1 15006 local=${a4}:8080 peer=${s.b.ip4}:`))
      reopen(s)
      changed.done()
      assert.match(await kept(true), /^appA 8080 /)
    })
  })

  describe('with several listeners', () => {
    let thief: LabPeer
    let second: LabPeer
    const tally = (count: number): Promise<Record<string, number>> => s.other.do('calls', { ip: a4, port: 8080, count })

    before(async () => {
      thief = await s.lab.peer(s.a.path, 'pods/a')
      await thief.do('listen', { name: 'thief', ports: [15006, 15008] })
    })

    control('by the kernel’s choice in the SO_REUSEPORT group an app of the same uid would get some; the seal drops them', async () => {
      const changed = variant('steer', (text) => text.replace('BPF_SK_LOOKUP_F_NO_REUSEPORT)', '0)'))
      reopen(s, { objectPath: changed.path })
      const got: Record<string, number> = {}
      for (
        let n = 0;
        n < 40 && (got.error ?? 0) < 2;
        n++ // one that is dropped waits for 2 s
      )
        for (const name of Object.keys(await tally(1))) got[name] = (got[name] ?? 0) + 1
      reopen(s)
      changed.done()
      assert.ok((got.error ?? 0) > 0 && got.thief === undefined, JSON.stringify(got))
    })

    row('in-thief', async () => {
      assert.deepEqual(await tally(40), { zt1: 40 })
      assert.match(await s.other.do('call', { ip: a4, port: 15008 }), /^zt1 15008 /)
    })

    row('in-two-proxies', async () => {
      second = await proxyIn(s, s.a, 'zt2')
      const got = await tally(60)
      assert.equal((got.zt1 ?? 0) + (got.zt2 ?? 0), 60)
      assert.ok((got.zt1 ?? 0) > 8 && (got.zt2 ?? 0) > 8, JSON.stringify(got))
    })

    row('in-one-dies', async () => {
      await proxy.stop()
      assert.deepEqual(await tally(20), { zt2: 20 })
      proxy = await proxyIn(s, s.a, 'zt1')
      await second.stop()
      assert.deepEqual(await tally(20), { zt1: 20 }) // in the slot that was freed
    })

    row('in-proxy-dead', async () => {
      await proxy.stop()
      for (const [ip, port] of [
        [a4, 8080],
        [a4, 15006],
        [a6, 15008],
        [a6, 4242],
      ] as const)
        assert.equal(await s.other.do('call', { ip, port }), 'error ECONNREFUSED')
      assert.deepEqual(
        s.lab.inNode(() => s.datapath.inspect(s.a).listeners),
        [],
      )
    })

    control('with one entry per port the survivors are lost when its listener dies', async () => {
      await thief.stop()
      const oneSlot = (text: string): string => text.replace('SLOTS = 16', 'SLOTS = 1')
      const changed = variant('events', (text) => text.replace('BPF_NOEXIST', 'BPF_ANY'), oneSlot)
      reopen(s, { objectPath: changed.path })
      proxy = await proxyIn(s, s.a, 'zt1')
      const last = await proxyIn(s, s.a, 'zt2', [15006])
      await last.stop()
      assert.equal(await s.other.do('call', { ip: a4, port: 8080 }), 'error ECONNREFUSED')
      reopen(s)
      changed.done()
      await proxy.stop()
    })
  })

  describe('with other kinds of listeners', () => {
    row('in-dual-stack', async () => {
      proxy = await s.lab.peer(s.a.path, 'ztunnel')
      await proxy.do('listen', { name: 'dual', ports: PROXY_PORTS, families: [46] })
      for (const ip of [a4, a6]) assert.match(await s.other.do('call', { ip, port: 8080 }), /^dual 15006 /)
      assert.match(await s.app.do('call', { ip: s.b.ip4, port: 8080 }), new RegExp(`^dual 15001 .*orig=${s.b.ip4}:8080`))
      await proxy.stop()
    })

    row('in-registered', async () => {
      const late = await s.lab.peer(s.a.path, 'pods/a') // not known as the proxy: listen() does not register
      await late.do('listen', { name: 'late', ports: [15006], families: [4] })
      assert.equal(await s.other.do('call', { ip: a4, port: 8080 }), 'error ECONNREFUSED')
      await late.do('listenRegistered', { name: 'late', port: 15008, directory: s.lab.bpffs, cookie: String(s.a.cookie) })
      assert.match(await s.other.do('call', { ip: a4, port: 15008 }), /^late 15008 /)
      assert.deepEqual(
        s.lab.inNode(() => s.datapath.inspect(s.a).listeners),
        [15008],
      )
    })
  })
})
