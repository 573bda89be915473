// What stands behind a tunnel in the interop tests, and what asks it: an app that echoes, one that answers only after the
// client's end, one that says something and ends first. Works on any duplex socket with half-close.
import { createHash } from 'node:crypto'
import net from 'node:net'
import type { Duplex } from 'node:stream'
import { pipeline } from 'node:stream/promises'

/** Ports of the three apps. */
export interface AppPorts {
  readonly echo: number
  readonly digest: number
  readonly greet: number
}

const GREETING_BYTES = 1024 * 1024
const PIECE_BYTES = 64 * 1024

/** Repeatable bytes of any length, in pieces. */
export function* pattern(bytes: number, seed = 1): Generator<Buffer> {
  let state = seed >>> 0
  for (let left = bytes; left > 0; left -= PIECE_BYTES) {
    const piece = Buffer.alloc(PIECE_BYTES)
    for (let at = 0; at < PIECE_BYTES; at += 4) {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
      piece.writeUInt32LE(state, at)
    }
    yield piece.subarray(0, Math.min(left, PIECE_BYTES))
  }
}

/** `LENGTH SHA-256` of bytes. */
export function summary(pieces: Iterable<Buffer>): string {
  const hash = createHash('sha256')
  let bytes = 0
  for (const piece of pieces) {
    hash.update(piece)
    bytes += piece.length
  }
  return `${bytes} ${hash.digest('hex')}`
}

/** `LENGTH SHA-256` of all that a stream gives until its end. @throws the stream's error */
export async function readSummary(stream: Duplex): Promise<string> {
  const hash = createHash('sha256')
  let bytes = 0
  for await (const piece of stream.iterator({ destroyOnReturn: false })) {
    hash.update(piece as Buffer)
    bytes += (piece as Buffer).length
  }
  return `${bytes} ${hash.digest('hex')}`
}

/** What the greeting app says. */
export const GREETING = summary(pattern(GREETING_BYTES, 9))

/** Serves the apps on 0.0.0.0; 0 = any port. */
export async function serveApps(ports: AppPorts): Promise<{ readonly ports: AppPorts; close(): void }> {
  const sockets = new Set<net.Socket>()
  const serve = async (port: number, app: (socket: net.Socket) => Promise<void>): Promise<net.Server> => {
    const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
      sockets.add(socket)
      socket.on('error', () => socket.destroy()).once('close', () => sockets.delete(socket))
      app(socket).catch(() => socket.destroy())
    })
    await new Promise<void>((resolve) => server.listen(port, '0.0.0.0', 512, resolve))
    return server
  }
  const servers = [
    await serve(ports.echo, (socket) => pipeline(socket, socket)),
    await serve(ports.digest, async (socket) => void socket.end(await readSummary(socket))),
    await serve(ports.greet, async (socket) => {
      for (const piece of pattern(GREETING_BYTES, 9)) socket.write(piece)
      socket.end()
      await readSummary(socket)
    }),
  ]
  const [echo = 0, digest = 0, greet = 0] = servers.map((server) => (server.address() as net.AddressInfo).port)
  return {
    ports: { echo, digest, greet },
    close: () => {
      for (const server of servers) server.close()
      for (const socket of sockets) socket.destroy()
    },
  }
}

/** Sends `bytes` and ends; the same must come back, and the end. @returns what came, to be compared with `summary(pattern(…))` */
export async function echo(socket: Duplex, bytes: number, seed = 1): Promise<string> {
  const [came] = await Promise.all([readSummary(socket), send(socket, pattern(bytes, seed))])
  return came
}

/** Sends `bytes`, ends, and only then is answered. @returns the app's own summary of what it got */
export async function digest(socket: Duplex, bytes: number): Promise<string> {
  const answer = socket.toArray() as Promise<Buffer[]>
  await send(socket, pattern(bytes))
  return Buffer.concat(await answer).toString()
}

/** Reads what an app says that ends first, then ends as well. @returns the summary */
export async function greeted(socket: Duplex): Promise<string> {
  const came = await readSummary(socket)
  socket.end()
  return came
}

async function send(socket: Duplex, pieces: Iterable<Buffer>): Promise<void> {
  for (const piece of pieces) {
    if (socket.destroyed) throw socket.errored ?? new Error('closed while sending')
    if (socket.write(piece)) continue
    await new Promise<void>((resolve) => {
      const go = (): void => {
        socket.off('drain', go).off('close', go)
        resolve()
      }
      socket.on('drain', go).on('close', go)
    })
  }
  socket.end()
}
