// Delta xDS server: authenticates each stream by its bearer token, then keeps every client at the newest revision of a
// PushSource. One response per kind is under way per client; kinds are sent in the source's order. Called by controlplane/push.
import { Metadata, type Server, type ServerDuplexStream, status } from '@grpc/grpc-js'
import type { Clock, Timer } from '../kit/clock.ts'
import { messageOf, type Result } from '../kit/error.ts'
import type { Log } from '../kit/log.ts'
import { type DeltaDiscoveryRequest, DeltaDiscoveryRequestSchema } from '../proto/discovery_pb.ts'
import { decodeMessage } from '../proto/wire.ts'
import { DELTA_ADS } from './ads.ts'
import { Demand } from './demand.ts'
import { DeltaStream, type ClientInfo } from './delta-stream.ts'
import { type EncodedPush, encodePush, PiecePool } from './encode-push.ts'
import { PushLine } from './push-line.ts'
import type { PushSource } from './push-source.ts'
import type { PendingPush } from './subscription.ts'

/** What a server lets one client do. */
export interface ServerLimits {
  /** Streams at once, over all clients; more are refused with RESOURCE_EXHAUSTED. */
  readonly streams: number
  /** Streams at once with one caller (a node's proxy has one or, in a rollout, two). */
  readonly streamsPerCaller: number
  /** Requests that one stream may send in 10 s. */
  readonly messagesPer10S: number
  /** Keys that one stream may demand by name. */
  readonly subscriptions: number
  /** Bytes of one request. */
  readonly messageBytes: number
  /** Time to answer a push; later the stream is ended. */
  readonly ackTimeoutMs: number
  /** Token checks under way at once; further callers wait. */
  readonly authentications: number
  /** Large responses that are being written at once; further ones wait in line. */
  readonly largePushes: number
}

/** Limits for a mesh of some thousand nodes. */
export const SERVER_LIMITS: ServerLimits = {
  streams: 10_000,
  streamsPerCaller: 8,
  messagesPer10S: 10_000,
  subscriptions: 50_000,
  messageBytes: 16 * 1024 * 1024, // initial_resource_versions of about 150,000 resources
  ackTimeoutMs: 30_000,
  authentications: 256,
  largePushes: 64,
}

/** Who opened a stream. `key` counts against streamsPerCaller. */
export interface XdsCaller {
  readonly key: string
  /** Fields for log lines and status. */
  readonly label: string
  /** `namespace/name` of the gateway that the caller serves; undefined = it is a node's proxy. */
  readonly gateway: string | undefined
  /** Whether the caller may ask for a name, for `*` (everything), or (undefined) follow the kind without a name yet. */
  mayDemand(typeUrl: string, name: string | undefined): boolean
  /** Why it may be served no longer, undefined = it may; asked every few seconds. Absent: for ever. */
  lapse?(): string | undefined
}

/** A caller that has lapsed is served for so long at most. */
export const RECHECK_MS = 5000

/** What a server needs. */
export interface DeltaServerOptions {
  readonly source: PushSource
  /** Decides by the bearer token; `errors` of a refusal are logged, the caller learns nothing. Must not reject. */
  authenticate(token: string, peer: string): Promise<Result<XdsCaller>>
  readonly limits?: Partial<ServerLimits>
  readonly log: Log
  readonly clock: Clock
  /** Called for every response that a client refused, wholly or in part. */
  onRefusal?(client: ClientInfo, typeUrl: string, message: string): void
  /** Called when the number of streams changed. */
  onClients?(count: number): void
  /** Called when a client that serves a gateway went, answered, or may have something new to answer. */
  onGatewayClients?(): void
  /** Called for every response sent. */
  onPush?(typeUrl: string, upserts: number, removes: number, bytes: number): void
}

/** A server for any number of clients. `close` ends all streams. */
export class DeltaServer {
  readonly #options: DeltaServerOptions
  readonly #limits: ServerLimits
  readonly #demand: Demand
  readonly #line: PushLine
  readonly #pool = new PiecePool()
  readonly #streams = new Set<DeltaStream>()
  readonly #gatewayStreams = new Set<DeltaStream>() // of callers that serve a gateway; subset of #streams
  readonly #perCaller = new Map<string, number>()
  readonly #subscription: Disposable
  readonly #waiters = new Set<() => void>()
  readonly #queue: (() => void)[] = [] // callers that wait for their token's check
  #authenticating = 0 // checks under way
  #admitting = 0 // callers that are being checked or wait for it
  #isClosed = false
  #nextId = 1
  #recheck: Timer | undefined // set while there are streams

