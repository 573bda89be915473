// Who may be the node's ztunnel and what it is told: snapshots, newest connection, removals, groups in the kernel.
import assert from 'node:assert/strict'
import type { PodPlace } from '../../../cni/pods.ts'
import { fixedGroup } from '../../../cni/proxy-groups.ts'
import { type ZtunnelConnection, Ztunnels } from '../../../cni/ztunnels.ts'
import { codeOf } from '../../../kit/error.ts'
import type { IpAddress } from '../../../model/address.ts'
import { zdsFailure } from '../../../zds/errors.ts'
import type { ZdsRequest } from '../../../zds/messages.ts'
import { FakeClock, settle } from '../../support/fake-clock.ts'
import { silentLog } from '../../support/netns-lab.ts'

const GROUP = '/cg/node-1/ztunnel'

const pod = (uid: string): PodPlace => ({
  uid,
  namespace: 'shop',
  name: uid,
  serviceAccount: 'default',
  netns: `/run/netns/${uid}`,
  netnsInode: 1n,
  cookie: 1n,
  ips: ['10.0.0.1' as IpAddress],
  hostIfindex: 1,
  bypassesInbound: false,
})

/** A ztunnel that writes down what it is told. */
class FakeConnection implements ZtunnelConnection {
  readonly id: number
  readonly peer: { pid: number; uid: number; gid: number }
  readonly told: string[] = []
  readonly closed: Promise<void>
  readonly nacks = new Set<string>()
  isOpen = true
  #resolve: () => void
  constructor(id: number, pid = 100) {
    this.id = id
    this.peer = { pid, uid: 0, gid: 0 }
    const { promise, resolve } = Promise.withResolvers<void>()
    this.closed = promise
    this.#resolve = resolve
  }

  async send(request: ZdsRequest, fd?: number): Promise<void> {
    if (!this.isOpen) throw zdsFailure('ZDS_CLOSED')
    assert.equal(fd !== undefined, request.kind === 'add')
    const uid = 'uid' in request ? request.uid : ''
    this.told.push(`${request.kind} ${uid}`.trim())
    await settle()
    if (!this.isOpen) throw zdsFailure('ZDS_CLOSED')
    if (this.nacks.has(uid)) throw zdsFailure('ZDS_NACK', { reason: 'port 15001 is in use' })
  }

  close(): void {
    this.isOpen = false
    this.#resolve()
  }
}

class Bench {
  readonly clock = new FakeClock()
  readonly groups = new Map([[100, GROUP]])
  readonly kernel: string[] = []
  readonly lost: string[] = []
  readonly states: boolean[] = []
  refused = 0
  opened = 0
  isPopulated = true
  readonly ztunnels = new Ztunnels({
    datapath: { addProxyCgroup: (id) => void this.kernel.push(`+${id}`), removeProxyCgroup: (id) => void this.kernel.push(`-${id}`) },
    cgroups: {
      idOf: () => 77n,
      isPopulated: () => this.isPopulated,
    },
    groups: fixedGroup(
      GROUP,
      (pid) => {
        const group = this.groups.get(pid)
        if (group === undefined) throw Object.assign(new Error('gone'), { code: 'ENOENT' })
        return group
      },
      () => 77n,
    ),
    log: silentLog,
    clock: this.clock,
    onRefused: () => this.refused++,
    onLost: (uid) => void this.lost.push(uid),
    onChange: (isConnected) => void this.states.push(isConnected),
    open: () => {
      this.opened++
      return { fd: 3, [Symbol.dispose]: () => this.opened-- }
    },
  })

  async connect(id: number, pid = 100): Promise<FakeConnection> {
    const connection = new FakeConnection(id, pid)
    this.ztunnels.accept(connection)
    for (let i = 0; i < 10; i++) await settle()
    return connection
  }
}

const never = new AbortController().signal

