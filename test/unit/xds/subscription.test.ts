// What a client gets that asks by a group's name: all of the group as it fills, changes and empties, and nothing of others.
import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import { success } from '../../../kit/error.ts'
import type { XdsCaller } from '../../../xds/delta-server.ts'
import { PushStore, type ServedResource } from '../../../xds/push-source.ts'
import { resource, type TestClient, until, XdsPair } from '../../support/xds-pair.ts'

const ADDRESSES = 'type.googleapis.com/test.Address'
const ROUTES = 'type.googleapis.com/test.Route'
const MINE = 'gateway/shop/mine'
const OTHER = 'gateway/shop/other'
const KINDS = [
  { typeUrl: ADDRESSES, mode: 'wildcard' },
  { typeUrl: ROUTES, mode: 'on-demand' },
] as const

function put(store: PushStore, changes: Record<string, ServedResource | undefined>): number {
  return store.update(new Map([[ROUTES, new Map(Object.entries(changes))]]))
}

const inGroups = (text: string, ...groups: string[]): ServedResource => resource(text, { groups })
const heldBy = (one: TestClient): string =>
  [...(one.held.get(ROUTES) ?? [])]
    .map(([name, text]) => `${name}=${text}`)
    .sort()
    .join(' ')

/** A caller that may ask for every address and, of routes, for one group. */
function callerOf(token: string): XdsCaller {
  const [, gateway = ''] = token.split(':')
  const mayDemand = (typeUrl: string, name: string | undefined): boolean =>
    typeUrl === ADDRESSES || (gateway !== '' && (name === undefined || name === `gateway/${gateway}`))
  return { key: token, label: token, gateway: gateway === '' ? undefined : gateway, mayDemand }
}

async function start(): Promise<XdsPair> {
  const store = new PushStore([ADDRESSES, ROUTES])
  return XdsPair.start(store, { authenticate: async (token) => success(callerOf(token)) })
}

function connect(pair: XdsPair, gateway: string, ...names: readonly string[]): TestClient {
  const one = pair.connect({ kinds: [...KINDS], token: () => `good:${gateway}` })
  for (const name of names) one.client.demand(ROUTES, name)
  return one
}

const settled = (pair: XdsPair): Promise<void> =>
  until('everything is answered', () => pair.server.clients().length > 0 && pair.server.lagging(pair.store.revision).length === 0)

