// A client of all sorts: node waypoint-mix.ts HOST EXCHANGES AT-ONCE SEED. Bodies of all sizes by HTTP/1.1 and HTTP/2, slow readers,
// requests given up, responses broken off by the server; prints what became of them. Runs inside a pod.
import { Agent, type ClientRequest, type IncomingMessage, request as httpRequest } from 'node:http'
import { connect, type ClientHttp2Session } from 'node:http2'
import type { Readable, Writable } from 'node:stream'
import { payload } from './soak-bytes.ts'

/** What became of the exchanges, by kind. */
export interface MixReport {
  /** Bodies that came back whole. */
  readonly whole: number
  /** Responses that were broken off, and seen to be. */
  readonly cut: number
  /** Given up by the client. */
  readonly left: number
  /** A body that is not what was sent, or a broken response that seemed whole. */
  readonly damaged: Readonly<Record<string, number>>
  readonly failed: Readonly<Record<string, number>>
  readonly bytes: number
}

const PIECE_BYTES = 65_536
const LIMIT_MS = 30_000
const [host = '', exchanges, atOnce, seed] = process.argv.slice(2)
const agent = new Agent({ keepAlive: true, maxSockets: 64 })
const counts = { whole: 0, cut: 0, left: 0, bytes: 0 }
const damaged: Record<string, number> = {}
const failed: Record<string, number> = {}
const sessions: ClientHttp2Session[] = Array.from({ length: 4 }, () => connect(`http://${host}`).on('error', () => undefined))
let next = Number(seed) * 1_000_000
const end = next + Number(exchanges)

type Kind = readonly [name: string, run: (number: number) => Promise<void>]
const MIRRORED: readonly [Kind, ...Kind[]] = [
  ['small', (number) => mirrored(number, sizeOf(number, 2000), true)],
  ['chunked', (number) => mirrored(number, sizeOf(number, 400_000), false)],
  ['known', (number) => mirrored(number, sizeOf(number, 400_000), true)],
  ['h2', (number) => overHttp2(number, sizeOf(number, 400_000))],
  ['slow', (number) => mirrored(number, sizeOf(number, 300_000), true, 5)],
]
/** More than half of 500 connections per second broken off would be a flood: such a peer loses all that it has open. */
const KINDS: readonly [Kind, ...Kind[]] = [
  ...MIRRORED,
  ['cut', (number) => broken(number, 'length=200000&')],
  ['cut chunked', (number) => broken(number, '')],
  ...MIRRORED,
  ['left', given],
  ['held', held],
]

await Promise.all(Array.from({ length: Number(atOnce) }, lane))
for (const session of sessions) session.destroy()
console.log(JSON.stringify({ ...counts, damaged, failed } satisfies MixReport))
process.exit(0)

async function lane(): Promise<void> {
  while (next < end) {
    const number = next++
    const [name, run] = KINDS[number % KINDS.length] ?? KINDS[0]
    try {
      await run(number)
    } catch (error) {
      const key = `${name}: ${(error as NodeJS.ErrnoException).code ?? (error as Error).message}`
      failed[key] = (failed[key] ?? 0) + 1
    }
  }
}

/** Sends a body and takes the same back. */
async function mirrored(number: number, bytes: number, isKnown: boolean, pauseMs = 0): Promise<void> {
  const body = bodyOf(number, bytes)
  const outgoing = send('POST', '/raw', isKnown ? { 'content-length': bytes } : {})
  const [response] = await Promise.all([answerTo(outgoing), pour(body, outgoing)])
  judge('mirrored', body, response.statusCode ?? 0, await read(response, pauseMs))
}

async function overHttp2(number: number, bytes: number): Promise<void> {
  const index = number % sessions.length
  if (sessions[index] === undefined || sessions[index].closed) sessions[index] = connect(`http://${host}`).on('error', () => undefined)
  const body = bodyOf(number, bytes)
  const stream = sessions[index].request({ ':method': 'POST', ':path': '/raw' })
  stream.setTimeout(LIMIT_MS, () => stream.destroy(Object.assign(new Error('silent'), { code: 'SILENT' })))
  const status = new Promise<number>((resolve, reject) => {
    stream.on('response', (headers) => resolve(Number(headers[':status'])))
    stream.on('error', reject)
    // A reset with CANCEL or NO_ERROR is no error to node:http2.
    stream.on('close', () => reject(Object.assign(new Error('closed'), { code: `CLOSED_${stream.rstCode}` })))
  })
  const [code] = await Promise.all([status, pour(body, stream)])
  judge('h2', body, code, await read(stream, 0))
}

/** The server breaks its response off; that must not look like an end. */
async function broken(number: number, length: string): Promise<void> {
  const outgoing = send('GET', `/cut?${length}at=${sizeOf(number, 100_000)}`, {})
  try {
    await read(await answerTo(outgoing), 0)
    damaged.cut = (damaged.cut ?? 0) + 1
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ECONNRESET') throw error
    counts.cut++
  }
}

/** The client breaks its own request off. */
async function given(number: number): Promise<void> {
  const outgoing = send('POST', '/raw', { 'content-length': 500_000 })
  outgoing.on('error', () => undefined)
  outgoing.on('response', (response) => response.on('error', () => undefined).resume())
  for (const piece of bodyOf(number, sizeOf(number, 100_000))) outgoing.write(piece)
  await new Promise((resolve) => setTimeout(resolve, number % 10))
  outgoing.destroy()
  counts.left++
}

async function held(number: number): Promise<void> {
  const outgoing = send('GET', '/hold', {})
  outgoing.on('error', () => undefined)
  await new Promise((resolve) => setTimeout(resolve, 50 + (number % 50)))
  outgoing.destroy()
  counts.left++
}

function send(method: string, path: string, headers: Record<string, number>): ClientRequest {
  const outgoing = httpRequest(`http://${host}${path}`, { method, headers, agent, timeout: LIMIT_MS })
  outgoing.on('timeout', () => outgoing.destroy(Object.assign(new Error('silent'), { code: 'SILENT' })))
  if (method === 'GET') outgoing.end()
  return outgoing
}

function answerTo(outgoing: ClientRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => outgoing.on('response', resolve).on('error', reject))
}

async function pour(body: readonly Buffer[], to: Writable): Promise<void> {
  for (const piece of body) if (!to.write(piece)) await Promise.race([once(to, 'drain'), once(to, 'close')])
  to.end()
}

function once(stream: Writable, event: string): Promise<void> {
  return new Promise((resolve) => stream.once(event, () => resolve()))
}

async function read(from: Readable, pauseMs: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of from) {
    chunks.push(chunk as Buffer)
    if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs))
  }
  return Buffer.concat(chunks)
}

function judge(kind: string, body: readonly Buffer[], status: number, got: Buffer): void {
  counts.bytes += got.length
  if (status !== 200) failed[`${kind}: ${status}`] = (failed[`${kind}: ${status}`] ?? 0) + 1
  else if (got.equals(Buffer.concat(body))) counts.whole++
  else damaged[kind] = (damaged[kind] ?? 0) + 1
}

function bodyOf(number: number, bytes: number): readonly Buffer[] {
  const pieces: Buffer[] = []
  for (let left = bytes; left > 0; left -= PIECE_BYTES) pieces.push(payload(number + pieces.length, 'up', Math.min(left, PIECE_BYTES)))
  return pieces
}

/** Most are small, some long, a few empty. */
function sizeOf(number: number, most: number): number {
  const x = ((number * 2_654_435_761) >>> 0) / 2 ** 32
  return Math.floor(x ** 2 * most)
}
