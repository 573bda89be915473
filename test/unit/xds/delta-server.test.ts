// Delta client and server against each other over gRPC and TLS on loopback: connect, reconnect, removal, refusal, demand, limits.
import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import { RECHECK_MS } from '../../../xds/delta-server.ts'
import { PushStore, type ServedResource } from '../../../xds/push-source.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { resource, type TestClient, until, XdsPair } from '../../support/xds-pair.ts'

const POLICIES = 'type.googleapis.com/test.Policy'
const THINGS = 'type.googleapis.com/test.Thing'
const WILDCARD = [
  { typeUrl: POLICIES, mode: 'wildcard' },
  { typeUrl: THINGS, mode: 'wildcard' },
] as const

function put(store: PushStore, typeUrl: string, changes: Record<string, ServedResource | undefined>): number {
  return store.update(new Map([[typeUrl, new Map(Object.entries(changes))]]))
}

function newStore(): PushStore {
  const store = new PushStore([POLICIES, THINGS])
  put(store, THINGS, { a: resource('a1'), b: resource('b1') })
  return store
}

describe('xds/delta-client and delta-server', () => {
  it('sends everything at first, policies before things, and then only what changes', async () => {
    await using pair = await XdsPair.start(newStore())
    const one = pair.connect({ kinds: [...WILDCARD] })
    await until('synced', () => one.client.state.isSynced)
    assert.deepEqual(
      one.pushes.map(({ typeUrl, push }) => [typeUrl, push.upserts.map(({ name }) => name)]),
      [
        [POLICIES, []],
        [THINGS, ['a', 'b']],
      ],
    )
    put(pair.store, THINGS, { a: resource('a2'), b: resource('b1') })
    await until('change', () => one.pushes.length === 3)
    assert.deepEqual(one.pushes[2]?.push, { upserts: [{ name: 'a', bytes: Buffer.from('a2') }], removes: [] })
    put(pair.store, THINGS, { b: undefined })
    await until('removal', () => one.pushes.length === 4)
    assert.deepEqual(one.pushes[3]?.push.removes, ['b'])
  })

  it('becomes synced only after the answer to every wildcard kind', async () => {
    await using pair = await XdsPair.start(newStore())
    const one = pair.connect({ kinds: [...WILDCARD, { typeUrl: 'type.googleapis.com/test.Unserved', mode: 'wildcard' }] })
    await until('pushes', () => one.pushes.length === 2)
    await new Promise((resolve) => setTimeout(resolve, 50))
    assert.equal(one.client.state.isSynced, false)
  })

  it('keeps its versions over a reconnect: nothing is emptied, only differences and removals come', async () => {
    await using pair = await XdsPair.start(newStore())
    const one = pair.connect({ kinds: [...WILDCARD] })
    await until('synced', () => one.client.state.isSynced)
    pair.isRefusing = true
    pair.cut()
    await until('disconnected', () => !one.client.state.isConnected)
    assert.equal(one.client.state.isSynced, true)
    assert.equal(one.held.get(THINGS)?.size, 2)
    put(pair.store, THINGS, { a: undefined, c: resource('c1') })
    const before = one.pushes.length
    pair.isRefusing = false
    await until('reconnected', () => one.held.get(THINGS)?.has('c') === true)
    const changes = one.pushes.slice(before).filter(({ typeUrl }) => typeUrl === THINGS)
    assert.equal(changes.length, 1)
    assert.deepEqual(
      changes[0]?.push.upserts.map(({ name }) => name),
      ['c'],
    )
    assert.deepEqual(changes[0]?.push.removes, ['a'])
  })

  it('answers a partial refusal with every fault, applies the rest, and gets the refused push again after a reconnect', async () => {
    const refusals: string[] = []
    await using pair = await XdsPair.start(newStore(), {
      onRefusal: (_client, typeUrl, message) => void refusals.push(`${typeUrl} ${message}`),
    })
    let isStrict = true
    const one = pair.connect({
      kinds: [...WILDCARD],
      onPush: (_typeUrl, push) => (isStrict ? push.upserts.filter(({ name }) => name === 'b').flatMap(() => ['b: bad', 'b: worse']) : []),
    })
    await until('refusal', () => refusals.length === 1)
    assert.equal(refusals[0], `${THINGS} b: bad; b: worse`)
    assert.equal(pair.server.lagging(pair.store.revision).length, 1)
    isStrict = false
    const before = one.pushes.length
    pair.cut()
    await until('sent again', () => one.pushes.length >= before + 2)
    assert.deepEqual(
      one.pushes.find(({ typeUrl }, i) => i >= before && typeUrl === THINGS)?.push.upserts.map(({ name }) => name),
      ['a', 'b'],
    )
    await until('accepted', () => pair.server.lagging(pair.store.revision).length === 0)
  })

  it('does not push while an answer is awaited, and then sends all changes together', async () => {
    await using pair = await XdsPair.start(newStore())
    const one = pair.connect({ kinds: [...WILDCARD] })
    await until('synced', () => one.client.state.isSynced)
    for (let i = 0; i < 50; i++) put(pair.store, THINGS, { [`n${i}`]: resource(`n${i}`) })
    await until('all there', () => one.held.get(THINGS)?.size === 52)
    assert.ok(one.pushes.length < 10, `${one.pushes.length} pushes`)
  })

  it('never lets a thing overtake the policy of the same change', async () => {
    await using pair = await XdsPair.start(newStore())
    const one = pair.connect({ kinds: [...WILDCARD] })
    await until('synced', () => one.client.state.isSynced)
    for (let i = 0; i < 30; i++) {
      pair.store.update(
        new Map([
          [THINGS, new Map([['guarded', resource(`t${i}`)]])],
          [POLICIES, new Map([['guard', resource(`p${i}`)]])],
        ]),
      )
      if (i % 7 === 0) await new Promise((resolve) => setTimeout(resolve, 3))
    }
    await until('last', () => one.held.get(THINGS)?.get('guarded') === 't29')
    let policy = -1
    for (const { push } of one.pushes) {
      for (const { bytes } of push.upserts) {
        const text = Buffer.from(bytes).toString()
        if (text.startsWith('p')) policy = Number(text.slice(1))
        if (/^t\d/.test(text)) assert.ok(Number(text.slice(1)) <= policy, `thing ${text} came with policy ${policy}`)
      }
    }
  })

  it('tells when every connected client has accepted a revision, and who has not', async () => {
    await using pair = await XdsPair.start(newStore())
    const clients = [pair.connect({ kinds: [...WILDCARD] }), pair.connect({ kinds: [...WILDCARD] })]
    await until('synced', () => clients.every(({ client }) => client.state.isSynced))
    const revision = put(pair.store, THINGS, { z: resource('z') })
    assert.equal(pair.server.lagging(revision).length, 2)
    assert.deepEqual(await pair.server.waitForAcks(revision, 2000), [])
    assert.ok(clients.every(({ held }) => held.get(THINGS)?.has('z')))
  })

  it('serves on demand by name, alias and group; tells what does not exist; follows what was asked for', async () => {
    const store = newStore()
    put(store, THINGS, {
      'ns/svc': resource('svc', { aliases: ['/10.0.0.1'] }),
      pod1: resource('pod1', { aliases: ['/10.1.0.1'], groups: ['ns/svc'] }),
    })
    await using pair = await XdsPair.start(store)
    const one = pair.connect({
      kinds: [
        { typeUrl: POLICIES, mode: 'wildcard' },
        { typeUrl: THINGS, mode: 'on-demand' },
      ],
    })
    await until('synced', () => one.client.state.isSynced)
    await until('empty answer', () => one.pushes.some(({ typeUrl }) => typeUrl === THINGS))
    assert.equal(one.held.get(THINGS)?.size, 0)
    const names = (): string[] => [...(one.held.get(THINGS)?.keys() ?? [])].sort()
    one.client.demand(THINGS, '/10.0.0.1')
    await until('by VIP', () => names().length === 2)
    assert.deepEqual(names(), ['ns/svc', 'pod1'])
    one.client.demand(THINGS, '/10.9.9.9')
    await until('nothing there', () => one.pushes.some(({ push }) => push.removes.includes('/10.9.9.9')))
    put(store, THINGS, { pod2: resource('pod2', { aliases: ['/10.1.0.2'], groups: ['ns/svc'] }), other: resource('other') })
    await until('new endpoint', () => names().includes('pod2'))
    put(store, THINGS, { late: resource('late', { aliases: ['/10.9.9.9'] }) })
    await until('appears later', () => names().includes('late'))
    put(store, THINGS, { pod1: undefined })
    await until('removed', () => !names().includes('pod1'))
    pair.cut()
    await until('reconnected', () => pair.server.clients().length === 1 && pair.server.lagging(store.revision).length === 0)
    assert.deepEqual(names(), ['late', 'ns/svc', 'pod2'])
    one.client.release(THINGS, '/10.0.0.1')
    one.client.demand(THINGS, 'a') // answered after the release has been read
    await until('forgotten', () => names().join() === 'a,late')
    const before = one.pushes.length
    put(store, THINGS, { 'ns/svc': resource('svc2', { aliases: ['/10.0.0.1'] }) })
    await new Promise((resolve) => setTimeout(resolve, 50))
    assert.equal(one.pushes.length, before, 'a released service is not followed')
  })

  it('gives nothing to a caller without a good token', async () => {
    await using pair = await XdsPair.start(newStore())
    for (const token of ['bad', 'bad two', '']) {
      const one = pair.connect({ kinds: [...WILDCARD], token: () => token })
      await new Promise((resolve) => setTimeout(resolve, 150))
      assert.equal(one.pushes.length, 0)
      one.client.stop()
    }
    assert.equal(pair.server.clients().length, 0)
    assert.ok(pair.lines.some(({ message }) => message === 'configuration stream refused'))
  })

  it('refuses a server whose certificate does not carry the name', async () => {
    await using pair = await XdsPair.start(newStore())
    const one = pair.connect({ kinds: [...WILDCARD], serverName: 'somebody.else' })
    await new Promise((resolve) => setTimeout(resolve, 200))
    assert.equal(one.pushes.length, 0)
  })

  it('limits streams of a caller, subscriptions and unanswered pushes', async () => {
    await using pair = await XdsPair.start(newStore(), { limits: { streamsPerCaller: 1, subscriptions: 3, ackTimeoutMs: 100 } })
    const one = pair.connect({ kinds: [{ typeUrl: THINGS, mode: 'on-demand' }] })
    await until('first stream', () => pair.server.clients().length === 1)
    const two = pair.connect({ kinds: [...WILDCARD] })
    await until('second stream is refused', () =>
      pair.lines.some(({ fields }) => String(fields.error).includes('too many streams of this caller')),
    )
    two.client.stop()
    for (const name of ['k1', 'k2', 'k3', 'k4']) one.client.demand(THINGS, name)
    await until('too many keys', () => pair.lines.some(({ fields }) => fields.details === 'too many subscriptions'))
    one.client.stop()
  })

  it('serves a caller that has lapsed for seconds only; one that is admitted again gets nothing twice', async () => {
    const clock = new FakeClock()
    const lapsed: Record<string, string | undefined> = {}
    const refused = new Set<string>()
    await using pair = await XdsPair.start(newStore(), {
      clock,
      authenticate: async (token) => {
        if (refused.has(token)) return { ok: false, errors: ['gone'] }
        const lapse = (): string | undefined => lapsed[token]
        return { ok: true, value: { key: token, label: token, gateway: undefined, mayDemand: () => true, lapse } }
      },
    })
    const connect = (token: string): TestClient => pair.connect({ kinds: [...WILDCARD], token: () => token })
    const [stays, renews, goes] = [connect('stays'), connect('renews'), connect('goes')]
    await until('all are synced', () => [stays, renews, goes].every(({ client }) => client.state.isSynced))
    lapsed.renews = 'its token has expired'
    lapsed.goes = 'its pod is gone'
    refused.add('goes')
    await clock.advance(RECHECK_MS - 1)
    assert.equal(pair.server.clients().length, 3)
    const ids = pair.server.clients().map(({ id }) => id)
    const before = renews.pushes.length
    await clock.advance(1)
    lapsed.renews = undefined // its next token
    const reasons = pair.lines.filter(({ message }) => message === 'a caller has lapsed').map(({ fields }) => fields.reason)
    assert.deepEqual(reasons.toSorted(), ['its pod is gone', 'its token has expired'])
    await until('the one with a new token is back', () => renews.pushes.length === before + WILDCARD.length)
    assert.deepEqual(
      renews.pushes.slice(before).map(({ push }) => push),
      WILDCARD.map(() => ({ upserts: [], removes: [] })),
    )
    await until('the other is refused', () => pair.lines.some(({ fields }) => fields.reason === 'gone'))
    assert.deepEqual(
      pair.server
        .clients()
        .map(({ caller }) => caller)
        .toSorted(),
      ['renews', 'stays'],
    )
    assert.ok(pair.server.clients().some(({ id, caller }) => caller === 'stays' && ids.includes(id)))
    assert.equal(goes.held.get(THINGS)?.size, 2, 'what it holds stays in force')
  })
})