describe('cni/ztunnels', () => {
  it('turns away processes of other groups and those that are gone', async () => {
    const bench = new Bench()
    bench.groups.set(200, '/cg/node-1/pods/x').set(201, `${GROUP}/nested`)
    for (const pid of [200, 201, 999]) assert.equal((await bench.connect(pid, pid)).isOpen, false)
    assert.deepEqual([bench.refused, bench.kernel, bench.ztunnels.isConnected()], [3, [], false])
  })

  it('puts the group into the kernel before the first pod is announced', async () => {
    const bench = new Bench()
    bench.ztunnels.expect(pod('a'))
    const connection = new FakeConnection(1)
    bench.ztunnels.accept(connection)
    assert.deepEqual(bench.kernel, ['+77'])
    for (let i = 0; i < 10; i++) await settle()
    assert.deepEqual(connection.told, ['add a', 'snapshot-sent'])
    assert.deepEqual(bench.states, [true])
    assert.equal(bench.opened, 0, 'a namespace was left open')
  })

  it('tells new pods to the newest, removals to all', async () => {
    const bench = new Bench()
    const old = await bench.connect(1)
    const newest = await bench.connect(2)
    await bench.ztunnels.add(pod('a'), never)
    await bench.ztunnels.remove('a')
    await bench.ztunnels.remove('a')
    assert.deepEqual(old.told, ['snapshot-sent', 'del a'])
    assert.deepEqual(newest.told, ['snapshot-sent', 'add a', 'del a'])
  })

  it('gives the older one a snapshot when the newest leaves', async () => {
    const bench = new Bench()
    const old = await bench.connect(1)
    const newest = await bench.connect(2)
    await bench.ztunnels.add(pod('a'), never)
    newest.close()
    for (let i = 0; i < 10; i++) await settle()
    assert.deepEqual(old.told, ['snapshot-sent', 'add a', 'snapshot-sent'])
    assert.equal(bench.ztunnels.isConnected(), true)
  })

  it('waits 5 s for a ztunnel', async () => {
    const bench = new Bench()
    const failed = bench.ztunnels.add(pod('a'), never).then(
      () => 'added',
      (error: unknown) => codeOf(error),
    )
    await bench.clock.advance(4_999)
    assert.equal(bench.clock.pending, 1)
    await bench.clock.advance(2)
    assert.equal(await failed, 'NO_ZTUNNEL')
    const added = bench.ztunnels.add(pod('a'), never)
    await bench.clock.advance(1_000)
    await bench.connect(1)
    await added
  })

  it('announces to the next one when one dies meanwhile', async () => {
    const bench = new Bench()
    const first = await bench.connect(1)
    const added = bench.ztunnels.add(pod('a'), never)
    first.close()
    await settle()
    const second = await bench.connect(2)
    await added
    assert.ok(second.told.includes('add a'))
  })

  it('hands on a refusal; in a snapshot it goes on with the rest', async () => {
    const bench = new Bench()
    const connection = await bench.connect(1)
    connection.nacks.add('a')
    await assert.rejects(bench.ztunnels.add(pod('a'), never), (error) => codeOf(error) === 'ZDS_NACK')
    bench.ztunnels.expect(pod('b'))
    const next = new FakeConnection(2)
    next.nacks.add('a')
    bench.ztunnels.accept(next)
    for (let i = 0; i < 10; i++) await settle()
    assert.deepEqual(next.told, ['add a', 'add b', 'snapshot-sent'])
    assert.deepEqual(bench.lost, ['a'])
  })

  it('does not announce what was taken back while the snapshot ran', async () => {
    const bench = new Bench()
    for (const uid of ['a', 'b', 'c']) bench.ztunnels.expect(pod(uid))
    const connection = new FakeConnection(1)
    bench.ztunnels.accept(connection)
    await bench.ztunnels.remove('c')
    for (let i = 0; i < 10; i++) await settle()
    assert.deepEqual(connection.told, ['add a', 'del c', 'add b', 'snapshot-sent'])
  })

  it('keeps the group while a process is in it', async () => {
    const bench = new Bench()
    const connection = await bench.connect(1)
    bench.ztunnels.dropDeadGroups()
    connection.close()
    await settle()
    assert.deepEqual(bench.kernel, ['+77'])
    bench.isPopulated = false
    bench.ztunnels.dropDeadGroups()
    bench.ztunnels.dropDeadGroups()
    assert.deepEqual(bench.kernel, ['+77', '-77'])
  })

  it('takes over the group of an earlier process, and writes it into new maps', () => {
    const bench = new Bench()
    bench.ztunnels.adopt()
    bench.ztunnels.restoreGroups()
    bench.isPopulated = false
    bench.ztunnels.dropDeadGroups()
    assert.deepEqual(bench.kernel, ['+77', '-77'])
  })
})
