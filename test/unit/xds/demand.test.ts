// On-demand clients: what stands behind a key comes, follows it and goes; a client's view is always what it asked for.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { describe, it } from 'mocha'
import { Demand, resolve } from '../../../xds/demand.ts'
import { PushStore, type ServedResource } from '../../../xds/push-source.ts'
import { Subscription, type Wish } from '../../../xds/subscription.ts'
import { resource, type TestClient, until, XdsPair } from '../../support/xds-pair.ts'

const THINGS = 'type.googleapis.com/test.Thing'
const OTHERS = 'type.googleapis.com/test.Other'
const ON_DEMAND: Wish = { subscribe: ['*'], unsubscribe: ['*'], versions: {} }

function put(store: PushStore, changes: Record<string, ServedResource | undefined>): number {
  return store.update(new Map([[THINGS, new Map(Object.entries(changes))]]))
}

/** A store and one client of it without a network: what it is sent is applied when the test says so. */
class View {
  readonly store = new PushStore([THINGS])
  readonly held = new Map<string, string>()
  readonly keys = new Set<string>()
  readonly subscription: Subscription

  constructor(wish = ON_DEMAND, isTold = true) {
    const demand = new Demand(this.store)
    this.subscription = new Subscription(this.store, demand, THINGS, wish)
    this.store.onChange((batches) => {
      for (const batch of batches) {
        if (isTold) demand.offer(batch)
        this.subscription.offer(batch)
      }
    })
  }

  /** @returns names sent as new or changed, and as removed; undefined = nothing is due */
  push(): { readonly upserts: string[]; readonly removes: string[] } | undefined {
    const pending = this.subscription.take()
    if (pending === undefined) return undefined
    this.subscription.inFlight = { nonce: 'n', revision: this.store.revision }
    const upserts: string[] = []
    const removes: string[] = []
    for (const name of pending.names) {
      const found = pending.forgotten.has(name) ? undefined : this.store.snapshot(THINGS).get(name)
      ;(found === undefined ? removes : upserts).push(name)
      if (found === undefined) this.held.delete(name)
      else this.held.set(name, found.version)
    }
    return { upserts: upserts.sort(), removes: removes.sort() }
  }

  answer(): void {
    this.subscription.inFlight = undefined
  }

  ask(...keys: readonly string[]): void {
    for (const key of keys) this.keys.add(key)
    this.subscription.change(keys, [])
  }

  release(...keys: readonly string[]): void {
    for (const key of keys) this.keys.delete(key)
    this.subscription.change([], keys)
  }

  /** Until nothing is due. */
  settle(): void {
    this.answer()
    while (this.push() !== undefined) this.answer()
  }

  wanted(): Map<string, string> {
    const names = new Set([...this.keys].flatMap((key) => [...resolve(this.store, THINGS, key)]))
    return new Map([...names].map((name) => [name, this.store.snapshot(THINGS).get(name)?.version ?? '']))
  }
}

const sorted = (map: ReadonlyMap<string, string>): string[] => [...map].map(([name, version]) => `${name}=${version}`).sort()

