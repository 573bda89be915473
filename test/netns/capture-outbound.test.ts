// docs/capture.md, outbound: what an app of an enrolled pod dials, and what it and the proxy see.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { inNetns } from '../../linux/netns.ts'
import { row } from '../support/capture-rows.ts'
import type { Scenario } from '../support/capture-scenario.ts'
import { end, enrol, fill, proxyIn, scenario, settled } from '../support/capture-scenario.ts'
import type { LabPeer } from '../support/netns-lab.ts'

describe('capture, outbound', () => {
  let s: Scenario
  let proxy: LabPeer
  let b4 = ''
  let b6 = ''

  before(async () => {
    s = await scenario(`wbo${process.pid}`)
    ;({ ip4: b4, ip6: b6 } = s.b)
  })
  after(() => end(s))

  row('out-not-enrolled', async () => {
    assert.match(await s.app.do('call', { ip: b4, port: 8080 }), new RegExp(`^appB 8080 local=${b4}:8080 peer=${s.a.ip4}`))
    proxy = await proxyIn(s, s.a, 'zt')
    enrol(s, s.a)
  })

  row('out-tcp4', async () => {
    const text = await s.app.do('call', { ip: b4, port: 8080 })
    assert.match(text, new RegExp(`^zt 15001 local=${s.a.ip4}:15001 peer=${s.a.ip4}:\\d+ orig=${b4}:8080 `))
    assert.match(text, new RegExp(`name=${s.a.ip4}:\\d+ peername=${b4}:8080$`))
  })

  row('out-tcp6', async () => {
    const text = await s.app.do('call', { ip: b6, port: 8080 })
    assert.match(text, new RegExp(`^zt 15001 .*orig=\\[${b6}\\]:8080 .*name=\\[${s.a.ip6}\\]:\\d+ peername=\\[${b6}\\]:8080$`))
  })

  row('out-mapped', async () => {
    const text = await s.app.do('call', { ip: `::ffff:${b4}`, port: 8080 })
    assert.match(text, new RegExp(`^zt 15001 .*orig=${b4}:8080 .*name=${s.a.ip4}:\\d+ peername=${b4}:8080$`))
  })

  row('out-vip', async () => {
    assert.match(await s.app.do('call', { ip: '192.0.2.9', port: 80 }), /orig=192\.0\.2\.9:80 .*peername=192\.0\.2\.9:80$/)
  })

  row('out-dns', async () => {
    assert.match(await s.app.do('call', { ip: b4, port: 53 }), new RegExp(`^zt 15053 .*orig=${b4}:53 .*peername=${b4}:53$`))
    assert.match(await s.app.do('call', { ip: b6, port: 53 }), /^zt 15053 /)
  })

  row('out-mptcp', async () => {
    const text = await s.app.do('call', { ip: b4, port: 8080, isMptcp: true })
    assert.match(text, new RegExp(`^zt 15001 .*orig=${b4}:8080 .*peername=${b4}:8080$`))
  })

  row('out-fastopen', async () => {
    inNetns(s.a.netnsFd, () => execFileSync('sysctl', ['-qw', 'net.ipv4.tcp_fastopen=3']))
    for (let n = 0; n < 2; n++) {
      const text = await s.app.do('call', { ip: b4, port: 8080, isFastOpen: true })
      assert.match(text, new RegExp(`^zt 15001 .*orig=${b4}:8080 .*peername=${b4}:8080$`))
    }
  })

  row('out-nonblocking', async () => {
    assert.match(await s.app.do('call', { ip: b4, port: 8080, isNonBlocking: true }), new RegExp(`^zt 15001 .*orig=${b4}:8080`))
  })

  row('out-bound', async () => {
    const four = await s.app.do('call', { ip: b4, port: 8080, bind: s.a.ip4, bindPort: 5555 })
    assert.match(four, new RegExp(`^zt 15001 .*peer=${s.a.ip4}:5555 orig=${b4}:8080 .*name=${s.a.ip4}:5555`))
    const six = await s.app.do('call', { ip: b6, port: 8080, bind: s.a.ip6, bindPort: 5555 })
    assert.match(six, new RegExp(`^zt 15001 .*orig=\\[${b6}\\]:8080`))
  })

  row('out-exec', async () => {
    const later = await s.lab.peer(s.a.path, 'pods/a')
    assert.match(await later.do('call', { ip: b4, port: 8080 }), new RegExp(`^zt 15001 .*orig=${b4}:8080`))
    await later.stop()
  })

  row('out-mark', async () => {
    assert.match(await s.app.do('call', { ip: b4, port: 8080, mark: 0x539 }), /^zt 15001/)
  })

  row('out-many', async () => {
    assert.equal(await s.app.do('storm', { ip: b4, count: 1000 }), 1000)
  })

  row('out-own', async () => {
    for (const ip of [s.a.ip4, s.a.ip6, `::ffff:${s.a.ip4}`]) assert.match(await s.app.do('call', { ip, port: 8080 }), /^appA 8080 /)
  })

  row('out-loopback', async () => {
    for (const ip of ['127.0.0.1', '127.9.9.9', '::1', '0.0.0.0', '::'])
      assert.match(await s.app.do('call', { ip, port: 8080 }), /^appA 8080 /)
  })

  row('out-link-local', async () => {
    const addresses = ['169.254.7.7/32', 'fe80::77/64']
    const add = (verb: string): void => {
      for (const address of addresses)
        execFileSync('ip', [
          '-n',
          `${s.lab.name}-b`,
          'addr',
          verb,
          address,
          'dev',
          'eth0',
          ...(verb === 'add' && address.includes(':') ? ['nodad'] : []),
        ])
    }
    add('add')
    execFileSync('ip', ['-n', `${s.lab.name}-a`, 'route', 'add', '169.254.7.7/32', 'dev', 'eth0'])
    s.lab.inNode(() => s.datapath.guardOn(s.a))
    try {
      assert.match(
        await s.app.do('call', { ip: '169.254.7.7', port: 8080 }),
        new RegExp(`^appB 8080 local=169.254.7.7:8080 peer=${s.a.ip4}`),
      )
      assert.match(await s.app.do('call', { ip: 'fe80::77', port: 8080, scope: 'eth0' }), /^appB 8080 local=\[fe80::77\]:8080 /)
      await s.otherServer.do('answer', { name: 'metadata', ip: '169.254.7.7', port: 53 })
      assert.match(await s.app.do('ask', { ip: '169.254.7.7', port: 53, isConnected: true }), /^metadata q from=169\.254\.7\.7:53/)
    } finally {
      s.lab.inNode(() => s.datapath.guardOff(s.a))
      add('del')
    }
  })

  row('out-proxy-port', async () => {
    assert.match(await s.app.do('call', { ip: s.a.ip4, port: 15001 }), /^zt 15001 .*orig=none/)
  })

  row('out-no-address', async () => {
    s.lab.inNode(() => s.datapath.captureOutbound({ ...s.a, ips: [s.a.ip4] }))
    assert.equal(await s.app.do('call', { ip: b6, port: 8080 }), 'error ENETUNREACH')
    assert.match(await s.app.do('call', { ip: b4, port: 8080 }), /^zt 15001/)
    s.lab.inNode(() => s.datapath.captureOutbound(s.a))
    assert.equal(s.datapath.stats().no_address, 1n)
  })

  row('out-udp', async () => {
    await s.otherServer.do('answer', { name: 'udpB', ip: b4, port: 9000 })
    await s.otherServer.do('answer', { name: 'udpB', ip: b6, port: 9000 })
    for (const isConnected of [true, false])
      for (const ip of [b4, b6]) assert.match(await s.app.do('ask', { ip, port: 9000, isConnected }), /^udpB q /)
  })

  row('out-exempt-fd', async () => {
    const directory = s.lab.bpffs
    assert.match(await s.app.do('callExempt', { ip: b4, port: 8080, directory }), new RegExp(`^appB 8080 .*peer=${s.a.ip4}`))
    assert.match(await s.app.do('callExempt', { ip: b6, port: 8080, directory }), /^appB 8080 /)
    assert.match(await s.app.do('call', { ip: b4, port: 8080 }), /^zt 15001/)
  })

  row('out-exempt-cgroup', async () => {
    assert.match(await s.proxyClient.do('call', { ip: b4, port: 8080 }), new RegExp(`^appB 8080 .*peer=${s.a.ip4}`))
  })

  row('out-full', async () => {
    using _full = fill(s, 'dialled')
    const before = s.datapath.stats()
    assert.match(await s.app.do('call', { ip: b4, port: 8080 }), /^zt 15001 .*orig=none/)
    const after = s.datapath.stats()
    assert.equal(after.dialled_entries, after.dialled_size)
    assert.equal((after.dialled_full ?? 0n) - (before.dialled_full ?? 0n), 1n)
  })

  it('leaves nothing in the tuple maps once connections are closed', () => settled(s))

  row('out-proxy-dead', async () => {
    await proxy.stop()
    assert.equal(await s.app.do('call', { ip: b4, port: 8080 }), 'error ECONNREFUSED')
  })

  row('out-released', async () => {
    s.lab.inNode(() => {
      s.datapath.releaseOutbound(s.a)
      s.datapath.unsteerInbound(s.a)
    })
    assert.match(await s.app.do('call', { ip: b4, port: 8080 }), /^appB 8080 /)
    assert.deepEqual(s.datapath.pods(), [])
  })
})
