// One client's stream on the delta server: requests in, responses out, answers tracked. Made by delta-server.ts.
import { Metadata, type ServerDuplexStream, status } from '@grpc/grpc-js'
import type { Clock, Timer } from '../kit/clock.ts'
import type { Result } from '../kit/error.ts'
import type { Log } from '../kit/log.ts'
import type { DeltaDiscoveryRequest } from '../proto/discovery_pb.ts'
import type { ServerLimits, XdsCaller } from './delta-server.ts'
import type { Demand } from './demand.ts'
import type { EncodedPush, PiecePool } from './encode-push.ts'
import { MessageWriter } from './message-writer.ts'
import type { PushLine } from './push-line.ts'
import type { ChangeBatch, PushSource } from './push-source.ts'
import { asksForAll, type PendingPush, Subscription } from './subscription.ts'

/** What is known of a connected client. */
export interface ClientInfo {
  readonly id: number
  readonly node: string
  readonly caller: string
  /** `namespace/name` of the gateway that the client serves; undefined = none. */
  readonly gateway: string | undefined
  readonly peer: string
  readonly kinds: readonly {
    readonly typeUrl: string
    readonly isWildcard: boolean
    /** Revision that the client accepted last. */
    readonly acked: number
    readonly isWaiting: boolean
    readonly refusal: string | undefined
  }[]
}

interface StreamOptions {
  readonly id: number
  readonly call: ServerDuplexStream<Buffer, Buffer>
  readonly caller: XdsCaller
  readonly peer: string
  readonly source: PushSource
  readonly demand: Demand
  readonly line: PushLine
  readonly pool: PiecePool
  readonly clock: Clock
  readonly limits: ServerLimits
  readonly log: Log
  encode(typeUrl: string, pending: PendingPush, nonce: string): EncodedPush
  /** After each answer of the client; `refusal` = the client's words. */
  onAnswer(typeUrl: string, refusal: string | undefined): void
  onEnd(): void
}

const WINDOW_MS = 10_000
const KEY_LIMIT_CHARS = 2048
const TEXT_LIMIT_CHARS = 2048
const SHOWN_CHARS = 128
/** A client that takes a response slower than this (128 kB/s) counts as gone. */
const SLOWEST_BYTES_PER_MS = 128
/** Pushes of at most so many resources are small: they never wait in line. */
const SMALL_PUSH = 64

/** A client. Ends itself when limits are passed; `onEnd` is called once. */
export class DeltaStream {
  readonly #options: StreamOptions
  readonly #subscriptions = new Map<string, Subscription>()
  readonly #timers = new Map<string, Timer>()
  readonly #writer: MessageWriter
  readonly #underWay = new Set<() => void>() // leave the line for pushes that are not written yet
  readonly #resume = (): void => this.#flush()
  #node = ''
  #nonce = 0
  #isEnded = false
  #windowStart = 0
  #inWindow = 0

