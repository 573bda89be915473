// Accepting more than one connection per turn of the event loop.
import assert from 'node:assert/strict'
import net from 'node:net'
import { WideListener } from '../../../kit/wide-listener.ts'

const HOST = '127.0.0.1'
const CLIENTS = 64

describe('kit/wide-listener', () => {
  it('accepts several connections in one turn, each once', async () => {
    let turn = 0
    const turns = new Map<number, number>()
    const ports = new Set<number>()
    const accepted: net.Socket[] = []
    await using listener = await open(0, (socket) => {
      accepted.push(socket)
      ports.add(socket.remotePort ?? 0)
      turns.set(turn, (turns.get(turn) ?? 0) + 1)
    })
    const clients = Array.from({ length: CLIENTS }, () => net.connect(listener.value.port, HOST).on('error', () => undefined))
    while (accepted.length < CLIENTS) {
      await new Promise((resolve) => setImmediate(resolve))
      turn++
    }
    assert.equal(ports.size, CLIENTS)
    assert.ok(Math.max(...turns.values()) >= 4, `at most ${Math.max(...turns.values())} in a turn`)
    for (const socket of [...clients, ...accepted]) socket.destroy()
  })

  it('does not share a port that somebody listens on, not even another of its kind', async () => {
    await using first = await open(0, () => undefined)
    await assert.rejects(
      open(first.value.port, () => undefined),
      { code: 'EADDRINUSE' },
    )
  })

  it('accepts no more once it is closed, and can be opened again', async () => {
    const first = await open(0, () => undefined)
    const { port } = first.value
    first.value.close()
    assert.equal(first.value.port, 0)
    const refused = await new Promise((resolve) => net.connect(port, HOST).once('error', resolve))
    assert.equal((refused as NodeJS.ErrnoException).code, 'ECONNREFUSED')
    await using again = await open(port, () => undefined)
    assert.equal(again.value.port, port)
  })
})

async function open(port: number, accept: (socket: net.Socket) => void): Promise<AsyncDisposable & { value: WideListener }> {
  const value = await WideListener.open({}, { host: HOST, port, backlog: 256 }, accept, (error) => assert.fail(error))
  return {
    value,
    [Symbol.asyncDispose]: () => {
      value.close()
      return Promise.resolve()
    },
  }
}
