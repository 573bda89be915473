// Connections to the endpoints of one backend: who shares, who waits, who is turned away, what is closed when.
import assert from 'node:assert/strict'
import type { HttpConnection } from '../../../http/options.ts'
import { DEFAULT_TRAFFIC_POLICY } from '../../../model/backend.ts'
import type { ConnectionLimits } from '../../../model/backend.ts'
import type { SpiffeId } from '../../../model/identity.ts'
import type { Workload } from '../../../model/workload.ts'
import { UpstreamPool } from '../../../waypoint/upstream.ts'
import type { ConnectionEvents, UpstreamKey } from '../../../waypoint/upstream.ts'
import { FakeClock, settle } from '../../support/fake-clock.ts'
import { ip } from '../../support/mesh-values.ts'
import { podOf } from '../../support/waypoint-lab.ts'

const CLIENT: NonNullable<UpstreamKey['client']> = {
  id: 'spiffe://cluster.local/ns/shop/sa/a' as SpiffeId,
  identity: { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'a' },
  ip: ip('10.0.2.1'),
  port: 40_000,
  workload: undefined,
}

function keyOf(pod: string, change: Partial<UpstreamKey> = {}, workload: Partial<Workload> = {}): UpstreamKey {
  const to = { ip: ip(`10.0.1.${pod.length}`), port: 8080 }
  const endpoint = { uid: pod, to, workload: podOf(pod, to.ip, [], workload), weight: 1, isReady: true, isTerminating: false }
  return { endpoint, client: CLIENT, host: undefined, version: 'HTTP/1.1', ...change }
}

/** A connection whose requests a test ends. */
class FakeConnection {
  active = 0
  requests = 0
  isOpen = true
  isDraining = false
  /** The peer allows no more requests. */
  isFull = false
  readonly key: UpstreamKey
  readonly #events: ConnectionEvents

  constructor(key: UpstreamKey, events: ConnectionEvents) {
    this.key = key
    this.#events = events
  }

  get canRequest(): boolean {
    return this.isOpen && !this.isDraining && !this.isFull && (this.key.version === 'HTTP/2' || this.active === 0)
  }

  use(): void {
    this.active++
    this.requests++
  }

  free(): void {
    this.active--
    if (this.isDraining) this.close()
    else this.#events.onIdle()
  }

  request(): never {
    throw new Error('not used')
  }

  drain(): void {
    this.isDraining = true
    if (this.active === 0) this.close()
  }

  close(): void {
    if (!this.isOpen) return
    this.isOpen = false
    this.#events.onClosed(undefined)
  }
}

interface Bench {
  readonly pool: UpstreamPool
  readonly clock: FakeClock
  readonly made: FakeConnection[]
  readonly events: string[]
  ask(key: UpstreamKey, name: string): Disposable
}

interface BenchOptions {
  readonly pending?: number
  readonly dial?: () => Promise<void>
  /** What an endpoint does to a connection at once. */
  readonly greet?: (connection: FakeConnection) => void
}

function bench(limits: Partial<ConnectionLimits> = {}, options: BenchOptions = {}): Bench {
  const clock = new FakeClock()
  const made: FakeConnection[] = []
  const events: string[] = []
  let pending = options.pending ?? Number.POSITIVE_INFINITY
  const pool = new UpstreamPool({
    clock,
    limits: { ...DEFAULT_TRAFFIC_POLICY.limits, ...limits },
    idleTimeoutMs: 60_000,
    takePending() {
      if (pending <= 0) return undefined
      pending--
      return { [Symbol.dispose]: () => void pending++ }
    },
    async connect(key, toPool) {
      await options.dial?.()
      const connection = new FakeConnection(key, toPool)
      made.push(connection)
      options.greet?.(connection)
      return connection as unknown as HttpConnection
    },
  })
  const ask = (key: UpstreamKey, name: string): Disposable =>
    pool.acquire(key, {
      onReady({ connection, isReused }) {
        const fake = connection as unknown as FakeConnection
        fake.use()
        events.push(`${name} on ${made.indexOf(fake)}${isReused ? ' again' : ''}`)
      },
      onFailed: (error) => void events.push(`${name} ${error.code}`),
    })
  return { pool, clock, made, events, ask }
}

