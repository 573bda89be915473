// Floods of a peer that the mesh knows, against a pod's door: each is ended, while another client's requests pass through the
// same proxy without an error. Loads are small: the machine is shared, and what is shown is that the cost has a bound.
import assert from 'node:assert/strict'
import type net from 'node:net'
import { CLIENT_PREFACE, encodeFrame, FrameType as T } from '../../hbone/frame.ts'
import { idOf, type Credentials } from '../support/certificates.ts'
import { deployment, type TestMesh, type TestPod, testMesh } from '../support/mesh.ts'
import { dialTcp, dialTls, type Dial, get, logLines, meshCredentials, metric, nodeNetns, tryConnect } from '../support/mesh-view.ts'
import { headers, RawPeer, settings, word } from '../support/raw-h2.ts'
import { endLoad, IDLE, SEQ_HTTP_PORT, SEQ_PROBE, SEQ_SERVER, SEQ_TCP_PORT, startLoad } from '../support/seq-pods.ts'

const AMBIENT = { 'istio.io/dataplane-mode': 'ambient' }
const OBJECTS = [
  { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop', labels: AMBIENT } },
  { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'outside' } },
  deployment('shop', 'server', SEQ_SERVER, { pod: { nodeName: 'node-1' }, container: SEQ_PROBE }),
  deployment('shop', 'victim', IDLE, { pod: { nodeName: 'node-2' } }),
  deployment('outside', 'attacker', IDLE, { pod: { nodeName: 'node-2' } }),
]
const NONE = Buffer.alloc(0)
const repeat = (frame: Buffer, times: number): Buffer => Buffer.concat(Array.from({ length: times }, () => frame))
/** The begin of a ClientHello of 512 bytes. */
const CLIENT_HELLO = Buffer.concat([Buffer.from([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]), Buffer.alloc(500)])
const HANDSHAKE_MS = 1000
/** Preface and SETTINGS must have come by then (hbone/limits.ts). */
const PREFACE_MS = 10_000
/** An attack lasts at most so long; a connection that is still open then was not ended. */
const ATTACK_MS = 4000
/** Ended means GOAWAY or the end of the socket, seen by an attacker that shares two cores with everything else. */
const ENDED_WITHIN_MS = 1000
const MOST_STREAMS = 1000
/** The 500 streams that the reset rule permits take a thread 30-60 ms, three of the floods do it in a sample of 4 s, and two cores
 * are shared with everything else. (Before streams that are reset already went undialled it was 540 ms.) */
const ALLOWANCE_MS = 60
const PSS_ALLOWANCE_BYTES = 32 * 1024 * 1024