  constructor(options: DeltaServerOptions) {
    this.#options = options
    this.#limits = { ...SERVER_LIMITS, ...options.limits }
    this.#demand = new Demand(options.source)
    this.#line = new PushLine(options.clock, this.#limits.largePushes)
    this.#subscription = options.source.onChange((batches) => {
      for (const batch of batches) this.#demand.offer(batch)
      for (const stream of this.#streams) stream.offer(batches)
      this.#notify()
      if (this.#gatewayStreams.size > 0) this.#tellGateways()
    })
  }

  /** Registers the method on a gRPC server. */
  addTo(server: Server): void {
    const service = { deltaAggregatedResources: DELTA_ADS }
    server.addService(service, {
      deltaAggregatedResources: (call: ServerDuplexStream<Buffer, Buffer>) => void this.#accept(call),
    })
  }

  /** Connected clients. */
  clients(): readonly ClientInfo[] {
    return [...this.#streams].map((stream) => stream.info())
  }

  /** Connected clients that serve a gateway. */
  gatewayClients(): readonly ClientInfo[] {
    return [...this.#gatewayStreams].map((stream) => stream.info())
  }

  /** Clients that have not accepted everything up to a revision. */
  lagging(revision: number): readonly ClientInfo[] {
    return [...this.#streams].filter((stream) => !stream.hasAcked(revision)).map((stream) => stream.info())
  }

  /** Waits until every connected client has accepted a revision. @returns those that have not after `timeoutMs` */
  waitForAcks(revision: number, timeoutMs: number): Promise<readonly ClientInfo[]> {
    return new Promise((resolve) => {
      const done = (): void => {
        timer[Symbol.dispose]()
        this.#waiters.delete(check)
        resolve(this.lagging(revision))
      }
      const check = (): void => {
        if (this.lagging(revision).length === 0) done()
      }
      const timer = this.#options.clock.after(timeoutMs, done)
      this.#waiters.add(check)
      check()
    })
  }

  /** Ends every stream (clients reconnect, to another replica if there is one) and takes no more. */
  close(): void {
    this.#isClosed = true
    this.#subscription[Symbol.dispose]()
    this.#recheck?.[Symbol.dispose]()
    for (const stream of this.#streams) stream.end(status.UNAVAILABLE, 'the control plane is going away')
  }

  async #accept(call: ServerDuplexStream<Buffer, Buffer>): Promise<void> {
    const peer = call.getPeer()
    // Nothing of the stream is read before the caller is known.
    call.on('error', (error) => this.#options.log.debug('configuration stream failed', { peer, error: messageOf(error) }))
    const admitted = this.#refusal(this.#admitting) ?? (await this.#admitInTurn(call, peer))
    if (call.cancelled) return
    if ('caller' in admitted) this.#open(call, admitted.caller, peer)
    else call.emit('error', { ...admitted, metadata: new Metadata() })
  }

  #refusal(others: number): { code: number; details: string } | undefined {
    if (this.#isClosed) return { code: status.UNAVAILABLE, details: 'the control plane is going away' }
    if (this.#streams.size + others < this.#limits.streams) return undefined
    return { code: status.RESOURCE_EXHAUSTED, details: 'too many streams' }
  }

  /** After a restart of the control plane all proxies come at once: they wait here instead of trying again and again. */
  async #admitInTurn(call: ServerDuplexStream<Buffer, Buffer>, peer: string): Promise<Admission> {
    this.#admitting++
    if (this.#authenticating >= this.#limits.authentications) await new Promise<void>((resolve) => this.#queue.push(resolve))
    this.#authenticating++
    try {
      return call.cancelled ? GONE : await this.#admit(call, peer)
    } finally {
      this.#authenticating--
      this.#admitting--
      this.#queue.shift()?.()
    }
  }

  async #admit(call: ServerDuplexStream<Buffer, Buffer>, peer: string): Promise<Admission> {
    const caller = await this.#authenticate(call, peer)
    if (caller === undefined) return { code: status.UNAUTHENTICATED, details: 'authentication failure' }
    if ((this.#perCaller.get(caller.key) ?? 0) < this.#limits.streamsPerCaller) return this.#refusal(0) ?? { caller }
    return { code: status.RESOURCE_EXHAUSTED, details: 'too many streams of this caller' }
  }

  async #authenticate(call: ServerDuplexStream<Buffer, Buffer>, peer: string): Promise<XdsCaller | undefined> {
    const token = bearerOf(call.metadata)
    if (token === undefined) {
      this.#options.log.warn('configuration stream refused', { peer, reason: 'no bearer token' })
      return undefined
    }
    try {
      const result = await this.#options.authenticate(token, peer)
      if (result.ok) return result.value
      this.#options.log.warn('configuration stream refused', { peer, reason: result.errors.join('; ') })
    } catch (error) {
      this.#options.log.error('authentication failed to run', { peer, error: messageOf(error) })
    }
    return undefined
  }

  #open(call: ServerDuplexStream<Buffer, Buffer>, caller: XdsCaller, peer: string): void {
    const { source, log, clock, onRefusal, onPush, onClients } = this.#options
    const stream = new DeltaStream({
      id: this.#nextId++,
      call,
      caller,
      peer,
      source,
      demand: this.#demand,
      line: this.#line,
      pool: this.#pool,
      clock,
      limits: this.#limits,
      log,
      encode: (typeUrl, pending, nonce) => {
        const push = this.#encode(typeUrl, pending, nonce)
        onPush?.(typeUrl, push.upserts, push.removes, push.bytes)
        return push
      },
      onAnswer: (typeUrl, refusal) => {
        if (refusal !== undefined) onRefusal?.(stream.info(), typeUrl, refusal)
        this.#notify()
        if (caller.gateway !== undefined) this.#tellGateways()
      },
      onEnd: () => {
        this.#streams.delete(stream)
        if (this.#gatewayStreams.delete(stream)) this.#tellGateways()
        const left = (this.#perCaller.get(caller.key) ?? 1) - 1
        if (left > 0) this.#perCaller.set(caller.key, left)
        else this.#perCaller.delete(caller.key)
        onClients?.(this.#streams.size)
        this.#notify()
      },
    })
    this.#perCaller.set(caller.key, (this.#perCaller.get(caller.key) ?? 0) + 1)
    this.#streams.add(stream)
    if (caller.gateway !== undefined) this.#gatewayStreams.add(stream)
    onClients?.(this.#streams.size)
    this.#recheckLater()
    call.on('data', (bytes: Buffer) => stream.receive(this.#decode(bytes)))
  }

  /** What admitted a caller may be gone long before its stream: its token, its pod, its Gateway. */
  #recheckLater(): void {
    if (this.#recheck !== undefined || this.#isClosed || this.#streams.size === 0) return
    this.#recheck = this.#options.clock.after(RECHECK_MS, () => {
      this.#recheck = undefined
      for (const stream of this.#streams) stream.recheck()
      this.#recheckLater()
    })
    this.#recheck.unref()
  }

  #decode(bytes: Buffer): Result<DeltaDiscoveryRequest> {
    return decodeMessage(DeltaDiscoveryRequestSchema, bytes, this.#limits.messageBytes)
  }

  #encode(typeUrl: string, pending: PendingPush, nonce: string): EncodedPush {
    const { source } = this.#options
    return encodePush({ typeUrl, revision: source.revision, nonce }, source.snapshot(typeUrl), pending, this.#pool)
  }

  #tellGateways(): void {
    if (!this.#isClosed) this.#options.onGatewayClients?.()
  }

  #notify(): void {
    for (const check of [...this.#waiters]) check()
  }
}

type Admission = { readonly caller: XdsCaller } | { readonly code: number; readonly details: string }
const GONE: Admission = { code: status.CANCELLED, details: 'the caller is gone' }

/** @returns the token of `authorization: Bearer TOKEN`; undefined when absent, repeated or longer than 16 KiB. */
export function bearerOf(metadata: Metadata): string | undefined {
  const values = metadata.get('authorization')
  const [value] = values
  if (values.length !== 1 || typeof value !== 'string' || value.length > 16_384) return undefined
  return /^Bearer ([\x21-\x7e]+)$/i.exec(value)?.[1]
}
