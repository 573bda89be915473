// A reset reaches the peer and frees the descriptor whatever state the socket is in.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import net, { type AddressInfo, type Socket } from 'node:net'
import { resetSocket } from '../../../kit/reset-socket.ts'

const STATES: Readonly<Record<string, (socket: Socket) => unknown>> = {
  open: () => undefined,
  'with bytes to send': (socket) => socket.write(Buffer.alloc(1 << 24)),
  'ending, with bytes to send': (socket) => socket.end(Buffer.alloc(1 << 24)),
  'ending, in the same turn': (socket) => socket.end('x'),
  'ending, without a byte': (socket) => socket.end(),
  'ending, a tick later': (socket) => new Promise<void>((resolve) => socket.end(() => undefined) && process.nextTick(resolve)),
  ended: (socket) => once(socket.end(), 'finish'),
}

describe('kit/reset-socket', () => {
  for (const [state, bring] of Object.entries(STATES))
    it(`resets a socket that is ${state}`, async () => {
      const server = net.createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1')
      await once(server, 'listening')
      const socket = net.connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', allowHalfOpen: true })
      socket.on('error', () => undefined)
      const [[peer]] = (await Promise.all([once(server, 'connection'), once(socket, 'connect')])) as [[Socket], unknown]
      const flood = setInterval(() => peer.write(Buffer.alloc(1000)), 1)
      try {
        const broken = once(peer, 'error').catch((error: NodeJS.ErrnoException) => [error])
        const closed = new Promise((resolve) => socket.once('close', resolve))
        const brought = bring(socket)
        if (brought instanceof Promise) await brought
        resetSocket(socket)
        await closed
        const [error] = (await broken) as [NodeJS.ErrnoException]
        assert.match(error.code ?? '', /ECONNRESET|EPIPE/)
      } finally {
        clearInterval(flood)
        peer.destroy()
        server.close()
      }
    })
})
