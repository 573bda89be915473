// What a channel delivers, cut into heads and bodies, for both sides of HTTP/1.1. Bytes that nobody takes yet are kept and the
// channel is paused meanwhile, so that no more is kept than was under way.
import type { Channel } from './channel.ts'
import { HeadBuffer, type HeadBufferFault } from './head-buffer.ts'
import type { IncomingBody } from './incoming-body.ts'

/** Takes what an Inbound finds. */
export interface InboundOwner {
  /** A head is whole; `expectHead`, `expectBody` or `hold` says what comes next (hold if none is called). */
  onHead(text: string): void
  /** The first bytes of a head are here, the rest is not. */
  onHeadBegun(): void
  onHeadFault(fault: HeadBufferFault): void
  /** The body at hand was taken to its end; the next state is hold. */
  onBodyEnd(): void
  onBodyFault(reason: string): void
  /** Bytes came that are held. */
  onHeld(): void
  /** The peer's half ended and everything before was taken. */
  onInputEnd(): void
}

const CR = 13
const LF = 10
const EMPTY = Buffer.alloc(0)

const AT_HEAD = 0
const AT_BODY = 1
const AT_HOLD = 2
const AT_DROP = 3

/** The receiving half of one connection. */
export class Inbound {
  readonly #channel: Channel
  readonly #owner: InboundOwner
  readonly #head: HeadBuffer
  #state = AT_HOLD
  #body: IncomingBody | undefined
  /** One empty line may still come before the head (RFC 9112 §2.2: some clients send it after a body). */
  #mayBeEmptyLine = false
  /** The piece that is being taken; undefined = none. */
  #chunk: Buffer | undefined
  #pos = 0
  /** A body is being delivered: its reader's calls only set flags. */
  #isDelivering = false
  /** Pieces that wait, copied. */
  #held: Buffer[] = []
  #isPaused = false
  #isEnded = false
  #isBroken = false
  #isEndTold = false

  /** @param headBytes longest head */
  constructor(channel: Channel, owner: InboundOwner, headBytes: number) {
    this.#channel = channel
    this.#owner = owner
    this.#head = new HeadBuffer(headBytes)
  }

  /** Whether bytes are here that were not taken, a part of a head included. */
  get hasBytes(): boolean {
    return this.#held.length > 0 || this.#head.isBegun || (this.#chunk !== undefined && this.#pos < this.#chunk.length)
  }

  /** The body at hand was taken to its end, or there is none. */
  get isHolding(): boolean {
    return this.#state === AT_HOLD
  }

  /** The peer's half has ended. */
  get isEnded(): boolean {
    return this.#isEnded
  }

  /** What follows is a head. @param mayBeEmptyLine a request: an empty line before it is skipped */
  expectHead(mayBeEmptyLine: boolean): void {
    this.#state = AT_HEAD
    this.#body = undefined // an idle connection holds nothing of its last message
    this.#mayBeEmptyLine = mayBeEmptyLine
  }

  /** What follows is a body. */
  expectBody(body: IncomingBody): void {
    this.#body = body
    this.#state = body.isReceived ? AT_HOLD : AT_BODY
  }

  /** What follows is held. */
  hold(): void {
    this.#state = AT_HOLD
    this.#body = undefined
  }