  constructor(options: StreamOptions) {
    this.#options = options
    const { call } = options
    this.#writer = new MessageWriter(call, options.pool)
    call.on('cancelled', () => this.#finish())
    call.on('error', () => this.#finish())
    call.on('end', () => {
      call.end()
      this.#finish()
    })
  }

  info(): ClientInfo {
    const { id, caller, peer } = this.#options
    const kinds = [...this.#subscriptions.values()].map((each) => ({
      typeUrl: each.typeUrl,
      isWildcard: each.isWildcard,
      acked: each.acked,
      isWaiting: each.inFlight !== undefined || each.hasPending,
      refusal: each.refusal,
    }))
    return { id, node: this.#node, caller: caller.label, gateway: caller.gateway, peer, kinds }
  }

  /** False also while the client has not asked for anything: it may hold what it got on an earlier stream. */
  hasAcked(revision: number): boolean {
    return this.#subscriptions.size > 0 && [...this.#subscriptions.values()].every((each) => each.hasAcked(revision))
  }

  /** Handles one request. */
  receive(request: Result<DeltaDiscoveryRequest>): void {
    if (this.#isEnded) return
    if (!request.ok) this.end(status.INVALID_ARGUMENT, 'the request cannot be read')
    else if (this.#isTooFast()) this.end(status.RESOURCE_EXHAUSTED, 'too many requests')
    else if (!hasFairKeys(request.value)) this.end(status.INVALID_ARGUMENT, 'a resource name is too long')
    else this.#handle(request.value)
    if (this.#demanded() > this.#options.limits.subscriptions) this.end(status.RESOURCE_EXHAUSTED, 'too many subscriptions')
    this.#flush()
  }

  /** Notes changes, besides those that were asked for by name, and sends what can be sent. */
  offer(batches: readonly ChangeBatch[]): void {
    for (const batch of batches) this.#subscriptions.get(batch.typeUrl)?.offer(batch)
    this.#flush()
  }

  /** Ends the stream when its caller may be served no longer; as at the door, the caller learns nothing. */
  recheck(): void {
    const { caller, peer, log } = this.#options
    const reason = caller.lapse?.()
    if (reason === undefined || this.#isEnded) return
    log.info('a caller has lapsed', { peer, caller: caller.label, node: this.#node, reason })
    this.end(status.UNAUTHENTICATED, 'authentication failure')
  }

  /** Ends the stream with a gRPC status. */
  end(code: number, details: string): void {
    if (this.#isEnded) return
    const { call, log, caller, peer } = this.#options
    log.info('configuration stream ended by us', { peer, caller: caller.label, node: this.#node, code, details })
    this.#finish()
    call.emit('error', { code, details, metadata: new Metadata() })
  }

  #handle(request: DeltaDiscoveryRequest): void {
    const { typeUrl } = request
    const { source } = this.#options
    const known = this.#subscriptions.get(typeUrl)
    // A kind that is not served gets silence, as in Istio: a newer proxy must not lose what is served.
    if (!source.typeUrls.includes(typeUrl) || !this.#isPermitted(request, known === undefined)) return
    if (known === undefined) {
      const wish = {
        subscribe: request.resourceNamesSubscribe,
        unsubscribe: request.resourceNamesUnsubscribe,
        versions: request.initialResourceVersions,
      }
      this.#subscriptions.set(typeUrl, new Subscription(source, this.#options.demand, typeUrl, wish))
      return
    }
    if (request.responseNonce !== '') this.#answered(known, request)
    known.change(request.resourceNamesSubscribe, request.resourceNamesUnsubscribe)
  }

  /** Ends the stream over a name that the caller may not ask for: silence would look like "there is none". */
  #isPermitted(request: DeltaDiscoveryRequest, isFirst: boolean): boolean {
    const { caller, peer, log } = this.#options
    const { typeUrl, resourceNamesSubscribe, resourceNamesUnsubscribe, initialResourceVersions } = request
    const isWildcard = isFirst && asksForAll(resourceNamesSubscribe, resourceNamesUnsubscribe)
    const names = resourceNamesSubscribe.filter((name) => name !== '*')
    if (isWildcard) names.push('*')
    else if (isFirst && names.length === 0) names.push(...Object.keys(initialResourceVersions)) // it follows what it holds
    const refused = names.find((name) => !caller.mayDemand(typeUrl, name))
    const isRefused = refused !== undefined || (isFirst && names.length === 0 && !caller.mayDemand(typeUrl, undefined))
    if (!isRefused) return true
    const shown = refused?.slice(0, SHOWN_CHARS) ?? 'any name'
    log.warn('a subscription is not permitted', { peer, caller: caller.label, node: this.#node, type: typeUrl, name: shown })
    this.end(status.PERMISSION_DENIED, `NOT permitted: this caller may not ask for ${shown} of ${typeUrl}`)
    return false
  }

  #answered(subscription: Subscription, request: DeltaDiscoveryRequest): void {
    const { inFlight, typeUrl } = subscription
    if (inFlight?.nonce !== request.responseNonce) return // of an older response: superseded
    this.#timers.get(typeUrl)?.[Symbol.dispose]()
    subscription.inFlight = undefined
    const refusal = request.errorDetail?.message.slice(0, TEXT_LIMIT_CHARS)
    subscription.refusal = refusal
    if (refusal === undefined) subscription.acked = inFlight.revision
    const { log, caller } = this.#options
    if (refusal !== undefined) log.warn('a proxy refused configuration', { caller: caller.label, node: this.#node, type: typeUrl, refusal })
    this.#options.onAnswer(typeUrl, refusal)
  }

  /** Sends what is due, kind by kind; a later kind waits while an earlier one has unsent changes. */
  #flush(): void {
    if (this.#isEnded) return
    const { source, line } = this.#options
    for (const typeUrl of source.typeUrls) {
      const subscription = this.#subscriptions.get(typeUrl)
      if (subscription === undefined) continue
      const isLarge = subscription.pendingCount > SMALL_PUSH
      if (isLarge && subscription.inFlight === undefined && !line.hasRoom) {
        line.wait(this.#resume)
        return
      }
      const pending = subscription.take()
      if (pending !== undefined) this.#send(subscription, pending, isLarge)
      if (subscription.hasPending) return
    }
  }

  #send(subscription: Subscription, pending: PendingPush, isLarge: boolean): void {
    const { source, encode, line, id, limits } = this.#options
    const { typeUrl } = subscription
    const nonce = `${id}-${++this.#nonce}`
    subscription.inFlight = { nonce, revision: source.revision }
    const push = encode(typeUrl, pending, nonce)
    this.#watchAnswer(typeUrl, limits.ackTimeoutMs + push.bytes / SLOWEST_BYTES_PER_MS)
    const leave = isLarge ? line.enter() : () => undefined
    if (isLarge) this.#underWay.add(leave)
    this.#writer.write(push.pieces(), () => {
      this.#underWay.delete(leave)
      leave()
      // Nobody can answer earlier than now.
      if (subscription.inFlight?.nonce === nonce && !this.#isEnded) this.#watchAnswer(typeUrl, limits.ackTimeoutMs)
    })
  }

  #watchAnswer(typeUrl: string, timeoutMs: number): void {
    const { clock } = this.#options
    this.#timers.get(typeUrl)?.[Symbol.dispose]()
    const timer = clock.after(timeoutMs, () => this.end(status.DEADLINE_EXCEEDED, 'a push was not answered in time'))
    timer.unref()
    this.#timers.set(typeUrl, timer)
  }

  #isTooFast(): boolean {
    const now = this.#options.clock.monotonicMs()
    if (now - this.#windowStart > WINDOW_MS) {
      this.#windowStart = now
      this.#inWindow = 0
    }
    return ++this.#inWindow > this.#options.limits.messagesPer10S
  }

  #demanded(): number {
    let count = 0
    for (const subscription of this.#subscriptions.values()) count += subscription.demandedCount
    return count
  }

  #finish(): void {
    if (this.#isEnded) return
    this.#isEnded = true
    for (const timer of this.#timers.values()) timer[Symbol.dispose]()
    for (const subscription of this.#subscriptions.values()) subscription[Symbol.dispose]()
    this.#options.line.forget(this.#resume)
    for (const leave of this.#underWay) leave()
    this.#options.onEnd()
  }
}

function hasFairKeys({ resourceNamesSubscribe, resourceNamesUnsubscribe, initialResourceVersions }: DeltaDiscoveryRequest): boolean {
  const isFair = (key: string): boolean => key.length <= KEY_LIMIT_CHARS
  return [resourceNamesSubscribe, resourceNamesUnsubscribe, Object.keys(initialResourceVersions)].every((keys) => keys.every(isFair))
}
