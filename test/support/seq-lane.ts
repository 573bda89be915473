// One connection of seq-client.ts: numbered frames there and back over TCP (pipelined) or HTTP (one after another).
// Only node: is imported.
import http from 'node:http'
import net from 'node:net'
import { encodeFrame, FrameReader, isIntact, payloadOf } from './seq-frame.ts'

/** Where a lane leads and whom it tells. Every number is told: answered (maybe again), lost, or never sent. */
export interface LaneOptions {
  readonly host: string
  readonly port: number
  readonly client: number
  /** Closes after its first answer. */
  readonly isForOne: boolean
  onAnswer(seq: number, isIntact: boolean): void
  onLost(seq: number, code: string): void
  /** A number that waited for its turn when the connection broke; it may be sent again. */
  onUnsent(seq: number, bytes: number): void
  /** The connection ended although nobody here had ended it. */
  onBroken(): void
}

/** One connection. */
export interface Lane {
  readonly isOpen: boolean
  send(seq: number, bytes: number): void
  close(): void
}

/** Frames one after another on a TCP connection; answers may be on their way meanwhile. */
export class TcpLane implements Lane {
  readonly #options: LaneOptions
  readonly #socket: net.Socket
  readonly #reader = new FrameReader()
  readonly #unanswered = new Set<number>()
  #code = 'CLOSED'
  isOpen = true

  constructor(options: LaneOptions) {
    this.#options = options
    this.#socket = net.connect({ host: options.host, port: options.port, noDelay: true })
    this.#socket.on('data', (chunk: Buffer) => this.#read(chunk))
    this.#socket.on('error', (error: NodeJS.ErrnoException) => {
      this.#code = error.code ?? error.message
    })
    this.#socket.on('close', () => this.#end())
  }

  send(seq: number, bytes: number): void {
    this.#unanswered.add(seq)
    this.#socket.write(encodeFrame({ client: this.#options.client, seq, payload: payloadOf(this.#options.client, seq, bytes) }))
  }

  close(): void {
    this.isOpen = false
    this.#socket.end()
    setTimeout(() => this.#socket.destroy(), LINGER_MS).unref()
  }

  #read(chunk: Buffer): void {
    const frames = this.#reader.push(chunk)
    if (this.#reader.isDamaged) {
      this.#code = 'DAMAGED'
      this.#socket.destroy()
    }
    for (const frame of frames) {
      this.#unanswered.delete(frame.seq)
      this.#options.onAnswer(frame.seq, frame.client === this.#options.client && isIntact(frame))
    }
    if (frames.length > 0 && this.#options.isForOne) this.close()
  }

  #end(): void {
    if (this.isOpen) this.#options.onBroken()
    this.isOpen = false
    for (const seq of this.#unanswered) this.#options.onLost(seq, this.#code)
  }
}

/** A POST per frame on one kept connection; a request waits for the one before. */
export class HttpLane implements Lane {
  readonly #options: LaneOptions
  readonly #agent: http.Agent
  readonly #queue: { readonly seq: number; readonly bytes: number }[] = []
  #isBusy = false
  #hasConnected = false
  isOpen = true

  constructor(options: LaneOptions) {
    this.#options = options
    this.#agent = new http.Agent({ keepAlive: !options.isForOne, maxSockets: 1 })
  }

  send(seq: number, bytes: number): void {
    this.#queue.push({ seq, bytes })
    this.#next()
  }

  close(): void {
    this.isOpen = false
    this.#agent.destroy()
  }

  #next(): void {
    const request = this.#isBusy || !this.isOpen ? undefined : this.#queue.shift()
    if (request !== undefined) this.#post(request.seq, request.bytes)
  }

  #post(seq: number, bytes: number): void {
    this.#isBusy = true
    const { host, port, client } = this.#options
    const body = encodeFrame({ client, seq, payload: payloadOf(client, seq, bytes) })
    const request = http.request({
      host,
      port,
      method: 'POST',
      path: '/seq',
      agent: this.#agent,
      headers: { 'content-length': body.length },
    })
    request.on('response', (response) => void this.#read(seq, response))
    request.on('error', (error: NodeJS.ErrnoException) => this.#lose(seq, error.code ?? error.message))
    request.on('socket', (socket) => {
      if (this.#hasConnected) return
      this.#hasConnected = true
      socket.setNoDelay(true)
      socket.once('close', () => this.#break())
    })
    request.end(body)
  }

  async #read(seq: number, response: http.IncomingMessage): Promise<void> {
    try {
      const bytes = Buffer.concat(await response.toArray())
      if (response.statusCode !== 200) return this.#lose(seq, `HTTP_${response.statusCode}`)
      const frame = new FrameReader().push(bytes)[0]
      this.#options.onAnswer(seq, frame !== undefined && frame.seq === seq && frame.client === this.#options.client && isIntact(frame))
      this.#isBusy = false
      this.#next()
    } catch (error) {
      this.#lose(seq, (error as NodeJS.ErrnoException).code ?? 'DAMAGED')
    }
  }

  #lose(seq: number, code: string): void {
    this.#break()
    this.#options.onLost(seq, code)
  }

  /** What waits here has not been sent: it goes to the next connection. */
  #break(): void {
    if (!this.isOpen) return
    this.close()
    if (!this.#options.isForOne) this.#options.onBroken()
    for (const { seq, bytes } of this.#queue.splice(0)) this.#options.onUnsent(seq, bytes)
  }
}

const LINGER_MS = 1000
