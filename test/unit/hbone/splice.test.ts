// Bytes through app — socket — tunnel — socket — app: exact, with half-closes, resets and slow readers.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import type net from 'node:net'
import { connectHbone, type HboneClientConnection } from '../../../hbone/client.ts'
import { HeldBytes } from '../../../hbone/held.ts'
import type { HboneLimits } from '../../../hbone/limits.ts'
import { adoptAccepted, adoptFd } from '../../../hbone/plain-socket.ts'
import { type HboneServerConnection, serveHbone } from '../../../hbone/server.ts'
import { type ByteCounters, type SpliceEnd, splicePlain, spliceTunnel } from '../../../hbone/splice.ts'
import { tcpConnect, tcpListen } from '../../../linux/socket.ts'
import type { IpAddress } from '../../../model/address.ts'
import { SeededRandom } from '../../support/random.ts'
import { tcpPair, tlsPair } from '../../support/tls-pair.ts'

const seeded = (seed: number): (() => number) => {
  const random = new SeededRandom(seed)
  return () => random.next()
}

interface Relay {
  /** The app that dialled and the app that was dialled, one pair per tunnel. */
  open(): Promise<{ near: net.Socket; far: net.Socket; ends: Promise<SpliceEnd>[]; counters: ByteCounters[] }>
  readonly client: HboneClientConnection
  readonly server: HboneServerConnection
  readonly held: HeldBytes
  close(): void
}

async function relay(limits: Partial<HboneLimits> = {}, held = new HeldBytes()): Promise<Relay> {
  const pair = await tlsPair()
  const waiting: ((x: { far: net.Socket; end: Promise<SpliceEnd>; counters: ByteCounters }) => void)[] = []
  const server = serveHbone(pair.server, {
    limits,
    held,
    async onConnect(_request, stream) {
      const { app, ours } = await tcpPair()
      const counters = { fromTunnel: 0, toTunnel: 0 }
      const end = spliceTunnel(stream.accept(), adoptAccepted(ours), counters)
      waiting.shift()?.({ far: app, end, counters })
    },
  })
  const client = connectHbone(pair.client, { limits, held })
  return {
    client,
    server,
    held,
    async open() {
      const { app, ours } = await tcpPair()
      const far = new Promise<{ far: net.Socket; end: Promise<SpliceEnd>; counters: ByteCounters }>((resolve) => waiting.push(resolve))
      const tunnel = await client.open({ authority: '10.0.0.1:80' })
      const counters = { fromTunnel: 0, toTunnel: 0 }
      const end = spliceTunnel(tunnel, adoptAccepted(ours), counters)
      const other = await far
      return { near: app, far: other.far, ends: [end, other.end], counters: [counters, other.counters] }
    },
    close: () => pair.close(),
  }
}

/** Sends `total` seeded bytes in random pieces, then FIN. @returns their hash */
async function sendRandom(socket: net.Socket, total: number, random: () => number): Promise<string> {
  const hash = createHash('sha256')
  for (let sent = 0; sent < total; ) {
    const size = Math.min(total - sent, 1 + Math.floor(random() ** 4 * 300_000))
    const piece = Buffer.alloc(size, Math.floor(random() * 256))
    piece.writeUInt8(Math.floor(random() * 256), Math.floor(random() * size))
    hash.update(piece)
    sent += size
    if (!socket.write(piece)) await new Promise((resolve) => socket.once('drain', resolve))
    if (random() < 0.05) await new Promise((resolve) => setTimeout(resolve, random() * 3))
  }
  socket.end()
  return hash.digest('hex')
}

/** Reads to the end, sometimes resting. @returns the hash and the length */
async function readAll(socket: net.Socket, random: () => number, restShare: number): Promise<{ hash: string; bytes: number }> {
  const hash = createHash('sha256')
  let bytes = 0
  const ended = new Promise((resolve, reject) => socket.once('end', resolve).once('error', reject))
  socket.on('data', (chunk) => {
    hash.update(chunk)
    bytes += chunk.length
    if (random() >= restShare) return
    socket.pause()
    setTimeout(() => socket.resume(), 2)
  })
  await ended
  return { hash: hash.digest('hex'), bytes }
}