describe('upstream', () => {
  it('HTTP/1.1: one request at a time on a connection, which is used again', async () => {
    const { made, events, ask } = bench()
    ask(keyOf('a'), 'one')
    ask(keyOf('a'), 'two')
    await settle()
    made[0]?.free()
    ask(keyOf('a'), 'three')
    assert.deepEqual(events, ['one on 0', 'two on 1', 'three on 0 again'])
  })

  it('the connection that was used last is used first, so that those beyond need grow old', async () => {
    const { clock, made, events, ask } = bench()
    for (const name of ['one', 'two', 'three']) ask(keyOf('a'), name)
    await settle()
    for (const index of [1, 2, 0]) made[index]?.free()
    for (let passed = 0; passed < 120_000; passed += 30_000) {
      events.length = 0
      ask(keyOf('a'), 'more')
      assert.deepEqual(events, ['more on 0 again'])
      made[0]?.free()
      await clock.advance(30_000)
    }
    assert.deepEqual([made.map(({ isOpen }) => isOpen), made.length, clock.pending], [[true, false, false], 3, 1])
  })

  it('a connection that closes while it rests is not given', async () => {
    const { made, events, ask } = bench()
    ask(keyOf('a'), 'one')
    ask(keyOf('a'), 'two')
    await settle()
    made[0]?.free()
    made[1]?.free()
    made[1]?.close()
    ask(keyOf('a'), 'three')
    ask(keyOf('a'), 'four')
    await settle()
    assert.deepEqual(events.slice(2), ['three on 0 again', 'four on 2'])
  })

  it('a connection that is not wanted any more goes to the next who waits', async () => {
    const { pool, made, events, ask } = bench({ maxConnections: 1 })
    ask(keyOf('a'), 'one')
    await settle()
    pool.acquire(keyOf('a'), { onReady: () => void events.push('nothing'), onFailed: () => undefined })
    ask(keyOf('a'), 'two')
    made[0]?.free()
    assert.deepEqual(events, ['one on 0', 'nothing', 'two on 0 again'])
  })

  it('HTTP/2: one connection for all', async () => {
    const { made, events, ask } = bench()
    ask(keyOf('a', { version: 'HTTP/2' }), 'one')
    ask(keyOf('a', { version: 'HTTP/2' }), 'two')
    await settle()
    assert.deepEqual([events, made.length], [['one on 0', 'two on 0 again'], 1])
  })

  for (const [name, other] of [
    ['another endpoint', keyOf('bb')],
    ['no client', keyOf('a', { client: undefined })],
    ['another client', keyOf('a', { client: { ...CLIENT, id: 'spiffe://cluster.local/ns/shop/sa/b' as SpiffeId } })],
    ['another pod of the client', keyOf('a', { client: { ...CLIENT, ip: ip('10.0.2.2') } })],
    ['another pod with the same address', keyOf('a', { client: { ...CLIENT, workload: podOf('c', '10.0.2.1', []) } })],
    ['another version', keyOf('a', { version: 'HTTP/2' })],
    ['plaintext', keyOf('a', {}, { protocol: 'NONE' })],
    ['another pod of the same address', keyOf('a', {}, { uid: 'other' })],
    ['another account of the pod', keyOf('a', {}, { serviceAccount: 'other' })],
  ] as const) {
    it(`${name} gets a connection of its own`, async () => {
      const { made, ask } = bench()
      ask(keyOf('a'), 'one')
      await settle()
      made[0]?.free()
      ask(other, 'two')
      await settle()
      assert.equal(made.length, 2)
    })
  }

  it('maxConnections: who comes too late waits; the first that is free serves him', async () => {
    const { made, events, ask } = bench({ maxConnections: 1 })
    ask(keyOf('a'), 'one')
    ask(keyOf('a'), 'two')
    await settle()
    assert.deepEqual(events, ['one on 0'])
    made[0]?.free()
    assert.deepEqual(events, ['one on 0', 'two on 0 again'])
  })

  it('maxConnections: an unused connection to somebody else makes room', async () => {
    const { made, events, ask } = bench({ maxConnections: 1 })
    ask(keyOf('a'), 'one')
    await settle()
    made[0]?.free()
    ask(keyOf('bb'), 'two')
    await settle()
    assert.deepEqual([events, made[0]?.isOpen], [['one on 0', 'two on 1'], false])
  })

  it('maxConnections: a connection that closes makes room', async () => {
    const { made, events, ask } = bench({ maxConnections: 1 })
    ask(keyOf('a'), 'one')
    ask(keyOf('bb'), 'two')
    await settle()
    made[0]?.close()
    await settle()
    assert.deepEqual(events, ['one on 0', 'two on 1'])
  })

  it('who waits too long is told', async () => {
    const { clock, events, ask } = bench({ maxConnections: 1, connectTimeoutMs: 500 })
    ask(keyOf('a'), 'one')
    ask(keyOf('a'), 'two')
    await clock.advance(500)
    assert.deepEqual(events, ['one on 0', 'two CONNECT_TIMEOUT'])
  })

  it('who gives up is told nothing', async () => {
    const { made, events, ask } = bench({ maxConnections: 1 })
    ask(keyOf('a'), 'one')
    const waiting = ask(keyOf('a'), 'two')
    await settle()
    waiting[Symbol.dispose]()
    made[0]?.free()
    assert.deepEqual(events, ['one on 0'])
  })

  it('no more wait than may', async () => {
    const { events, ask } = bench({}, { pending: 1 })
    ask(keyOf('a'), 'one')
    ask(keyOf('a'), 'two')
    await settle()
    ask(keyOf('bb'), 'three')
    await settle()
    assert.deepEqual(events, ['two UPSTREAM_OVERFLOW', 'one on 0', 'three on 1'])
  })

  it('a dial that fails fails one request, and over HTTP/2 all that wait for it', async () => {
    for (const version of ['HTTP/1.1', 'HTTP/2'] as const) {
      const { events, ask, pool } = bench({}, { dial: () => Promise.reject(new Error('refused')) })
      ask(keyOf('a', { version }), 'one')
      ask(keyOf('a', { version }), 'two')
      await settle()
      assert.deepEqual([events, pool.size], [['one CONNECT_FAILED', 'two CONNECT_FAILED'], 0], version)
    }
  })

  for (const [name, greet] of [
    ['closed', (connection) => connection.close()],
    ['ended', (connection) => Object.assign(connection, { isDraining: true })],
    ['given no streams', (connection) => Object.assign(connection, { isFull: true })],
  ] as readonly (readonly [string, (connection: FakeConnection) => void])[])
    it(`a connection that is ${name} at once fails one request and is not dialled again and again`, async () => {
      const { made, events, ask, pool } = bench({}, { greet })
      ask(keyOf('a'), 'one')
      await settle()
      assert.deepEqual([events, made.length, pool.size], [['one CONNECT_FAILED'], 1, 0])
    })

  it('HTTP/2: a connection without streams that allows none is closed, not kept beside a new one', async () => {
    const { made, events, ask, pool } = bench()
    const key = keyOf('a', { version: 'HTTP/2' })
    ask(key, 'one')
    await settle()
    const [first] = made
    assert.ok(first !== undefined)
    first.isFull = true
    first.free()
    ask(key, 'two')
    await settle()
    assert.deepEqual([events, made.length, pool.size, first.isOpen], [['one on 0', 'two on 1'], 2, 1, false])
  })

  it('maxRequestsPerConnection: it is closed after so many', async () => {
    const { made, events, ask } = bench({ maxRequestsPerConnection: 1 })
    ask(keyOf('a'), 'one')
    await settle()
    made[0]?.free()
    ask(keyOf('a'), 'two')
    await settle()
    assert.deepEqual([events, made[0]?.isOpen], [['one on 0', 'two on 1'], false])
  })

  it('an unused connection is closed after its time', async () => {
    const { made, clock, ask, pool } = bench({ idleTimeoutMs: 1000 })
    ask(keyOf('a'), 'one')
    await settle()
    made[0]?.free()
    await clock.advance(999)
    assert.equal(made[0]?.isOpen, true)
    await clock.advance(1)
    assert.deepEqual([made[0]?.isOpen, pool.size, clock.pending], [false, 0, 0])
  })

  it('retired: what is under way ends, then it is empty', async () => {
    const { made, ask, pool } = bench()
    ask(keyOf('a'), 'one')
    await settle()
    let isEmpty = false
    pool.retire(() => {
      isEmpty = true
    })
    assert.equal(isEmpty, false)
    made[0]?.free()
    assert.equal(isEmpty, true)
  })

  it('closed: everything ends', async () => {
    const { made, ask, pool } = bench()
    ask(keyOf('a'), 'one')
    await settle()
    pool.close()
    assert.deepEqual([made[0]?.isOpen, pool.size], [false, 0])
  })
})
