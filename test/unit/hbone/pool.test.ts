// Who shares a connection, when another is dialled, when one leaves the pool.
import assert from 'node:assert/strict'
import type tls from 'node:tls'
import { connectHbone } from '../../../hbone/client.ts'
import { HbonePool, type HbonePoolOptions, type PoolKey } from '../../../hbone/pool.ts'
import { type HboneServerConnection, type HboneServerStream, serveHbone } from '../../../hbone/server.ts'
import type { HboneTunnel } from '../../../hbone/tunnel.ts'
import type { IpAddress } from '../../../model/address.ts'
import type { SpiffeId } from '../../../model/identity.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { tlsPair } from '../../support/tls-pair.ts'

const id = (name: string): SpiffeId => `spiffe://cluster.local/ns/a/sa/${name}` as SpiffeId
const ip = (text: string): IpAddress => text as IpAddress
const KEY: PoolKey = {
  source: id('client'),
  destinations: [id('server')],
  to: { ip: ip('10.0.0.2'), port: 15008 },
  sourceIp: ip('10.0.0.1'),
}
const REQUEST = { authority: '10.0.0.2:80' }

interface Fixture {
  readonly pool: HbonePool
  readonly clock: FakeClock
  readonly servers: HboneServerConnection[]
  readonly sockets: tls.TLSSocket[]
  dials: number
}

const ignore = (): void => undefined
const accept = (stream: HboneServerStream): void =>
  void stream.accept().attach({ onData: ignore, onEnd: ignore, onWritable: ignore, onClosed: ignore })

function fixture(options: Partial<HbonePoolOptions> = {}, onConnect = accept, maxStreams = 200): Fixture {
  const clock = new FakeClock()
  const made: Fixture = {
    clock,
    servers: [],
    sockets: [],
    dials: 0,
    pool: new HbonePool({
      maxStreamsPerConnection: 100,
      unusedReleaseMs: 300_000,
      clock,
      async dial() {
        made.dials++
        const pair = await tlsPair()
        made.sockets.push(pair.client, pair.server)
        made.servers.push(serveHbone(pair.server, { clock, limits: { maxStreams }, onConnect: (_request, stream) => onConnect(stream) }))
        return connectHbone(pair.client, { clock })
      },
      ...options,
    }),
  }
  live.push(made)
  return made
}

let live: Fixture[] = []
const settle = (ms = 20): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

