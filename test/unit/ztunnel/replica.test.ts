// On-demand: addresses that a data thread does not know are asked for when they are dialled. The real replica and the real xDS client
// against the real delta server; follows istio/ztunnel:src/xds/client.rs (test_on_demand_handling, reconnects).
import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import type { IpAddress } from '../../../model/address.ts'
import type { Workload } from '../../../model/workload.ts'
import { ADDRESS_TYPE, AUTHORIZATION_TYPE } from '../../../xds/kinds.ts'
import { decodeMeshPush } from '../../../xds/mesh-push.ts'
import { PushStore } from '../../../xds/push-source.ts'
import { encodeWorkload } from '../../../xds/resource/address.ts'
import { Replica } from '../../../ztunnel/replica.ts'
import { systemClock } from '../../../kit/clock.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { workloadOf } from '../../support/mesh-values.ts'
import { type TestClient, until, XdsPair } from '../../support/xds-pair.ts'

const WAIT_MS = 5000
const ipOf = (text: string): IpAddress => text as IpAddress

class Node implements AsyncDisposable {
  readonly clock = new FakeClock()
  readonly store = new PushStore([AUTHORIZATION_TYPE, ADDRESS_TYPE])
  readonly replica: Replica
  readonly pair: XdsPair
  readonly proxy: TestClient

  private constructor(pair: XdsPair, store: PushStore) {
    this.store = store
    this.pair = pair
    this.replica = new Replica(this.clock, (name) => this.proxy.client.demand(ADDRESS_TYPE, name))
    this.proxy = pair.connect({
      kinds: [
        { typeUrl: AUTHORIZATION_TYPE, mode: 'wildcard' },
        { typeUrl: ADDRESS_TYPE, mode: 'on-demand' },
      ],
      onPush: (typeUrl, push) => {
        const { change, errors } = decodeMeshPush(typeUrl, push)
        this.replica.apply(change)
        return errors
      },
    })
  }

  static async start(limits: { messagesPer10S?: number } = {}): Promise<Node> {
    const store = new PushStore([AUTHORIZATION_TYPE, ADDRESS_TYPE])
    const node = new Node(await XdsPair.start(store, { limits }), store)
    await until('synced', () => node.proxy.client.state.isSynced)
    return node
  }

  put(name: string, ip: string, change: Partial<Workload> = {}, isThere = true): void {
    const workload = workloadOf(name, [ip], change)
    const bytes = encodeWorkload(workload)
    const version = `${name} ${JSON.stringify(change)}`
    const resource = isThere ? { version, bytes, aliases: [`/${ip}`], groups: [] } : undefined
    this.store.update(new Map([[ADDRESS_TYPE, new Map([[workload.uid, resource]])]]))
  }

  wait(ip: string): Promise<Workload | undefined> {
    return this.replica.waitForWorkload('', ipOf(ip), WAIT_MS)
  }

  find(ip: string): Workload | undefined {
    return this.replica.workloadByAddress('', ipOf(ip))
  }

  /** The control plane has said that there is none. */
  async absent(ip: string): Promise<void> {
    await until('the answer', () => this.proxy.pushes.some(({ push }) => push.removes.includes(`/${ip}`)))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.pair[Symbol.asyncDispose]()
  }
}

describe('ztunnel/replica, on demand', () => {
  it('knows nothing that was not asked for; holds a connection until the answer is there', async () => {
    await using node = await Node.start()
    node.put('server', '10.244.1.5')
    node.put('other', '10.244.1.6')
    const found = await node.wait('10.244.1.5')
    assert.equal(found?.name, 'server')
    assert.equal(node.find('10.244.1.6'), undefined)
  })

  it('holds a connection to a pod that appears while it waits', async () => {
    await using node = await Node.start()
    const waiting = node.wait('10.244.1.5')
    await node.absent('10.244.1.5')
    await node.clock.advance(WAIT_MS - 1)
    node.put('late', '10.244.1.5')
    assert.equal((await waiting)?.name, 'late')
  })

  it('answers with nothing when the time is over: the connection is refused', async () => {
    await using node = await Node.start()
    let isOver = false
    const waiting = node.wait('10.244.1.9').finally(() => (isOver = true))
    await node.absent('10.244.1.9')
    await node.clock.advance(WAIT_MS - 1)
    assert.equal(isOver, false)
    await node.clock.advance(1)
    assert.equal(await waiting, undefined)
  })

  it('follows what it asked for, and tells when its address has gone', async () => {
    await using node = await Node.start()
    node.put('server', '10.244.1.5')
    await node.wait('10.244.1.5')
    const gone: string[] = []
    node.replica.onAddressesGone((addresses) => gone.push(...addresses))
    node.put('server', '10.244.1.5', { health: 'UNHEALTHY' })
    await until('changed', () => node.find('10.244.1.5')?.health === 'UNHEALTHY')
    assert.deepEqual(gone, [])
    node.put('server', '10.244.1.5', {}, false)
    await until('gone', () => node.find('10.244.1.5') === undefined)
    assert.deepEqual(gone, ['10.244.1.5'])
  })

  it('keeps what it knows over a reconnect, gets only what changed, and asks for what was dialled meanwhile', async () => {
    await using node = await Node.start()
    for (const [name, ip] of [
      ['same', '10.244.1.1'],
      ['changes', '10.244.1.2'],
      ['goes', '10.244.1.3'],
    ] as const) {
      node.put(name, ip)
      await node.wait(ip)
    }
    node.put('dialled', '10.244.1.4')
    node.pair.isRefusing = true
    node.pair.cut()
    await until('cut', () => !node.proxy.client.state.isConnected)
    const before = node.proxy.pushes.length
    assert.equal((await node.wait('10.244.1.1'))?.name, 'same')
    const waiting = node.wait('10.244.1.4')
    node.put('changes', '10.244.1.2', { health: 'UNHEALTHY' })
    node.put('goes', '10.244.1.3', {}, false)
    node.pair.isRefusing = false
    assert.equal((await waiting)?.name, 'dialled')
    await until('all is heard', () => node.find('10.244.1.3') === undefined && node.find('10.244.1.2')?.health === 'UNHEALTHY')
    const sent = node.proxy.pushes.slice(before).flatMap(({ push }) => push.upserts.map(({ name }) => name.split('/').at(-1)))
    assert.deepEqual(sent.toSorted(), ['changes', 'dialled'])
    assert.equal(node.find('10.244.1.1')?.name, 'same')
  })

  it('is not cut off by a pod that dials one address after the other', async () => {
    await using node = await Node.start({ messagesPer10S: 200 })
    node.put('server', '10.244.1.5')
    const streams = node.pair.server.clients().map(({ id }) => id)
    for (let i = 0; i < 1000; i++) {
      void node.wait(`10.200.${i >> 8}.${i & 255}`)
      if (i % 100 === 0) await new Promise((resolve) => systemClock.after(1, () => resolve(undefined)))
    }
    await node.absent('10.200.3.231')
    assert.equal((await node.wait('10.244.1.5'))?.name, 'server')
    assert.deepEqual(
      node.pair.server.clients().map(({ id }) => id),
      streams,
      'the same stream',
    )
    await node.clock.advance(WAIT_MS)
  })
})