  /** Everything that follows is dropped. */
  drop(): void {
    this.#state = AT_DROP
    this.#held = []
    this.#head.clear()
    if (!this.#isPaused) return
    this.#isPaused = false
    this.#channel.resume()
  }

  /** Bytes of the channel, valid during the call only. */
  push(chunk: Buffer): void {
    if (this.#state === AT_DROP) return
    const isBusy = this.#chunk !== undefined || this.#held.length > 0
    const rest = isBusy ? chunk : this.#run(chunk)
    if (rest === undefined) return
    this.#held.push(Buffer.from(rest))
    if (!this.#isPaused) {
      this.#isPaused = true
      this.#channel.pause()
    }
    this.#owner.onHeld()
  }

  /** The peer's half ended. @param isBroken the channel failed: a body that lasts to the end is not whole */
  end(isBroken: boolean): void {
    this.#isEnded = true
    this.#isBroken ||= isBroken
    this.#tellEnd()
  }

  /** Something can be taken again. */
  readonly wake = (): void => {
    if (this.#isDelivering) return
    if (this.#chunk !== undefined) {
      // Within a call to the owner: a body is delivered here, anything else when that call returns.
      if (this.#state === AT_BODY) this.#deliver()
      return
    }
    if (this.#held.length === 0 && this.#state === AT_BODY) this.#run(EMPTY)
    while (this.#held.length > 0 && this.#state !== AT_HOLD) {
      const rest = this.#run(this.#held.shift() ?? EMPTY)
      if (rest === undefined) continue
      this.#held.unshift(rest)
      break
    }
    if (this.#held.length > 0) return
    if (this.#isPaused) {
      this.#isPaused = false
      this.#channel.resume()
    }
    this.#tellEnd()
  }

  /** @returns what was not taken; undefined = nothing */
  #run(chunk: Buffer): Buffer | undefined {
    this.#chunk = chunk
    this.#pos = 0
    let isMoving = true
    while (isMoving) {
      if (this.#state === AT_HEAD && this.#pos < chunk.length) this.#takeHead(chunk)
      else if (this.#state === AT_BODY) isMoving = this.#deliver()
      else isMoving = false
    }
    this.#chunk = undefined
    if (this.#state === AT_DROP || this.#pos === chunk.length) return undefined
    return chunk.subarray(this.#pos)
  }

  #takeHead(chunk: Buffer): void {
    if (this.#mayBeEmptyLine && this.#skipEmptyLine(chunk)) return
    const head = this.#head
    this.#pos = head.feed(chunk, this.#pos)
    if (head.fault !== undefined) {
      this.#state = AT_HOLD
      this.#owner.onHeadFault(head.fault)
    } else if (head.text !== undefined) {
      this.#state = AT_HOLD
      this.#owner.onHead(head.text)
    } else this.#owner.onHeadBegun()
  }

  /** @returns whether bytes were taken */
  #skipEmptyLine(chunk: Buffer): boolean {
    const isBegun = this.#isLineBegun
    const code = chunk[this.#pos]
    if (isBegun ? code === LF : code === CR) {
      this.#pos++
      this.#isLineBegun = !isBegun
      this.#mayBeEmptyLine = !isBegun
      return true
    }
    this.#isLineBegun = false
    this.#mayBeEmptyLine = false
    if (!isBegun) return false
    this.#state = AT_HOLD
    this.#owner.onHeadFault('malformed')
    return true
  }

  /** The CR of an empty line before a head was taken. */
  #isLineBegun = false

  /** @returns whether the body ended, so that something else may follow */
  #deliver(): boolean {
    const body = this.#body
    if (body === undefined || this.#isDelivering) return false
    this.#isDelivering = true
    this.#pos = body.take(this.#chunk ?? EMPTY, this.#pos)
    this.#isDelivering = false
    if (this.#state !== AT_BODY || this.#body !== body) return true
    if (body.fault !== undefined) {
      this.#state = AT_HOLD
      this.#owner.onBodyFault(body.fault)
      return true
    }
    if (!body.isReceived || !body.isReady) return false
    this.#state = AT_HOLD
    this.#owner.onBodyEnd() // first: whoever is told of the end finds the connection free
    body.finish()
    return true
  }

  #tellEnd(): void {
    if (!this.#isEnded || this.#isEndTold || this.#held.length > 0 || this.#chunk !== undefined) return
    const body = this.#body
    if (this.#state === AT_BODY && !this.#isBroken && body?.endOfInput() === true) {
      this.#run(EMPTY)
      if (this.#state === AT_BODY) return // the reader is paused: told when it resumes
    }
    this.#isEndTold = true
    this.#owner.onInputEnd()
  }
}