describe('xds/demand', () => {
  it('answers the first request, also with nothing, and an unknown key as removed; sends it when it appears and when it goes', () => {
    const view = new View()
    assert.deepEqual(view.push(), { upserts: [], removes: [] })
    view.answer()
    view.ask('/10.0.0.9')
    assert.deepEqual(view.push(), { upserts: [], removes: ['/10.0.0.9'] })
    view.answer()
    put(view.store, { other: resource('1', { aliases: ['/10.0.0.8'] }) })
    assert.equal(view.push(), undefined, 'others are none of its business')
    put(view.store, { late: resource('1', { aliases: ['/10.0.0.9'] }) })
    assert.deepEqual(view.push(), { upserts: ['late'], removes: [] })
    view.answer()
    put(view.store, { late: undefined })
    assert.deepEqual(view.push(), { upserts: [], removes: ['late'] })
  })

  it('brings the endpoints of a service that is found by its address, and follows the address to another service', () => {
    const view = new View()
    const one = resource('svc1', { aliases: ['/vip'] })
    put(view.store, {
      'ns/one': one,
      'ns/two': resource('svc2'),
      a: resource('a', { groups: ['ns/one'] }),
      b: resource('b', { groups: ['ns/two'] }),
    })
    view.ask('/vip')
    view.settle()
    assert.deepEqual(sorted(view.held), ['a=a', 'ns/one=svc1'])
    put(view.store, { 'ns/one': resource('svc1'), 'ns/two': resource('svc2', { aliases: ['/vip'] }) })
    view.settle()
    assert.deepEqual(sorted(view.held), ['b=b', 'ns/two=svc2'])
    put(view.store, { a: resource('a', { groups: ['ns/two'] }) })
    view.settle()
    assert.deepEqual(sorted(view.held), ['a=a', 'b=b', 'ns/two=svc2'])
    view.release('/vip')
    view.settle()
    assert.deepEqual(sorted(view.held), [])
    put(view.store, { b: resource('b2', { groups: ['ns/two'] }) })
    assert.equal(view.push(), undefined, 'a released key is not followed')
  })

  it('keeps what another key still stands for when one is released', () => {
    const view = new View()
    put(view.store, { pod: resource('1', { aliases: ['/ip'], groups: ['svc'] }), svc: resource('s') })
    view.ask('/ip', 'svc')
    view.settle()
    view.release('svc')
    assert.deepEqual(view.push(), { upserts: [], removes: ['svc'] })
    assert.deepEqual(sorted(view.held), ['pod=1'])
  })

  it('leaves a wildcard a wildcard: names asked for or given up later change nothing', () => {
    const view = new View({ subscribe: [], unsubscribe: [], versions: {} })
    put(view.store, { a: resource('1'), b: resource('1') })
    view.settle()
    view.subscription.change(['a', 'unknown'], ['*', 'b'])
    assert.equal(view.subscription.isWildcard, true)
    assert.equal(view.push(), undefined)
    put(view.store, { b: resource('2'), c: resource('1') })
    assert.deepEqual(view.push(), { upserts: ['b', 'c'], removes: [] })
  })

  it('forgets a client that has gone', () => {
    const view = new View()
    view.ask('a')
    view.settle()
    view.subscription[Symbol.dispose]()
    put(view.store, { a: resource('1') })
    assert.equal(view.push(), undefined)
  })

  const NAMES = ['p', 'q', 'r', 's'] as const
  const KEYS = [...NAMES, '/1', '/2']
  const served = fc.record({
    version: fc.constantFrom('1', '2', '3'),
    aliases: fc.subarray(['/1', '/2']),
    groups: fc.subarray(['r', 's']),
  })
  const step = fc.oneof(
    fc.record({
      do: fc.constant('put' as const),
      changes: fc.dictionary(fc.constantFrom(...NAMES), fc.option(served, { nil: undefined }), { minKeys: 1 }),
    }),
    fc.record({ do: fc.constantFrom('ask' as const, 'release' as const), key: fc.constantFrom(...KEYS) }),
    fc.record({ do: fc.constantFrom('push' as const, 'answer' as const) }),
  )
  const history = fc.array(step, { minLength: 1, maxLength: 40 })

  function play(view: View, steps: typeof history extends fc.Arbitrary<infer Steps> ? Steps : never): void {
    for (const each of steps) {
      if (each.do === 'ask') view.ask(each.key)
      else if (each.do === 'release') view.release(each.key)
      else if (each.do === 'push') view.push()
      else if (each.do === 'answer') view.answer()
      else if ('changes' in each) {
        const changes = Object.entries(each.changes).map(
          ([name, found]) => [name, found && resource(`${name}${found.version}`, found)] as const,
        )
        put(view.store, Object.fromEntries(changes))
      }
    }
    view.settle()
    assert.deepEqual(sorted(view.held), sorted(view.wanted()))
  }

  it('gives a client after any history exactly what its keys stand for', () => {
    fc.assert(
      fc.property(history, (steps) => play(new View(), steps)),
      { numRuns: 1000 },
    )
  })

  it('would show a change that is not offered (control)', () => {
    assert.equal(
      fc.check(
        fc.property(history, (steps) => play(new View(ON_DEMAND, false), steps)),
        { numRuns: 1000 },
      ).failed,
      true,
    )
  })
})

