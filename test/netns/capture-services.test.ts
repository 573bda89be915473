// docs/capture.md, services: virtual addresses for pods that are not enrolled, for the node, and for UDP.
import assert from 'node:assert/strict'
import type { VipService } from '../../bpf/services.ts'
import type { Endpoint, IpAddress } from '../../model/address.ts'
import { row } from '../support/capture-rows.ts'
import type { Scenario } from '../support/capture-scenario.ts'
import { end, enrol, proxyIn, reopen, scenario } from '../support/capture-scenario.ts'

const VIP4 = '10.96.0.10' as IpAddress
const VIP6 = 'fd00:10:96::10' as IpAddress
const OTHER4 = '10.96.0.11' as IpAddress

describe('capture, services', () => {
  let s: Scenario
  const at = (ip: IpAddress, port: number): Endpoint => ({ ip, port })
  const base = (): VipService[] => [
    { vip: VIP4, port: 80, protocol: 'TCP', backends: [at(s.b.ip4, 8080)] },
    { vip: VIP6, port: 80, protocol: 'TCP', backends: [at(s.b.ip6, 8080), at(s.b.ip4, 8080)] },
    { vip: VIP4, port: 53, protocol: 'UDP', backends: [at(s.b.ip4, 9053)] },
    { vip: VIP6, port: 53, protocol: 'UDP', backends: [at(s.b.ip6, 9053)] },
    { vip: OTHER4, port: 53, protocol: 'UDP', backends: [at(s.b.ip4, 9054)] },
    { vip: OTHER4, port: 81, protocol: 'TCP', backends: [] },
    { vip: OTHER4, port: 81, protocol: 'UDP', backends: [] },
  ]
  const set = (...more: VipService[]): void => s.datapath.setServices([...base(), ...more])

  before(async () => {
    s = await scenario(`wbv${process.pid}`)
    await s.otherServer.do('answer', { name: 'first', ip: s.b.ip4, port: 9053 })
    await s.otherServer.do('answer', { name: 'first', ip: s.b.ip6, port: 9053 })
    await s.otherServer.do('answer', { name: 'second', ip: s.b.ip4, port: 9054 })
    set()
  })
  after(() => end(s))

  row('vip-tcp', async () => {
    for (const [ip, vip, backend] of [
      [VIP4, VIP4, s.b.ip4],
      [VIP6, `\\[${VIP6}\\]`, `\\[${s.b.ip6}\\]`],
      [`::ffff:${VIP4}`, VIP4, s.b.ip4],
    ] as const)
      assert.match(await s.app.do('call', { ip, port: 80 }), new RegExp(`^appB 8080 local=${backend}:8080 .*peername=${vip}:80$`))
  })

  row('vip-udp-connected', async () => {
    for (const [ip, vip] of [
      [VIP4, VIP4],
      [VIP6, `\\[${VIP6}\\]`],
      [`::ffff:${VIP4}`, VIP4],
    ] as const)
      assert.match(await s.app.do('ask', { ip, port: 53, isConnected: true }), new RegExp(`^first q from=${vip}:53 peername=${vip}:53$`))
  })

  row('vip-udp-unconnected', async () => {
    assert.equal(
      await s.app.do('ask', { ip: VIP4, port: 53, isConnected: false, also: at(OTHER4, 53) }),
      `first q from=${VIP4}:53; second q from=${OTHER4}:53`,
    )
    assert.equal(await s.app.do('ask', { ip: `::ffff:${VIP4}`, port: 53, isConnected: false }), `first q from=${VIP4}:53`)
  })

  row('vip-mptcp', async () => {
    assert.match(await s.app.do('call', { ip: VIP4, port: 80, isMptcp: true }), new RegExp(`^appB 8080 .*peername=${VIP4}:80$`))
  })

  row('vip-spread', async () => {
    await s.otherServer.do('listen', { name: 'second', ports: [8081] })
    set({ vip: OTHER4, port: 80, protocol: 'TCP', backends: [at(s.b.ip4, 8080), at(s.b.ip4, 8081)] })
    const got = await s.app.do('calls', { ip: OTHER4, port: 80, count: 60 })
    assert.ok((got.appB ?? 0) > 10 && (got.second ?? 0) > 10, JSON.stringify(got))
  })

  row('vip-sticky', async () => {
    set({ vip: VIP4, port: 5000, protocol: 'UDP', backends: [at(s.b.ip4, 9053), at(s.b.ip4, 9054)] })
    const pairs = new Set<string>()
    for (let n = 0; n < 20; n++) pairs.add(await s.app.do('ask', { ip: VIP4, port: 5000, isConnected: false, also: at(VIP4, 5000) }))
    const from = `from=${VIP4}:5000`
    assert.deepEqual([...pairs].sort(), [`first q ${from}; first q ${from}`, `second q ${from}; second q ${from}`])
  })

  row('vip-none', async () => {
    assert.equal(await s.app.do('call', { ip: OTHER4, port: 81 }), 'error ECONNREFUSED')
    assert.equal(await s.app.do('ask', { ip: OTHER4, port: 81, isConnected: true }), 'error ECONNREFUSED')
    assert.equal(await s.app.do('ask', { ip: OTHER4, port: 81, isConnected: false }), 'error ECONNREFUSED')
    assert.equal(s.datapath.stats().no_backend, 3n)
  })

  row('vip-node', async () => {
    const node = await s.lab.peer(s.lab.nodePath, 'kubelet')
    assert.match(await node.do('call', { ip: VIP4, port: 80 }), new RegExp(`^appB 8080 .*peer=${s.lab.ip4}.*peername=${VIP4}:80$`))
    await node.stop()
  })

  row('vip-change', async () => {
    const backends = [at(s.b.ip4, 8080), at(s.b.ip4, 8081)]
    set({ vip: OTHER4, port: 82, protocol: 'TCP', backends })
    const calls = s.app.do('calls', { ip: OTHER4, port: 82, count: 1500 })
    for (let n = 0; n < 200; n++) {
      set({ vip: OTHER4, port: 82, protocol: 'TCP', backends: n % 2 === 0 ? backends.slice(1) : backends })
      if (n % 20 === 0) await new Promise((resolve) => setTimeout(resolve, 5))
    }
    const got = await calls
    assert.deepEqual(Object.keys(got).sort(), ['appB', 'second'])
    assert.equal((got.appB ?? 0) + (got.second ?? 0), 1500)
  })

  it('writes only what changed, and a new process adopts the table', async () => {
    set()
    const before = s.datapath.stats()
    assert.equal(before.services_entries, 7n)
    assert.equal(before.backends_entries, 5n) // the IPv4 backend of an IPv6 address does not count
    reopen(s)
    assert.match(await s.app.do('call', { ip: VIP4, port: 80 }), /^appB 8080 /)
    s.datapath.setServices(base().slice(1))
    const after = s.datapath.stats()
    assert.equal(after.services_entries, 6n)
    assert.equal(after.backends_entries, 4n)
  })

  it('says when the table is full, and keeps what fits', () => {
    const backends = [...Array(65_000).keys()].map((n) => at(s.b.ip4, n + 1))
    const rows = ['10.96.1.1', '10.96.1.2'].map((vip) => ({ vip: vip as IpAddress, port: 1, protocol: 'TCP' as const, backends }))
    assert.throws(() => set(...rows), { code: 'MAP_FULL' })
    set()
    assert.equal(s.datapath.stats().backends_entries, 5n)
  })

  row('vip-gone', async () => {
    s.datapath.setServices(base().slice(1))
    assert.match(await s.app.do('call', { ip: VIP4, port: 80 }), /^error /)
    set()
  })

  row('vip-enrolled-udp', async () => {
    await proxyIn(s, s.a, 'zt')
    enrol(s, s.a)
    set({ vip: VIP4, port: 5000, protocol: 'UDP', backends: [at(s.b.ip4, 9053)] })
    for (const isConnected of [true, false])
      assert.match(await s.app.do('ask', { ip: VIP4, port: 5000, isConnected }), new RegExp(`^first q from=${VIP4}:5000`))
    assert.match(await s.app.do('call', { ip: VIP4, port: 80 }), new RegExp(`^zt 15001 .*orig=${VIP4}:80`))
  })
})
