// The tap sees what is on a wire: two namespaces joined by a bridge in a third, plain and TLS connections between them.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import dgram from 'node:dgram'
import { once } from 'node:events'
import net from 'node:net'
import tls from 'node:tls'
import { type Netns, openNetns } from '../../linux/netns.ts'
import { tcpConnect, tcpListen, udpBind } from '../../linux/socket.ts'
import type { IpAddress } from '../../model/address.ts'
import { selfSigned } from '../support/self-signed.ts'
import { describeFlow, Tap } from '../../tap/tap.ts'

const name = (what: string): string => `tap${what}-${process.pid}`
const run = (command: string): string => execFileSync('sh', ['-ec', command], { encoding: 'utf8' })
const ip = (text: string): IpAddress => text as IpAddress
const A = ['10.9.0.1', 'fd09::1'] as const
const B = ['10.9.0.2', 'fd09::2'] as const
const ALL = [...A, ...B]
/** Long enough for a packet to cross two veths and its effect to come back. */
const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 50))

describe('tap', () => {
  let a: Netns
  let b: Netns
  let wire: Netns

  before(() => {
    for (const each of ['a', 'b', 'w']) run(`ip netns add ${name(each)}; ip -n ${name(each)} link set lo up`)
    run(`ip -n ${name('w')} link add br0 type bridge; ip -n ${name('w')} link set br0 up`)
    for (const [each, ips] of [['a', A] as const, ['b', B] as const]) {
      run(`ip -n ${name('w')} link add ${each}0 type veth peer name eth0 netns ${name(each)}
        ip -n ${name('w')} link set ${each}0 master br0 up; ip -n ${name(each)} link set eth0 up
        ip -n ${name(each)} addr add ${ips[0]}/24 dev eth0; ip -n ${name(each)} addr add ${ips[1]}/64 dev eth0 nodad`)
    }
    ;[a, b, wire] = ['a', 'b', 'w'].map((each) => openNetns(`/run/netns/${name(each)}`)) as [Netns, Netns, Netns]
  })
  after(() => {
    for (const each of [a, b, wire]) each[Symbol.dispose]()
    for (const each of ['a', 'b', 'w']) run(`ip netns del ${name(each)}`)
  })

  const serve = (server: net.Server, at: string, port: number): net.Server =>
    server.listen({ fd: tcpListen({ netnsFd: b.fd, ip: ip(at), port }) })
  const dial = (to: string, port: number): net.Socket => new net.Socket({ fd: tcpConnect({ netnsFd: a.fd, to: { ip: ip(to), port } }) })
  const echo = (): net.Server => net.createServer((socket) => socket.on('error', () => socket.destroy()).pipe(socket))
  /** Sends pieces one by one, each after the echo of the one before, and closes. */
  const exchange = async (socket: net.Socket, pieces: readonly string[]): Promise<void> => {
    for (const piece of pieces) {
      socket.write(piece)
      await once(socket, 'data')
    }
    socket.end()
    await once(socket, 'close')
  }

  for (const [where, device] of [
    ['the bridge', 'br0'],
    ['a veth', 'b0'],
  ] as const) {
    it(`reads plaintext on ${where}, v4 and v6, also a text that two segments share`, async () => {
      await using tap = await Tap.open({ netnsFd: wire.fd, device, markers: ['open sesame', 'never said'] })
      for (const at of B) {
        const server = serve(echo(), at, 8080)
        await exchange(dial(at, 8080), ['say open sesame', 'open ses', 'ame'])
        server.close()
      }
      assert.equal(await tap.seen('open sesame'), 8, 'twice per direction and family')
      assert.equal(await tap.seen('never said'), 0)
      await assert.rejects(tap.seen('not watched'), /not watched/)
      const flows = await tap.tcpBetween(ALL)
      assert.deepEqual(
        flows.map((flow) => [
          flow.client,
          flow.server,
          flow.serverPort,
          flow.syns,
          flow.fins,
          flow.bytesToServer,
          flow.bytesToClient,
          flow.payload,
        ]),
        [0, 1].map((family) => [A[family], B[family], 8080, 1, 2, 26, 26, 'plain']),
        flows.map(describeFlow).join('\n'),
      )
      assert.equal(Buffer.from(flows[0]?.firstToServer ?? []).toString(), 'say open sesameopen sesame')
      assert.deepEqual(
        (await tap.meshFaults(ALL)).map((fault) => fault.reason),
        ['not to port 15008', 'not to port 15008'],
      )
      await tap.clear()
      assert.equal(await tap.seen('open sesame'), 0)
    })
  }

  it('cannot read TLS, and knows it as TLS', async () => {
    const { certPem, keyPem } = await selfSigned('b')
    const server = tls.createServer({ cert: certPem, key: keyPem }, (socket) => socket.pipe(socket))
    await using tap = await Tap.open({ netnsFd: wire.fd, device: 'br0', markers: ['open sesame'] })
    serve(server, B[0], 15008)
    const socket = tls.connect({ socket: dial(B[0], 15008), rejectUnauthorized: false })
    await exchange(socket, ['open sesame', 'x'.repeat(40_000)])
    server.close()
    assert.equal(await tap.seen('open sesame'), 0)
    assert.deepEqual(await tap.meshFaults(ALL), [])
    const [flow] = await tap.tcpBetween(ALL)
    assert.equal(flow?.payload, 'tls')
    assert.ok((flow?.bytesToServer ?? 0) > 40_000)
  })

  it('tells plaintext on port 15008, a refused SYN, a reset, and a connection older than the tap', async () => {
    const server = serve(echo(), B[0], 15008)
    const old = dial(B[0], 15008)
    old.write('old')
    await once(old, 'data')
    await using tap = await Tap.open({ netnsFd: wire.fd, device: 'a0' })
    old.write('\x17\x03\x03\x00\x01x')
    await once(old, 'data')
    await exchange(dial(B[0], 15008), ['\x16\x03\x01\x00\x01x', 'not a record'])
    await once(dial(B[0], 9999).resume(), 'close').catch(() => undefined)
    const cut = dial(B[0], 15008)
    await pause()
    cut.resetAndDestroy()
    await pause()
    const faults = await tap.meshFaults(ALL)
    assert.deepEqual(
      faults.map((fault) => [fault.reason, fault.flow.syns, fault.flow.resets]),
      [
        ['begun before the tap', 0, 0],
        ['payload is not TLS', 1, 0],
        ['not to port 15008', 1, 1],
      ],
      faults.map((fault) => describeFlow(fault.flow)).join('\n'),
    )
    assert.equal((await tap.tcpBetween(ALL)).at(-1)?.resets, 1)
    old.destroy()
    server.close()
  })

  it('sees datagrams, and taps of one worker see their own link only', async () => {
    await using ofA = await Tap.open({ netnsFd: wire.fd, device: 'a0', markers: ['ping of death'] })
    await using ofLoopback = await Tap.open({ netnsFd: a.fd, device: 'lo', markers: ['ping of death'] })
    const fd = udpBind({ netnsFd: a.fd, ip: ip(A[0]), port: 5300 })
    const socket = dgram.createSocket('udp4')
    socket.bind({ fd }, () => socket.send('ping of death', 53, B[0]))
    await pause()
    assert.equal(await ofA.seen('ping of death'), 1)
    assert.equal(await ofLoopback.seen('ping of death'), 0)
    socket.close()
  })

  it('says so when there is no such device, and opens again after its last tap closed', async () => {
    await assert.rejects(Tap.open({ device: 'nothere0' }), /no device nothere0/)
    await using tap = await Tap.open({ netnsFd: a.fd, device: 'lo' })
    assert.equal((await tap.read()).lost, 0)
  })
})
