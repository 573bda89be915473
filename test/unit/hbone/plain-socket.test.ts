// A socket that reads once before it has a reader: nothing is lost, doubled or out of order, and an end or a reset that came meanwhile is told.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { adoptAccepted, type PlainReader, type PlainSocket } from '../../../hbone/plain-socket.ts'
import { isConnected, tcpConnect, tcpListen } from '../../../linux/socket.ts'
import type { IpAddress } from '../../../model/address.ts'
import { localAddress } from '../../../linux/socket.ts'
import { closeSync } from 'node:fs'
import { tcpPair } from '../../support/tls-pair.ts'
import { until } from '../../support/zds-ends.ts'

/** Writes down what it is told, in order. */
class Notes implements PlainReader {
  readonly events: string[] = []
  bytes = 0
  readonly #socket: PlainSocket

  constructor(socket: PlainSocket) {
    this.#socket = socket
  }

  onBlock(block: Parameters<PlainReader['onBlock']>[0], length: number): boolean {
    block.release()
    return this.#take(`block ${length}`, length)
  }

  onBytes(bytes: Buffer, length: number): boolean {
    return this.#take(length < 100 ? bytes.toString('latin1', 0, length) : `bytes ${length}`, length)
  }

  onEnd(): void {
    this.events.push('end')
    this.#socket.end()
  }

  onDrained(): void {
    // nothing is pushed
  }

  onClosed(error: Error | undefined): void {
    this.events.push(error === undefined ? 'closed' : 'failed')
  }

  #take(event: string, length: number): boolean {
    this.events.push(event)
    this.bytes += length
    return true
  }
}

describe('a socket that reads ahead', () => {
  it('gives what it has read first, within attach', async () => {
    const { app, ours } = await tcpPair()
    const socket = adoptAccepted(ours)
    socket.readAhead()
    app.write('first')
    await until(() => socket.bytesRead === 5, 'five bytes')
    app.end('second')
    const notes = new Notes(socket)
    socket.attach(notes)
    assert.deepEqual(notes.events, ['first'])
    await socket.closed
    assert.deepEqual(notes.events, ['first', 'second', 'end', 'closed'])
  })

  it('holds no more than one read, and loses nothing of a long stream', async () => {
    const { app, ours } = await tcpPair()
    const socket = adoptAccepted(ours)
    socket.readAhead()
    app.end(Buffer.alloc(5_000_000, 1))
    await until(() => socket.bytesRead > 0, 'bytes')
    assert.ok(socket.bytesRead <= 65_536)
    const notes = new Notes(socket)
    socket.attach(notes)
    await socket.closed
    assert.equal(notes.bytes, 5_000_000)
    assert.deepEqual(notes.events.slice(-2), ['end', 'closed'])
  })

  it('tells of an end that came before the reader', async () => {
    const { app, ours } = await tcpPair()
    const socket = adoptAccepted(ours)
    socket.readAhead()
    app.end()
    await once(app, 'finish')
    await new Promise<void>((resolve) => setImmediate(() => setImmediate(resolve)))
    const notes = new Notes(socket)
    socket.attach(notes)
    await socket.closed
    assert.deepEqual(notes.events, ['end', 'closed'])
  })

  it('tells of a reset that came before the reader', async () => {
    const { app, ours } = await tcpPair()
    const socket = adoptAccepted(ours)
    socket.readAhead()
    app.write('lost')
    await until(() => socket.bytesRead === 4, 'four bytes')
    socket.reset()
    assert.equal(await socket.closed, undefined)
    const notes = new Notes(socket)
    socket.attach(notes)
    assert.deepEqual(notes.events, ['closed'])
  })

  it('notices a client that resets while nobody reads', async () => {
    const { app, ours } = await tcpPair()
    const socket = adoptAccepted(ours)
    socket.readAhead()
    app.resetAndDestroy()
    assert.equal((await socket.closed)?.code, 'SOCKET_RESET')
    const notes = new Notes(socket)
    socket.attach(notes)
    assert.deepEqual(notes.events, ['failed'])
  })
})

describe('a connect within one namespace', () => {
  it('has succeeded when connect returns; one that is refused has not', () => {
    const ip = '127.0.0.1' as IpAddress
    const listener = tcpListen({ ip, port: 0 })
    const to = localAddress(listener)
    const made = tcpConnect({ to })
    assert.equal(isConnected(made), true)
    closeSync(made)
    closeSync(listener)
    const refused = tcpConnect({ to })
    assert.equal(isConnected(refused), false)
    closeSync(refused)
  })
})
