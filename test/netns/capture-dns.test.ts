// docs/capture.md, DNS over UDP.
import assert from 'node:assert/strict'
import { row } from '../support/capture-rows.ts'
import type { Scenario } from '../support/capture-scenario.ts'
import { end, enrol, proxyIn, scenario } from '../support/capture-scenario.ts'
import type { LabPeer } from '../support/netns-lab.ts'

describe('capture, DNS', () => {
  let s: Scenario
  let proxy: LabPeer
  const every = async (isConnected: boolean): Promise<void> => {
    for (const [ip, shown] of [
      [s.b.ip4, s.b.ip4],
      [s.b.ip6, `\\[${s.b.ip6}\\]`],
      [`::ffff:${s.b.ip4}`, s.b.ip4],
    ] as const)
      assert.match(
        await s.app.do('ask', { ip, port: 53, isConnected }),
        new RegExp(`^dns q from=${shown}:53${isConnected ? ` peername=${shown}:53` : ''}$`),
      )
  }

  before(async () => {
    s = await scenario(`wbd${process.pid}`)
    proxy = await proxyIn(s, s.a, 'zt')
    const registry = { directory: s.lab.bpffs, cookie: String(s.a.cookie) }
    for (const ip of s.a.ips) await proxy.do('answer', { name: 'dns', ip, port: 15053, registry })
    enrol(s, s.a)
  })
  after(() => end(s))

  it('is listed by inspect once both TCP and UDP are there', () => {
    assert.deepEqual(
      s.lab.inNode(() => s.datapath.inspect(s.a)),
      { inbound: true, outbound: true, guard: false, listeners: [15001, 15006, 15008, 15053] },
    )
  })

  row('dns-connected', () => every(true))
  row('dns-unconnected', () => every(false))

  row('dns-two-resolvers', async () => {
    const text = await s.app.do('ask', { ip: s.b.ip4, port: 53, isConnected: false, also: { ip: '192.0.2.53', port: 53 } })
    assert.match(text, /dns q from=192\.0\.2\.53:53$/)
    assert.equal(text.split('; ').length, 2)
  })

  row('dns-from-outside', async () => {
    for (const isConnected of [true, false])
      assert.match(await s.other.do('ask', { ip: s.a.ip4, port: 15053, isConnected }), /^error (ECONNREFUSED|EAGAIN)$/)
  })

  row('dns-proxy-dead', async () => {
    await proxy.stop()
    assert.equal(await s.app.do('ask', { ip: s.b.ip4, port: 53, isConnected: true }), 'error ECONNREFUSED')
  })
})