describe('xds: subscription to a group', () => {
  it('starts empty, says so, and fills later; follows changes and removals', async () => {
    await using pair = await start()
    const one = connect(pair, 'shop/mine', MINE)
    await until('the empty answer', () => one.pushes.some(({ typeUrl, push }) => typeUrl === ROUTES && push.removes.includes(MINE)))
    put(pair.store, { a: inGroups('1', MINE), b: inGroups('1', OTHER) })
    await until('filled', () => heldBy(one) === 'a=1')
    put(pair.store, { a: inGroups('2', MINE), c: inGroups('1', MINE, OTHER) })
    await until('changed', () => heldBy(one) === 'a=2 c=1')
    put(pair.store, { a: undefined })
    await until('removed', () => heldBy(one) === 'c=1')
    put(pair.store, { c: undefined, b: inGroups('2', OTHER) })
    await until('emptied', () => heldBy(one) === '')
    put(pair.store, { a: inGroups('3', MINE) })
    await until('filled again', () => heldBy(one) === 'a=3')
    assert.ok(!one.pushes.some(({ push }) => push.upserts.some(({ name }) => name === 'b')), 'nothing of the other group')
  })

  it('gives what is there at once, and after a reconnect only what changed', async () => {
    await using pair = await start()
    put(pair.store, { a: inGroups('1', MINE), b: inGroups('1', MINE), x: inGroups('1', OTHER) })
    const one = connect(pair, 'shop/mine', MINE)
    await until('filled', () => heldBy(one) === 'a=1 b=1')
    pair.isRefusing = true
    pair.cut()
    await until('disconnected', () => !one.client.state.isConnected)
    put(pair.store, { a: inGroups('1', OTHER), b: inGroups('2', MINE), x: inGroups('2', OTHER) })
    const before = one.pushes.length
    pair.isRefusing = false
    await until('caught up', () => heldBy(one) === 'b=2')
    const names = one.pushes.slice(before).flatMap(({ push }) => push.upserts.map(({ name }) => name))
    assert.deepEqual(names, ['b'])
  })

  it('brings a resource that joins the group with unchanged bytes, and takes it away when it leaves', async () => {
    await using pair = await start()
    put(pair.store, { a: inGroups('1', OTHER) })
    const one = connect(pair, 'shop/mine', MINE)
    const two = connect(pair, 'shop/other', OTHER)
    await until('the owner has it', () => heldBy(two) === 'a=1')
    put(pair.store, { a: inGroups('1', OTHER, MINE) })
    await until('joined', () => heldBy(one) === 'a=1')
    put(pair.store, { a: inGroups('1', OTHER) })
    await until('left', () => heldBy(one) === '')
    assert.equal(heldBy(two), 'a=1')
    const pushes = one.pushes.length
    put(pair.store, { a: inGroups('2', OTHER) })
    await until('the owner follows it', () => heldBy(two) === 'a=2')
    await settled(pair)
    assert.equal(one.pushes.length, pushes, 'who has lost it hears of it no more')
  })

  it('never shows a resource that was removed and came back in another group while an answer was awaited', async () => {
    await using pair = await start()
    put(pair.store, { a: inGroups('1', MINE), busy: inGroups('1', MINE) })
    const one = connect(pair, 'shop/mine', MINE)
    await until('filled', () => heldBy(one) === 'a=1 busy=1')
    // The first change is under way when the others come: they are gathered and sent together.
    put(pair.store, { busy: inGroups('2', MINE) })
    put(pair.store, { a: undefined })
    put(pair.store, { a: inGroups('secret', OTHER) })
    await until('all sent', () => heldBy(one) === 'busy=2')
    await settled(pair)
    assert.ok(!one.pushes.some(({ push }) => push.upserts.some(({ bytes }) => Buffer.from(bytes).toString() === 'secret')))
  })

  const REFUSED = [
    { name: 'another gateway', gateway: 'shop/mine', asks: OTHER },
    { name: 'a resource by its own name', gateway: 'shop/mine', asks: 'a' },
    { name: 'a gateway, as a node’s proxy', gateway: '', asks: MINE },
    { name: 'no name at all, as a node’s proxy', gateway: '', asks: undefined },
  ]
  for (const { name, gateway, asks } of REFUSED) {
    it(`does not permit ${name}: the stream ends with the reason, and nothing is sent`, async () => {
      await using pair = await start()
      put(pair.store, { a: inGroups('1', MINE), b: inGroups('1', OTHER) })
      const one = connect(pair, gateway, ...(asks === undefined ? [] : [asks]))
      await until('refused', () => pair.lines.some(({ message }) => message === 'a subscription is not permitted'))
      await until('told', () => pair.lines.some(({ fields }) => /7 PERMISSION_DENIED: NOT permitted/.test(String(fields.error))))
      assert.equal(heldBy(one), '')
    })
  }

  it('does not permit a wildcard, nor a further name on a running stream', async () => {
    await using pair = await start()
    put(pair.store, { a: inGroups('1', MINE), b: inGroups('1', OTHER) })
    const refusals = (): number => pair.lines.filter(({ message }) => message === 'a subscription is not permitted').length
    const all = pair.connect({ kinds: [{ typeUrl: ROUTES, mode: 'wildcard' }], token: () => 'good:shop/mine' })
    await until('wildcard refused', () => refusals() > 0)
    assert.equal(all.pushes.length, 0)
    all.client.stop()
    const one = connect(pair, 'shop/mine', MINE)
    await until('filled', () => heldBy(one) === 'a=1')
    const before = refusals()
    one.client.demand(ROUTES, OTHER)
    await until('refused', () => refusals() > before)
    assert.equal(heldBy(one), 'a=1')
  })

  it('tells when clients that serve a gateway answer, change and go', async () => {
    let told = 0
    const store = new PushStore([ADDRESSES, ROUTES])
    const options = { authenticate: async (token: string) => success(callerOf(token)), onGatewayClients: () => void told++ }
    await using pair = await XdsPair.start(store, options)
    const node = pair.connect({ kinds: [{ typeUrl: ADDRESSES, mode: 'wildcard' }], token: () => 'good:' })
    await until('node synced', () => node.client.state.isSynced)
    assert.equal(told, 0)
    const one = connect(pair, 'shop/mine', MINE)
    await until('answered', () => told > 0)
    assert.deepEqual(
      pair.server.gatewayClients().map(({ gateway }) => gateway),
      ['shop/mine'],
    )
    const before = told
    put(store, { a: inGroups('1', MINE) })
    assert.equal(told, before + 1)
    await until('held', () => heldBy(one) === 'a=1')
    one.client.stop()
    await until('gone', () => pair.server.gatewayClients().length === 0)
  })
})
