// The client of the soak: node soak-client.ts HOST PORT CONNECTIONS AT-ONCE SEED. Opens AT-ONCE connections and lets none of them
// finish before all have been answered, then the rest AT-ONCE/4 at a time; prints what became of them. Only node: is imported.
import net from 'node:net'
import { DAMAGED, HEADER_BYTES, HELLO, isRight, payload, SHORT, WHOLE } from './soak-bytes.ts'

/** Ends of connections by kind, and what was seen on the way. */
export interface SoakReport {
  /** All bytes of both directions were right. */
  readonly whole: number
  /** The upload ended early; what came was right. */
  readonly shortUp: number
  /** The download ended early with FIN; what came was right. */
  readonly shortDown: number
  readonly reset: number
  readonly damaged: number
  /** Not connected, or silent for a minute. */
  readonly failed: Readonly<Record<string, number>>
  readonly mostAtOnce: number
  readonly bytes: number
}

const SILENCE_MS = 60_000
const LONGEST_TEXT_BYTES = 40_000

interface Target {
  readonly host: string
  readonly port: number
  readonly seed: number
}

/** One connection: reads and judges the download; sends the second half of the upload when it is let go. */
class Exchange {
  readonly ended: Promise<void>
  /** The last byte of the answer, or DAMAGED; 0 = none came. */
  verdict = 0
  code = ''
  bytes = 0
  hasConnected = false
  readonly #up: Buffer
  readonly #down: Buffer
  readonly #socket: net.Socket
  #isAnswered = false

  /** @param answered called once: at the first byte, or at the end without one */
  constructor(number: number, { host, port, seed }: Target, connected: () => void, answered: () => void) {
    this.#up = payload(number, 'up', sizeOf(number * 2 + seed))
    this.#down = payload(number, 'down', sizeOf(number * 2 + 1 + seed))
    this.#socket = net.connect({ host, port, allowHalfOpen: true, noDelay: true })
    const once = (): void => {
      if (!this.#isAnswered) answered()
      this.#isAnswered = true
    }
    this.#socket.on('connect', () => {
      this.hasConnected = true
      connected()
      this.#begin(number)
    })
    this.#socket.setTimeout(SILENCE_MS, () => this.#socket.destroy(Object.assign(new Error('silent'), { code: 'SILENT' })))
    this.#socket.on('data', (chunk: Buffer) => {
      this.#read(chunk)
      once()
    })
    this.#socket.on('end', once)
    this.#socket.on('error', (error: NodeJS.ErrnoException) => {
      this.code ||= error.code ?? error.message
    })
    this.ended = new Promise((resolve) => {
      this.#socket.on('close', () => {
        once()
        resolve()
      })
    })
  }

  /** Sends the rest and FIN. */
  finish(): void {
    if (!this.#socket.destroyed) this.#socket.end(this.#up.subarray(this.#up.length >> 1))
  }

  #begin(number: number): void {
    const header = Buffer.alloc(HEADER_BYTES)
    for (const [index, value] of [number, this.#up.length, this.#down.length].entries()) header.writeUInt32BE(value, index * 4)
    this.#socket.write(header)
    this.#socket.write(this.#up.subarray(0, this.#up.length >> 1))
  }

  /** The answer is HELLO, the download, one byte of verdict. */
  #read(chunk: Buffer): void {
    const body = this.bytes === 0 ? chunk.subarray(1) : chunk
    const offset = Math.max(0, this.bytes - 1)
    const text = body.subarray(0, Math.max(0, this.#down.length - offset))
    const isWrong = (this.bytes === 0 && chunk[0] !== HELLO) || !isRight(this.#down, offset, text) || body.length > text.length + 1
    if (isWrong || this.verdict !== 0) this.verdict = DAMAGED
    else if (body.length > text.length) this.verdict = body.at(-1) ?? DAMAGED
    this.bytes += chunk.length
  }
}

class Soak {
  readonly counts = { whole: 0, shortUp: 0, shortDown: 0, reset: 0, damaged: 0, mostAtOnce: 0, bytes: 0 }
  readonly failed: Record<string, number> = {}
  readonly #target: Target
  readonly #atOnce: number
  readonly #held: (() => void)[] = []
  #open = 0

  constructor(target: Target, atOnce: number) {
    this.#target = target
    this.#atOnce = atOnce
  }

  /** One connection to its end; the first ones wait for each other. */
  async run(number: number): Promise<void> {
    const connected = (): void => {
      this.counts.mostAtOnce = Math.max(this.counts.mostAtOnce, ++this.#open)
    }
    const exchange = new Exchange(number, this.#target, connected, () => {
      if (number >= this.#atOnce) exchange.finish()
      else if (this.#held.push(() => exchange.finish()) === this.#atOnce) for (const go of this.#held) go()
    })
    await exchange.ended
    if (exchange.hasConnected) this.#open--
    this.#count(exchange)
  }

  #count({ code, verdict, bytes }: Exchange): void {
    this.counts.bytes += bytes
    if (verdict === DAMAGED) this.counts.damaged++
    else if (code === 'ECONNRESET' || code === 'EPIPE') this.counts.reset++
    else if (code !== '') this.failed[code] = (this.failed[code] ?? 0) + 1
    else if (verdict === WHOLE) this.counts.whole++
    else if (verdict === SHORT) this.counts.shortUp++
    else this.counts.shortDown++
  }
}

/** Most are small, some are long, a few are empty. */
function sizeOf(draw: number): number {
  const x = ((draw * 2_654_435_761) >>> 0) / 2 ** 32
  return Math.floor(x ** 3 * LONGEST_TEXT_BYTES)
}

const [host = '', port, connections, atOnce, seed] = process.argv.slice(2)
const soak = new Soak({ host, port: Number(port), seed: Number(seed) }, Number(atOnce))
const first = Array.from({ length: Number(atOnce) }, (_, number) => soak.run(number))
await Promise.all(first)
let next = Number(atOnce)
const lane = async (): Promise<void> => {
  while (next < Number(connections)) await soak.run(next++)
}
await Promise.all(Array.from({ length: Math.ceil(Number(atOnce) / 4) }, lane))
console.log(JSON.stringify({ ...soak.counts, failed: soak.failed } satisfies SoakReport))