describe('xds/demand over the wire', () => {
  const heldBy = (one: TestClient): string =>
    [...(one.held.get(THINGS) ?? [])]
      .map(([name, text]) => `${name}=${text}`)
      .sort()
      .join(' ')

  it('names what it holds after a reconnect: only what changed comes, what has gone is taken away, what was asked meanwhile too', async () => {
    const store = new PushStore([OTHERS, THINGS])
    const svc = (text: string): ServedResource => resource(text, { aliases: ['/vip'] })
    const member = (text: string): ServedResource => resource(text, { groups: ['svc'] })
    put(store, { svc: svc('s1'), a: member('a1'), b: member('b1'), c: member('c1') })
    await using pair = await XdsPair.start(store)
    const one = pair.connect({ kinds: [{ typeUrl: THINGS, mode: 'on-demand' }] })
    one.client.demand(THINGS, '/vip')
    one.client.demand(THINGS, 'unknown')
    await until('filled', () => heldBy(one) === 'a=a1 b=b1 c=c1 svc=s1')
    // The two demands may have gone in two requests.
    await until('told of the unknown', () => one.pushes.some(({ push }) => push.removes.includes('unknown')))
    pair.isRefusing = true
    pair.cut()
    await until('disconnected', () => !one.client.state.isConnected)
    put(store, { b: member('b2'), c: undefined, unknown: resource('known'), mine: resource('m1') })
    one.client.demand(THINGS, 'mine')
    const before = one.pushes.length
    pair.isRefusing = false
    await until('caught up', () => heldBy(one) === 'a=a1 b=b2 mine=m1 svc=s1 unknown=known')
    const upserts = one.pushes.slice(before).flatMap(({ push }) => push.upserts.map(({ name }) => name))
    assert.deepEqual(upserts.sort(), ['b', 'mine', 'unknown'])
  })

  it('sends responses larger than a piece whole, to several clients at once, and keeps the order of messages', async () => {
    const store = new PushStore([OTHERS, THINGS])
    const huge = 'h'.repeat(100_000)
    const many = Object.fromEntries(Array.from({ length: 3000 }, (_, i) => [`r${i}`, resource(`${i}`.repeat(1 + (i % 50)))]))
    put(store, { ...many, huge: resource(huge, { version: 'h' }) })
    await using pair = await XdsPair.start(store, { limits: { largePushes: 1 } })
    const clients = [0, 1, 2].map(() => pair.connect({ kinds: [{ typeUrl: THINGS, mode: 'wildcard' }] }))
    await until('all synced', () => clients.every(({ client }) => client.state.isSynced), 20_000)
    for (const { held } of clients) {
      assert.equal(held.get(THINGS)?.size, 3001)
      assert.equal(held.get(THINGS)?.get('huge'), huge)
      // Pieces are used again: every byte must be this resource's.
      for (const [name, { bytes }] of Object.entries(many)) assert.equal(held.get(THINGS)?.get(name), bytes.toString())
    }
    put(store, { r1: resource('last') })
    await until('changed', () => clients.every(({ held }) => held.get(THINGS)?.get('r1') === 'last'))
  })

  it('lets all callers in though few tokens are checked at once', async () => {
    const store = new PushStore([OTHERS, THINGS])
    let running = 0
    let most = 0
    const authenticate = async (token: string): ReturnType<NonNullable<Parameters<typeof XdsPair.start>[1]>['authenticate'] & object> => {
      most = Math.max(most, ++running)
      await new Promise((resume) => setTimeout(resume, 10))
      running--
      return { ok: true, value: { key: token, label: token, gateway: undefined, mayDemand: () => true } }
    }
    await using pair = await XdsPair.start(store, { authenticate, limits: { authentications: 2 } })
    const clients = Array.from({ length: 8 }, (_, i) =>
      pair.connect({ kinds: [{ typeUrl: THINGS, mode: 'wildcard' }], token: () => `t${i}` }),
    )
    await until('all in', () => clients.every(({ client }) => client.state.isSynced))
    assert.equal(most, 2)
    assert.ok(!pair.lines.some(({ message }) => message === 'configuration stream lost'))
  })
})