describe('floods', function () {
  this.timeout(90_000)
  let mesh: TestMesh
  let server: TestPod
  let victim: TestPod
  let door: Dial
  let good: Credentials

  before(async () => {
    mesh = await testMesh({ nodes: 2, objects: OBJECTS, componentArgs: { ztunnel: ['--handshake-timeout', `${HANDSHAKE_MS}ms`] } })
    server = await mesh.pod('shop/server')
    victim = await mesh.pod('shop/victim')
    const attacker = await mesh.pod('outside/attacker')
    door = { from: attacker.netnsPath, ip: server.ip }
    good = await meshCredentials(mesh, idOf('attacker'))
  })
  after(async () => {
    await mesh?.[Symbol.asyncDispose]()
  })

  const open = (id: number): Buffer =>
    headers(id, [
      [':method', 'CONNECT'],
      [':authority', `${server.ip}:${SEQ_TCP_PORT}`],
    ])
  /** One value of 4,000 bytes in the table, and 60 references to it: 240 KiB out of 4. */
  const bomb = (): Buffer =>
    Buffer.concat([Buffer.from([0x40, 1, 0x78, 0x7f, 0xa1, 0x1e]), Buffer.alloc(4000, 'a'), Buffer.alloc(60, 0xbe)])

  /** Frames by the number of the piece; a piece opens `streams` streams. */
  const ATTACKS: Readonly<Record<string, { streams?: number; first?: () => Buffer; piece: (n: number) => Buffer }>> = {
    'rapid reset': { streams: 1, piece: (n) => Buffer.concat([open(2 * n + 1), word(T.rstStream, 2 * n + 1, 8)]) },
    'resets that the server makes': { streams: 1, piece: (n) => Buffer.concat([open(2 * n + 1), word(T.windowUpdate, 2 * n + 1, 0)]) },
    'streams above the limit': { streams: 1, piece: (n) => open(2 * n + 1) },
    'CONTINUATION without end': {
      first: () => encodeFrame(T.headers, 0, 1, NONE),
      piece: () => encodeFrame(T.continuation, 0, 1, Buffer.alloc(1000)),
    },
    'empty CONTINUATION': { first: () => encodeFrame(T.headers, 0, 1, NONE), piece: () => encodeFrame(T.continuation, 0, 1) },
    SETTINGS: { piece: () => repeat(settings(), 20) },
    PING: { piece: () => repeat(encodeFrame(T.ping, 0, 0, Buffer.alloc(8)), 20) },
    'empty DATA': { first: () => open(1), piece: () => repeat(encodeFrame(T.data, 0, 1), 20) },
    'HPACK bomb': { piece: () => encodeFrame(T.headers, 4, 1, bomb()) },
    'window overflow': { piece: () => word(T.windowUpdate, 0, 0x7fffffff) },
  }

  /** Sends until it is ended. @returns how long that took, and how many streams were opened */
  const flood = async (name: string): Promise<{ ms: number; streams: number; said: string }> => {
    const attack = ATTACKS[name]
    assert.ok(attack !== undefined)
    const peer = new RawPeer(await dialTls(door, good))
    peer.send(CLIENT_PREFACE, settings())
    await peer.frame(T.settings)
    const begunMs = performance.now()
    if (attack.first !== undefined) peer.send(attack.first())
    const ended = peer.goAway()
    let isEnded = false
    void ended.then(() => {
      isEnded = true
    })
    let pieces = 0
    while (!isEnded && performance.now() - begunMs < ATTACK_MS) {
      peer.send(attack.piece(pieces++))
      if (pieces % 50 === 0 || peer.socket.writableNeedDrain) await new Promise((resolve) => setTimeout(resolve, 1))
    }
    const said = isEnded ? String(await ended) : 'still open'
    peer.socket.destroy()
    return { ms: performance.now() - begunMs, streams: pieces * (attack.streams ?? 0), said }
  }

  /** Sockets that never get further than `begin` brings them; resolves with how long the longest lived. */
  const lingering = async (count: number, begin: () => Promise<net.Socket>): Promise<number> => {
    const lived = Array.from({ length: count }, async () => {
      const socket = await begin()
      const begunMs = performance.now()
      socket.on('error', () => undefined).resume()
      const guard = setTimeout(() => socket.destroy(), 30_000)
      await new Promise((resolve) => socket.once('close', resolve))
      clearTimeout(guard)
      return performance.now() - begunMs
    })
    return Math.max(...(await Promise.all(lived)))
  }

  const pss = async (): Promise<number> => {
    const { components } = await mesh.status()
    return components.find(({ name }) => name === 'ztunnel-node-1')?.pssBytes ?? 0
  }
  const load = { to: '', mode: 'http', rate: 200, connections: 4 } as const

  /** Every attack once. @returns a line for each */
  const attackAll = async (): Promise<string[]> => {
    const found: string[] = []
    for (const name of Object.keys(ATTACKS)) {
      const { ms, streams, said } = await flood(name)
      found.push(`${name}: ${said} after ${Math.round(ms)} ms, ${streams} streams`)
      if (said === 'still open' || (ms > ENDED_WITHIN_MS && (streams === 0 || streams > MOST_STREAMS))) assert.fail(found.join('\n'))
    }
    const raw = async (): Promise<net.Socket> => dialTcp(door)
    const slow = async (): Promise<net.Socket> => {
      const socket = dialTcp(door)
      socket.on('error', () => undefined)
      let sent = 0
      const timer = setInterval(() => socket.write(CLIENT_HELLO.subarray(sent, ++sent)), 100)
      socket.once('close', () => clearInterval(timer))
      return socket
    }
    for (const [name, lived] of [
      ['TCP without TLS', await lingering(200, raw)],
      ['a handshake of one byte per 100 ms', await lingering(100, slow)],
    ] as const) {
      found.push(`${name}: ended after ${Math.round(lived)} ms`)
      assert.ok(lived < HANDSHAKE_MS + 1000, found.join('\n'))
    }
    return found
  }

  /** Memory comes back. */
  const settles = async (pssBefore: number): Promise<void> => {
    let now = 0
    const endMs = performance.now() + 60_000
    for (now = await pss(); now > pssBefore + PSS_ALLOWANCE_BYTES; now = await pss()) {
      assert.ok(performance.now() < endMs, `PSS was ${pssBefore} before and is ${now}`)
      await new Promise((resolve) => setTimeout(resolve, 1000))
    }
    if (process.env.SHOW_LOGS !== undefined) console.log(`PSS ${pssBefore} -> ${now}`)
  }

  it('are ended within a second or 1,000 streams, and cost a neighbour nothing', async () => {
    const to = `${server.ip}:${SEQ_HTTP_PORT}`
    await endLoad(startLoad(victim, 3, { ...load, to })) // certificates, pools and code are warm after it
    const mute = lingering(20, () => dialTls(door, good))
    const quiet = startLoad(victim, 1, { ...load, to })
    await new Promise((resolve) => setTimeout(resolve, 4000)) // a sample of 800 requests
    const before = await endLoad(quiet)
    assert.equal(before.lost, 0)
    const pssBefore = await pss()

    const meanwhile = startLoad(victim, 2, { ...load, to })
    const report = (): Promise<string> => get({ from: nodeNetns(mesh, 1), ip: server.ip, port: SEQ_HTTP_PORT }, '/report')
    await mesh.until('requests pass', async () => (await report()).includes('"2":'))
    const found = await attackAll()
    const after = await endLoad(meanwhile)
    const account = `${found.join('\n')}\nquiet ${JSON.stringify(before.latencyMs)}, under attack ${JSON.stringify(after.latencyMs)}`
    if (process.env.SHOW_LOGS !== undefined) console.log(account)
    assert.deepEqual([after.lost, after.duplicates, after.corrupted, after.connectionsBroken], [0, 0, 0, 0], account)
    assert.ok(after.latencyMs.p99 <= 2 * before.latencyMs.p99 + ALLOWANCE_MS, account)

    const codes = logLines(mesh, 'ztunnel-node-1').map((line) => line.code)
    assert.ok(codes.filter((code) => code === 'PEER_ABUSE' || code === 'PROTOCOL_VIOLATION').length >= Object.keys(ATTACKS).length)
    assert.ok((await metric(mesh, 1, 15_020, 'weft_refused_total', { code: 'PEER_ABUSE' })) >= 8)
    const undialled = await metric(mesh, 1, 15_020, 'weft_refused_total', { code: 'STREAM_RESET' })
    assert.ok(undialled >= 300, `${undialled} streams were reset before anything was dialled for them`)
    assert.equal(await tryConnect(door, good, `${server.ip}:${SEQ_TCP_PORT}`), '200', 'the same peer is served when it behaves')
    await mesh.until('no handshake is left', async () => (await metric(mesh, 1, 15_020, 'weft_handshakes_open')) === 0)
    assert.ok((await mute) < PREFACE_MS + 2000, 'TLS without HTTP/2 is ended')
    await mesh.until(
      'it is counted',
      async () => (await metric(mesh, 1, 15_020, 'weft_refused_total', { code: 'HANDSHAKE_TIMEOUT' })) === 20,
    )
    await settles(pssBefore)
  })
})