const CASES = [
  { name: 'default limits', limits: {}, rest: 0 },
  { name: 'slow readers', limits: {}, rest: 0.1 },
  { name: 'small windows', limits: { streamWindowBytes: 65535, connectionWindowBytes: 131072 }, rest: 0.02 },
  { name: 'frames of 16 KiB', limits: { maxFrameBytes: 16384 }, rest: 0.01 },
  { name: 'a one-block write queue', limits: { writeQueueBytes: 32768 }, rest: 0.01 },
]

describe('hbone/splice', function () {
  this.timeout(20_000)

  for (const { name, limits, rest } of CASES) {
    it(`carries eight tunnels byte-exactly: ${name}`, async () => {
      const hop = await relay(limits)
      const one = async (seed: number): Promise<void> => {
        const random = seeded(seed)
        const { near, far, ends, counters } = await hop.open()
        const up = Math.floor(random() * 3_000_000)
        const down = Math.floor(random() * 3_000_000)
        const [sentUp, sentDown, gotUp, gotDown] = await Promise.all([
          sendRandom(near, up, random),
          sendRandom(far, down, random),
          readAll(far, random, rest),
          readAll(near, random, rest),
        ])
        assert.deepEqual(
          [gotUp, gotDown],
          [
            { hash: sentUp, bytes: up },
            { hash: sentDown, bytes: down },
          ],
        )
        assert.deepEqual(await Promise.all(ends), [
          { by: 'both', error: undefined },
          { by: 'both', error: undefined },
        ])
        assert.deepEqual(counters, [
          { fromTunnel: down, toTunnel: up },
          { fromTunnel: up, toTunnel: down },
        ])
      }
      await Promise.all(Array.from({ length: 8 }, (_, i) => one(1000 + i)))
      assert.deepEqual([hop.client.streams, hop.server.streams, hop.held.bytes], [0, 0, 0])
      hop.close()
    })
  }

  it('passes a half-close on and keeps the other half open, both ways', async () => {
    const hop = await relay()
    for (const side of ['near', 'far'] as const) {
      const opened = await hop.open()
      const [first, second] = side === 'near' ? [opened.near, opened.far] : [opened.far, opened.near]
      first.end('question')
      const question = await readAll(second, Math.random, 0)
      assert.equal(question.bytes, 8)
      second.end('answer')
      assert.equal((await readAll(first, Math.random, 0)).bytes, 6)
      assert.deepEqual(
        (await Promise.all(opened.ends)).map((end) => end.by),
        ['both', 'both'],
      )
    }
    hop.close()
  })

  it('turns a TCP reset into a stream reset and back into a TCP reset', async () => {
    const hop = await relay()
    const { near, far, ends } = await hop.open()
    near.write('x')
    await new Promise((resolve) => far.once('data', resolve))
    const failed = new Promise<NodeJS.ErrnoException>((resolve) => near.once('error', resolve))
    far.resetAndDestroy()
    assert.equal((await failed).code, 'ECONNRESET')
    const [here, there] = await Promise.all(ends)
    assert.deepEqual([here?.by, here?.error?.code, there?.by, there?.error?.code], ['tunnel', 'STREAM_RESET', 'socket', 'SOCKET_RESET'])
    assert.equal(here?.error?.detail.h2, 'connectError')
    hop.close()
  })

  it('resets the sockets of all tunnels when the connection dies', async () => {
    const hop = await relay()
    const { near, far, ends } = await hop.open()
    const errors = [near, far].map((socket) => new Promise<NodeJS.ErrnoException>((resolve) => socket.once('error', resolve)))
    hop.close()
    assert.deepEqual(
      (await Promise.all(errors)).map((error) => error.code),
      ['ECONNRESET', 'ECONNRESET'],
    )
    assert.deepEqual(
      (await Promise.all(ends)).map((end) => end.error?.code),
      ['CONNECTION_CLOSED', 'CONNECTION_CLOSED'],
    )
  })

  it('holds at most one stream window for a reader that stands still, and neighbours go on', async () => {
    const hop = await relay()
    const stuck = await hop.open()
    stuck.far.pause()
    const flood = Buffer.alloc(1024 * 1024)
    let pushed = 0
    while (pushed < 64 && stuck.near.writableLength < 4 * flood.length) {
      stuck.near.write(flood)
      pushed++
      await new Promise((resolve) => setTimeout(resolve, 3))
    }
    await new Promise((resolve) => setTimeout(resolve, 100))
    assert.ok(hop.held.bytes > 0 && hop.held.bytes <= 1024 * 1024, `held ${hop.held.bytes}`)
    const other = await hop.open()
    const sent = sendRandom(other.near, 2_000_000, seeded(7))
    other.far.end()
    assert.equal((await readAll(other.far, Math.random, 0)).hash, await sent)
    stuck.near.on('error', () => undefined)
    stuck.far.resetAndDestroy()
    await Promise.all(stuck.ends)
    assert.equal(hop.held.bytes, 0)
    hop.close()
  })

  it('goes on with small windows while the process holds more than its cap', async () => {
    const hop = await relay({}, new HeldBytes(100_000))
    const stuck = await hop.open()
    stuck.near.write(Buffer.alloc(8 * 1024 * 1024))
    stuck.far.pause()
    await new Promise((resolve) => setTimeout(resolve, 100))
    const other = await hop.open()
    const sent = sendRandom(other.near, 3_000_000, seeded(8))
    other.far.end()
    assert.equal((await readAll(other.far, seeded(9), 0.01)).hash, await sent)
    hop.close()
    stuck.near.on('error', () => undefined)
    stuck.far.on('error', () => undefined)
  })

  it('copies one-byte frames instead of keeping a view of each', async () => {
    const hop = await relay()
    const { near, far, counters } = await hop.open()
    const sent = createHash('sha256')
    for (let i = 0; i < 3000; i++) {
      const piece = Buffer.from([i & 255])
      sent.update(piece)
      near.write(piece)
      if (i % 50 === 0) await new Promise((resolve) => setImmediate(resolve))
    }
    near.end()
    assert.equal((await readAll(far, seeded(1), 0)).hash, sent.digest('hex'))
    assert.equal(counters[1]?.fromTunnel, 3000)
    hop.close()
  })

  it('splices two sockets: exact bytes, half-close, reset', async () => {
    const [a, b] = [await tcpPair(), await tcpPair()]
    const counters = { fromA: 0, fromB: 0 }
    const end = splicePlain(adoptAccepted(a.ours), adoptAccepted(b.ours), counters)
    const random = seeded(3)
    const [up, down, gotUp, gotDown] = await Promise.all([
      sendRandom(a.app, 5_000_000, random),
      sendRandom(b.app, 3_000_000, random),
      readAll(b.app, random, 0.05),
      readAll(a.app, random, 0.05),
    ])
    assert.deepEqual([gotUp.hash, gotDown.hash], [up, down])
    assert.deepEqual(
      [await end, counters],
      [
        { by: 'both', error: undefined },
        { fromA: 5_000_000, fromB: 3_000_000 },
      ],
    )
    const [c, d] = [await tcpPair(), await tcpPair()]
    const second = splicePlain(adoptAccepted(c.ours), adoptAccepted(d.ours), counters)
    const failed = new Promise<NodeJS.ErrnoException>((resolve) => d.app.once('error', resolve))
    c.app.resetAndDestroy()
    assert.equal((await failed).code, 'ECONNRESET')
    assert.equal((await second).by, 'a')
  })

  it('adopts an fd whose connect is under way, or fails with the reason', async () => {
    const ip = '127.0.0.1' as IpAddress
    const { app, ours } = await tcpPair()
    const port = app.remotePort ?? 0
    const refused = adoptFd(tcpConnect({ to: { ip, port } }), { connecting: true }) // its listener is closed
    await assert.rejects(refused.connected, { code: 'DIAL_FAILED', detail: { cause: 'ECONNREFUSED' } })
    assert.equal((await refused.closed)?.code, 'SOCKET_RESET')
    app.destroy()
    ours.destroy()
    const { default: net } = await import('node:net')
    const listener = net.createServer((socket) => socket.end('hello'))
    await new Promise<void>((resolve) => listener.listen({ fd: tcpListen({ ip, port: 0 }) }, resolve))
    const socket = adoptFd(tcpConnect({ to: { ip, port: (listener.address() as net.AddressInfo).port } }), { connecting: true })
    await socket.connected
    let text = ''
    socket.attach({
      onBlock: () => true,
      onBytes: (bytes, length) => {
        text += bytes.toString('latin1', 0, length)
        return true
      },
      onEnd: () => socket.end(),
      onDrained: () => undefined,
      onClosed: () => undefined,
    })
    assert.equal(await socket.closed, undefined)
    assert.equal(text, 'hello')
    listener.close()
  })
})
