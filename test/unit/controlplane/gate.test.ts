// The door of the gRPC port: an address that floods loses its connections and is let in again later; others notice nothing.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { Server, ServerCredentials } from '@grpc/grpc-js'
import { describe, it } from 'mocha'
import { Gate, LONGEST_SHUT_MS, SHUT_MS } from '../../../controlplane/gate.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { keptLog } from '../../support/xds-pair.ts'

const HOSTILE = '127.0.0.9'
const OTHER = '127.0.0.8'

class Stage implements Disposable {
  readonly clock = new FakeClock()
  readonly log = keptLog()
  readonly #server = new Server()
  readonly #sockets: Socket[] = []
  readonly gate = new Gate({ server: this.#server, credentials: ServerCredentials.createInsecure(), log: this.log.log, clock: this.clock })
  #port = 0

  async open(): Promise<this> {
    this.#port = await this.gate.listen('127.0.0.1:0')
    return this
  }

  /** Connects from an address. @returns whether gRPC's settings come, or the connection is ended instead */
  async connect(localAddress: string): Promise<{ readonly isTaken: boolean; readonly socket: Socket }> {
    const socket = connect({ host: '127.0.0.1', port: this.#port, localAddress })
    this.#sockets.push(socket)
    socket.on('error', () => undefined) // a reset is an answer too
    await once(socket, 'connect')
    socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
    const isTaken = await Promise.race([once(socket, 'data').then(() => true), once(socket, 'close').then(() => false)])
    return { isTaken, socket }
  }

  [Symbol.dispose](): void {
    for (const socket of this.#sockets) socket.destroy()
    this.gate[Symbol.dispose]()
    this.#server.forceShutdown()
  }
}

describe('controlplane/gate', () => {
  it('ends the connections of an address that floods, takes none for a while, and leaves others alone', async () => {
    using stage = await new Stage().open()
    const hostile = await stage.connect(HOSTILE)
    const other = await stage.connect(OTHER)
    assert.ok(hostile.isTaken && other.isTaken)
    stage.gate.shutOut(HOSTILE)
    await once(hostile.socket, 'close')
    assert.equal((await stage.connect(HOSTILE)).isTaken, false)
    assert.equal((await stage.connect(OTHER)).isTaken, true)
    assert.equal(other.socket.closed, false)
    await stage.clock.advance(SHUT_MS - 1)
    assert.equal((await stage.connect(HOSTILE)).isTaken, false)
    await stage.clock.advance(1)
    assert.equal((await stage.connect(HOSTILE)).isTaken, true)
    assert.equal(stage.log.lines.length, 1)
  })

  it('shuts out for longer each time, up to a limit, and forgets', async () => {
    using stage = await new Stage().open()
    const told: unknown[] = []
    for (let i = 0; i < 6; i++) {
      stage.gate.shutOut(HOSTILE)
      stage.gate.shutOut(HOSTILE) // a request that was under way
      told.push(stage.log.lines.at(-1)?.fields.forMs)
      await stage.clock.advance(LONGEST_SHUT_MS)
    }
    assert.deepEqual(told, [10_000, 20_000, 40_000, 80_000, 160_000, 160_000])
    assert.equal(stage.log.lines.length, 6)
    await stage.clock.advance(600_000)
    stage.gate.shutOut(HOSTILE)
    assert.equal(stage.log.lines.at(-1)?.fields.forMs, SHUT_MS)
  })

  it('says when its port cannot be had', async () => {
    using first = await new Stage().open()
    assert.ok(first)
    using second = new Stage()
    await assert.rejects(second.gate.listen('192.0.2.1:1'), { code: 'LISTEN_FAILED' })
  })
})