describe('hbone/pool', () => {
  afterEach(() => {
    for (const { sockets } of live) for (const socket of sockets) socket.destroy()
    live = []
  })

  it('dials once for concurrent first users and reuses the connection', async () => {
    const f = fixture()
    await Promise.all(Array.from({ length: 50 }, () => f.pool.open(KEY, REQUEST)))
    await f.pool.open(KEY, REQUEST)
    assert.deepEqual([f.dials, f.pool.stats()], [1, { connections: 1, streams: 51, dialing: 0 }])
  })

  it('dials per key: every part of it counts', async () => {
    const f = fixture()
    const keys: PoolKey[] = [
      KEY,
      { ...KEY, source: id('other') },
      { ...KEY, destinations: [id('server'), id('alias')] },
      { ...KEY, destinations: [id('alias'), id('server')] },
      { ...KEY, to: { ip: ip('10.0.0.3'), port: 15008 } },
      { ...KEY, to: { ip: ip('10.0.0.2'), port: 15009 } },
      { ...KEY, sourceIp: ip('10.0.0.9') },
    ]
    for (const key of keys) await f.pool.open(key, REQUEST)
    for (const key of keys) await f.pool.open({ ...key, destinations: [...key.destinations] }, REQUEST)
    assert.equal(f.dials, keys.length)
  })

  it('dials as many connections as the stream limit asks for, at once', async () => {
    const f = fixture({ maxStreamsPerConnection: 10 })
    await Promise.all(Array.from({ length: 35 }, () => f.pool.open(KEY, REQUEST)))
    assert.deepEqual([f.dials, f.pool.stats().streams], [4, 35])
  })

  it("keeps to the server's limit if that is lower", async () => {
    const f = fixture({}, accept, 5)
    for (let i = 0; i < 12; i++) await f.pool.open(KEY, REQUEST)
    assert.equal(f.dials, 3)
  })

  it('dials anew after GOAWAY, while open tunnels run on', async () => {
    const f = fixture()
    const first = await f.pool.open(KEY, REQUEST)
    f.servers[0]?.goAway()
    await settle()
    await f.pool.open(KEY, REQUEST)
    assert.deepEqual([f.dials, f.pool.stats().connections], [2, 2])
    first.reset()
    await f.clock.advance(1000)
    await settle()
    assert.equal(f.pool.stats().connections, 1)
  })

  it('tries another connection when a stream was refused unprocessed', async () => {
    let count = 0
    const f = fixture({}, (stream) => (++count === 1 ? f.servers[0]?.goAway() : accept(stream)))
    const opening = f.pool.open(KEY, REQUEST)
    await settle()
    f.servers[0]?.destroy(0)
    await assert.rejects(opening, { code: 'CONNECTION_CLOSED' }) // processed: not repeated
    await f.pool.open(KEY, REQUEST)
    assert.equal(f.dials, 2)
  })

  it('gives everybody the error of the dial, and dials again for the next', async () => {
    let dials = 0
    const f = fixture({ dial: () => Promise.reject(Object.assign(new Error('no'), { code: `E${++dials}` })) })
    const all = await Promise.allSettled([1, 2, 3].map(() => f.pool.open(KEY, REQUEST)))
    assert.deepEqual(
      all.map((one) => one.status === 'rejected' && one.reason.code),
      ['E1', 'E1', 'E1'],
    )
    await assert.rejects(f.pool.open(KEY, REQUEST), { code: 'E2' })
    assert.deepEqual(f.pool.stats(), { connections: 0, streams: 0, dialing: 0 })
  })

  it('hands a refusal through without a retry', async () => {
    const f = fixture({}, (stream) => stream.refuse(401))
    await assert.rejects(f.pool.open(KEY, REQUEST), { code: 'CONNECT_REFUSED', detail: { status: 401 } })
    assert.equal(f.dials, 1)
  })

  it('closes a connection unused for five minutes, and only then', async () => {
    const f = fixture()
    const tunnel = await f.pool.open(KEY, REQUEST)
    tunnel.reset()
    await f.clock.advance(5_000)
    const again = await f.pool.open(KEY, REQUEST)
    again.reset()
    await settle()
    for (let i = 0; i < 30; i++) {
      await f.clock.advance(9_990)
      await settle(2) // lets PINGs be answered
    }
    assert.equal(f.pool.stats().connections, 1)
    await f.clock.advance(9_990)
    await settle()
    assert.deepEqual([f.dials, f.pool.stats().connections], [1, 0])
  })

  it('stops waiting for a dial when the caller gives up, and the dial serves the others', async () => {
    const f = fixture()
    const abort = new AbortController()
    const [given, served] = [f.pool.open(KEY, REQUEST, { signal: abort.signal }), f.pool.open(KEY, REQUEST)]
    abort.abort()
    await assert.rejects(given, { code: 'ABORTED' })
    await served
    assert.equal(f.dials, 1)
  })

  it('resets a stream whose caller gives up while it opens', async () => {
    const seen: HboneServerStream[] = []
    const f = fixture({}, (stream) => void seen.push(stream))
    const abort = new AbortController()
    const opening = f.pool.open(KEY, REQUEST, { signal: abort.signal })
    while (seen.length === 0) await settle(1)
    abort.abort()
    await assert.rejects(opening, { code: 'ABORTED' })
    await seen[0]?.closed
    assert.equal(f.pool.stats().streams, 0)
  })

  it('drops what matches: tunnels run on, the next one dials', async () => {
    const f = fixture()
    await f.pool.open(KEY, REQUEST)
    f.pool.dropWhere((key) => key.to.ip === '10.0.0.2')
    await f.pool.open(KEY, REQUEST)
    assert.deepEqual([f.dials, f.pool.stats().streams], [2, 2])
  })

  it('drains: refuses new tunnels, ends when the open ones have', async () => {
    const f = fixture()
    const tunnel: HboneTunnel = await f.pool.open(KEY, REQUEST)
    let isDrained = false
    const drained = f.pool.drain().then(() => {
      isDrained = true
    })
    await assert.rejects(f.pool.open(KEY, REQUEST), { code: 'POOL_DRAINING' })
    await settle()
    assert.equal(isDrained, false)
    tunnel.reset()
    await drained
    assert.equal(f.pool.stats().connections, 0)
  })
})
