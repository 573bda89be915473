// ZDS over real sockets with real namespace descriptors: both ends of ours against each other, then each against a peer
// that breaks the rules. Descriptors are counted through /proc/self/fd.
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { pause, systemClock } from '../../kit/clock.ts'
import { codeOf } from '../../kit/error.ts'
import { type Netns, openNetns } from '../../linux/netns.ts'
import { type SeqpacketSocket, SeqpacketThread } from '../../linux/seqpacket.ts'
import { decodeRequest, encodeAck, encodeHello, encodeRequest } from '../../zds/messages.ts'
import { type ZdsConnection, ZdsServer } from '../../zds/server.ts'
import { silentLog } from '../support/netns-lab.ts'
import { Agent, descriptors, RawAgent, RawZtunnel, socketPath, until, Ztunnel } from '../support/zds-ends.ts'

const NAME = `wzd${process.pid}`
const DIRECTORY = mkdtempSync(`/tmp/${NAME}-`)
const INFO = { name: 'web', namespace: 'shop', serviceAccount: 'default' }
describe('zds', () => {
  let pod: Netns
  let before_: string[]
  before(async () => {
    execFileSync('ip', ['netns', 'add', NAME])
    pod = openNetns(`/run/netns/${NAME}`)
    await new SeqpacketThread().stop() // what Node opens once for workers is open from here on
  })
  after(() => {
    pod[Symbol.dispose]()
    execFileSync('ip', ['netns', 'del', NAME])
    rmSync(DIRECTORY, { recursive: true })
  })
  beforeEach(() => {
    before_ = descriptors()
  })
  afterEach(() => {
    assert.deepEqual(descriptors(), before_, 'a descriptor was left open')
  })

  it('announces pods with their namespaces, each acknowledged, in order', async () => {
    await using agent = new Agent(socketPath(DIRECTORY))
    await using ztunnel = new Ztunnel(agent.path)
    const connection = await agent.connection()
    assert.deepEqual({ ...connection.peer }, { pid: process.pid, uid: 0, gid: 0 })
    const sent = [
      connection.send({ kind: 'add', uid: 'u1', info: INFO }, pod.fd),
      connection.send({ kind: 'keep', uid: 'u2' }),
      connection.send({ kind: 'snapshot-sent' }),
      connection.send({ kind: 'del', uid: 'u1' }),
    ]
    await Promise.all(sent)
    assert.deepEqual(
      ztunnel.received.map((request) => request.kind),
      ['add', 'keep', 'snapshot-sent', 'del'],
    )
    assert.equal(ztunnel.received[0]?.netns?.inode, pod.inode)
    assert.notEqual(ztunnel.received[0]?.netns?.fd, pod.fd)
    assert.deepEqual(ztunnel.received[0]?.kind === 'add' ? ztunnel.received[0].info : undefined, INFO)
    assert.deepEqual(ztunnel.states, [true])
  })

  it('has one message in flight and takes a slow ack', async () => {
    await using agent = new Agent(socketPath(DIRECTORY))
    let atOnce = 0
    let most = 0
    await using ztunnel = new Ztunnel(agent.path, async () => {
      most = Math.max(most, ++atOnce)
      await pause(systemClock, 20)
      atOnce--
    })
    const connection = await agent.connection()
    await Promise.all(Array.from({ length: 20 }, (_, i) => connection.send({ kind: 'add', uid: `u${i}` }, pod.fd)))
    assert.equal(most, 1)
    assert.equal(ztunnel.received.length, 20)
  })

  it('hands a failure back as a nack and goes on', async () => {
    await using agent = new Agent(socketPath(DIRECTORY))
    await using ztunnel = new Ztunnel(agent.path, async (request) => {
      if (request.kind === 'add') throw new Error('port 15001 is in use')
    })
    const connection = await agent.connection()
    await assert.rejects(
      connection.send({ kind: 'add', uid: 'u1' }, pod.fd),
      (error) => codeOf(error) === 'ZDS_NACK' && /15001/.test(String(error)),
    )
    await connection.send({ kind: 'snapshot-sent' })
    assert.equal(ztunnel.received.length, 2)
  })

  it('gives up on an ack after 5 s, and closes the connection', async () => {
    await using agent = new Agent(socketPath(DIRECTORY))
    await using raw = new RawZtunnel(agent.path)
    raw.socket.send(encodeHello())
    const connection = await agent.connection()
    const began = systemClock.monotonicMs()
    const next = connection.send({ kind: 'keep', uid: 'u1' })
    const after = connection.send({ kind: 'snapshot-sent' })
    after.catch(() => undefined)
    await assert.rejects(next, (error) => codeOf(error) === 'ZDS_TIMEOUT')
    const took = systemClock.monotonicMs() - began
    assert.ok(took > 4900 && took < 6000, `${took} ms`)
    await assert.rejects(after, (error) => codeOf(error) === 'ZDS_CLOSED')
    await connection.closed
    await until(() => raw.isEnded, 'the peer sees the end')
    await assert.rejects(connection.send({ kind: 'snapshot-sent' }), (error) => codeOf(error) === 'ZDS_CLOSED')
  })

  it('rejects what is under way when the peer dies', async () => {
    await using agent = new Agent(socketPath(DIRECTORY))
    const script = `
      import { SeqpacketThread } from '${new URL('../../linux/seqpacket.ts', import.meta.url).pathname}'
      const socket = new SeqpacketThread().connect('${agent.path}')
      socket.read({ onPacket() { process.kill(process.pid, 'SIGKILL') }, onEnd() {} })
      socket.send(Uint8Array.of(8, 1))`
    const child = spawn(process.execPath, ['-e', script], { stdio: 'inherit' })
    const gone = new Promise((resolve) => child.once('exit', resolve))
    const connection = await agent.connection()
    assert.equal(connection.peer.pid, child.pid)
    await assert.rejects(connection.send({ kind: 'add', uid: 'u1' }, pod.fd), (error) => codeOf(error) === 'ZDS_CLOSED')
    await connection.closed
    await gone
  })

  it('reconnects with back-off and says so', async () => {
    const path = socketPath(DIRECTORY)
    await using ztunnel = new Ztunnel(path)
    await pause(systemClock, 50)
    for (let round = 1; round <= 3; round++) {
      const connections: ZdsConnection[] = []
      const server = ZdsServer.listen({ path, log: silentLog, onConnection: (connection) => void connections.push(connection) })
      await until(() => connections.length === 1, `connection of round ${round}`)
      await connections[0]!.send({ kind: 'snapshot-sent' })
      await server.close()
      await until(() => ztunnel.states.length === 2 * round, 'state')
    }
    assert.deepEqual(ztunnel.states, [true, false, true, false, true, false])
  })

  const BAD_REQUESTS: readonly { name: string; send: (socket: SeqpacketSocket) => void }[] = [
    { name: 'add without a descriptor', send: (socket) => socket.send(encodeRequest({ kind: 'add', uid: 'u' })) },
    { name: 'add with two descriptors', send: (socket) => socket.send(encodeRequest({ kind: 'add', uid: 'u' }), pod.fd, pod.fd) },
    {
      name: 'add with more descriptors than are read',
      send: (socket) => socket.send(encodeRequest({ kind: 'add', uid: 'u' }), ...Array<number>(9).fill(pod.fd)),
    },
    { name: 'keep with a descriptor', send: (socket) => socket.send(encodeRequest({ kind: 'keep', uid: 'u' }), pod.fd) },
    { name: 'snapshot-sent with a descriptor', send: (socket) => socket.send(encodeRequest({ kind: 'snapshot-sent' }), pod.fd) },
    { name: 'a descriptor in an empty packet', send: (socket) => socket.send(Buffer.alloc(0), pod.fd) },
    { name: 'a packet of 1025 bytes', send: (socket) => socket.send(Buffer.alloc(1025, 0x0a), pod.fd) },
    { name: 'noise', send: (socket) => socket.send(Buffer.from('ffffffff', 'hex'), pod.fd) },
    {
      name: 'a descriptor that is no namespace',
      send: (socket) => {
        const file = openSync('/dev/null', 'r')
        socket.send(encodeRequest({ kind: 'add', uid: 'u' }), file)
        closeSync(file)
      },
    },
  ]
  for (const row of BAD_REQUESTS) {
    it(`ztunnel refuses ${row.name} and closes what came with it`, async () => {
      await using agent = new RawAgent(socketPath(DIRECTORY))
      await using ztunnel = new Ztunnel(agent.path)
      const peer = await agent.peer()
      row.send(peer.socket)
      await until(() => peer.isEnded, 'the connection is closed')
      assert.match(Buffer.from(peer.packets[1]!.bytes).toString('latin1'), /protocol|network namespace/)
      assert.deepEqual(ztunnel.received, [])
      const again = await agent.peer(2) // and comes again
      again.socket.send(encodeRequest({ kind: 'add', uid: 'u' }), pod.fd)
      await until(() => again.packets.length === 2, 'ack')
      assert.equal(ztunnel.received.length, 1)
    })
  }

  it('ztunnel refuses a second request before it has acknowledged the first', async () => {
    await using agent = new RawAgent(socketPath(DIRECTORY))
    await using ztunnel = new Ztunnel(agent.path, () => pause(systemClock, 300))
    const peer = await agent.peer()
    peer.socket.send(encodeRequest({ kind: 'add', uid: 'u1' }), pod.fd)
    peer.socket.send(encodeRequest({ kind: 'add', uid: 'u2' }), pod.fd)
    await until(() => peer.isEnded, 'the connection is closed')
    assert.deepEqual(
      ztunnel.received.map((request) => request.kind === 'add' && request.uid),
      ['u1'],
    )
  })

  const BAD_PEERS: readonly { name: string; send: (socket: SeqpacketSocket) => void }[] = [
    { name: 'noise instead of hello', send: (socket) => socket.send(Buffer.from('ff', 'hex')) },
    { name: 'hello of another version', send: (socket) => socket.send(Buffer.from('0802', 'hex')) },
    { name: 'hello with a descriptor', send: (socket) => socket.send(encodeHello(), pod.fd) },
    { name: 'an ack before hello', send: (socket) => socket.send(encodeAck()) },
    { name: 'nothing but the end', send: (socket) => socket.close() },
  ]
  for (const row of BAD_PEERS) {
    it(`the agent refuses ${row.name}`, async () => {
      await using agent = new Agent(socketPath(DIRECTORY))
      await using raw = new RawZtunnel(agent.path)
      row.send(raw.socket)
      await until(() => raw.isEnded, 'the connection is closed')
      assert.equal(agent.connections.length, 0)
    })
  }

  const BAD_ACKS: readonly { name: string; send: (socket: SeqpacketSocket) => void }[] = [
    { name: 'an ack with a descriptor', send: (socket) => socket.send(encodeAck(), pod.fd) },
    { name: 'an oversized ack', send: (socket) => socket.send(Buffer.concat([encodeAck(), Buffer.alloc(1200)])) },
    { name: 'noise', send: (socket) => socket.send(Buffer.from('ff', 'hex')) },
    {
      name: 'two acks for one request',
      send: (socket) => {
        socket.send(encodeAck())
        socket.send(encodeAck())
      },
    },
  ]
  for (const row of BAD_ACKS) {
    it(`the agent ends a connection that answers with ${row.name}`, async () => {
      await using agent = new Agent(socketPath(DIRECTORY))
      await using raw = new RawZtunnel(agent.path)
      raw.socket.send(encodeHello())
      const connection = await agent.connection()
      const sent = connection.send({ kind: 'keep', uid: 'u' }).catch(() => undefined)
      await until(() => raw.packets.length === 1, 'request')
      assert.deepEqual(decodeRequest(raw.packets[0]!.bytes), { ok: true, value: { kind: 'keep', uid: 'u' } })
      row.send(raw.socket)
      await connection.closed
      await sent
    })
  }

  it('the agent waits 5 s for a hello', async () => {
    await using agent = new Agent(socketPath(DIRECTORY))
    await using raw = new RawZtunnel(agent.path)
    await until(() => raw.isEnded, 'the connection is closed', 7000)
    assert.equal(agent.connections.length, 0)
  })

  it('a flood of connections is accepted slowly and up to a limit', async () => {
    await using agent = new Agent(socketPath(DIRECTORY))
    const thread = new SeqpacketThread()
    const ends: number[] = []
    let failed = 0
    for (let i = 0; i < 40; i++) {
      try {
        const socket = thread.connect(agent.path)
        socket.read({ onPacket: () => undefined, onEnd: () => void ends.push(i) })
        socket.send(encodeHello())
      } catch {
        failed++ // the backlog is full
      }
    }
    assert.ok(failed >= 20, `${failed}`)
    await pause(systemClock, 1100)
    assert.ok(agent.connections.length >= 4 && agent.connections.length <= 8, `${agent.connections.length}`)
    await thread.stop()
  })

  it('thirty connections and 150 namespaces leave no descriptor open', async () => {
    await using agent = new RawAgent(socketPath(DIRECTORY))
    await using ztunnel = new Ztunnel(agent.path, async (request) => void request.netns?.[Symbol.dispose]())
    for (let round = 1; round <= 30; round++) {
      const peer = await agent.peer(round)
      for (let i = 1; i <= 5; i++) {
        peer.socket.send(encodeRequest({ kind: 'add', uid: `u${i}` }), pod.fd)
        await until(() => peer.packets.length === i + 1, 'ack')
      }
      peer.socket.close()
    }
    assert.equal(ztunnel.received.length, 150)
  })

  it('lets a process exit while it listens', async () => {
    const script = `
      import { SeqpacketThread } from '${new URL('../../linux/seqpacket.ts', import.meta.url).pathname}'
      const thread = new SeqpacketThread()
      thread.listen('${join(DIRECTORY, 'exit.sock')}', { onConnection() {}, onError() {} })
      setTimeout(() => process.exit(7), 200)`
    const child = spawn(process.execPath, ['-e', script], { stdio: 'inherit' })
    const began = systemClock.monotonicMs()
    const code = await new Promise((resolve) => child.once('exit', resolve))
    assert.equal(code, 7)
    assert.ok(systemClock.monotonicMs() - began < 3000)
  })
})
