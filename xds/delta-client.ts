// Delta xDS client: one stream for all kinds, reconnected for ever; state is handed on as upserts and removals and is never
// emptied by a lost connection. Called by ztunnel and waypoints. Follows istio/ztunnel:src/xds/client.rs.
import { ChannelCredentials, Client, type ClientDuplexStream, Metadata } from '@grpc/grpc-js'
import { Backoff } from '../kit/backoff.ts'
import { type Clock, pause, type Timer } from '../kit/clock.ts'
import { codeOf, messageOf } from '../kit/error.ts'
import type { Log } from '../kit/log.ts'
import { type Endpoint, formatEndpoint } from '../model/address.ts'
import { type DeltaDiscoveryResponse, DeltaDiscoveryResponseSchema, DeltaDiscoveryRequestSchema } from '../proto/discovery_pb.ts'
import { decodeMessage, encodeMessage } from '../proto/wire.ts'
import { DELTA_ADS } from './ads.ts'
import { xdsFailure } from './errors.ts'
import { KindState, type KindOptions } from './kind-state.ts'
import { MAX_PUSH_BYTES } from './kinds.ts'

/** One push: what is new or changed, and what is gone. Bytes are those of the resource, without its envelope. */
export interface XdsPush {
  readonly upserts: readonly { readonly name: string; readonly bytes: Uint8Array }[]
  readonly removes: readonly string[]
}

/** `isSynced` = every wildcard kind has been applied once; stays true for ever. */
export interface XdsState {
  readonly isConnected: boolean
  readonly isSynced: boolean
}

/** What a client needs. Callbacks run one at a time, on the thread of the caller. */
export interface DeltaClientOptions {
  /** `host:port` or an endpoint. */
  readonly address: Endpoint | string
  /** PEM of the roots that the server's certificate must chain to; read at each connect, so that a changed file counts. */
  readonly roots: () => Buffer
  /** Name that the server's certificate must carry. */
  readonly serverName: string
  /** Bearer token; read at each connect. */
  readonly token: () => string
  /** Identifies this proxy to the control plane. */
  readonly node: { readonly id: string; readonly metadata: Readonly<Record<string, string>> }
  readonly clusterId?: string
  /** In the order in which they are subscribed to. */
  readonly kinds: readonly KindOptions[]
  /**
   * Applies a push. The good resources must have been applied when it returns.
   * @returns one sentence per resource that was refused (empty: all applied); they go to the control plane
   */
  onPush(typeUrl: string, push: XdsPush): readonly string[]
  onState(state: XdsState): void
  readonly log: Log
  readonly clock: Clock
  /** Uniform in [0, 1), for the jitter. */
  readonly random?: () => number
}

const RECONNECT_MIN_MS = 10 // as published by ztunnel
const RECONNECT_MAX_MS = 10_000 // with the jitter 15 s: so soon after the control plane is back every proxy is
const KEEPALIVE_MS = 30_000 // twice the 15 s that gRPC servers tolerate
const KEEPALIVE_TIMEOUT_MS = 10_000
const NACK_TEXT_LIMIT_CHARS = 16_384
/** The first demand goes out at once, those that follow within this time together: servers limit requests. */
const DEMANDS_MS = 10
type Stream = ClientDuplexStream<Buffer, Buffer>

/** A reconnecting client. `start` once, `stop` for ever. */
export class DeltaClient {
  readonly #options: DeltaClientOptions
  readonly #kinds: ReadonlyMap<string, KindState>
  readonly #stopped = new AbortController()
  readonly #asking = new Map<string, Set<string>>() // demands that have not been sent, by kind
  #askTimer: Timer | undefined // set for a moment after demands were sent
  #stream: Stream | undefined // set while a stream is open and the first requests have been sent
  #state: XdsState = { isConnected: false, isSynced: false }

  constructor(options: DeltaClientOptions) {
    this.#options = options
    this.#kinds = new Map(options.kinds.map((kind) => [kind.typeUrl, new KindState(kind)]))
  }

  /** Connects in the background; never throws. */
  start(): void {
    void this.#run()
  }

  /** Ends the stream; no callback comes after this. */
  stop(): void {
    this.#stopped.abort()
  }

  get state(): XdsState {
    return this.#state
  }

  /** Asks for a resource of an on-demand kind, by name or alias. Asking again does nothing. */
  demand(typeUrl: string, name: string): void {
    if (this.#kinds.get(typeUrl)?.demand(name) !== true) return
    const asking = this.#asking.get(typeUrl)
    if (asking === undefined) this.#asking.set(typeUrl, new Set([name]))
    else asking.add(name)
    if (this.#askTimer === undefined) this.#ask()
  }

  /** Gives up what was demanded; the control plane answers with the removal of what no other demand covers. */
  release(typeUrl: string, name: string): void {
    if (this.#kinds.get(typeUrl)?.release(name) !== true) return
    if (this.#asking.get(typeUrl)?.delete(name) !== true) this.#request(typeUrl, { unsubscribe: [name] })
  }

  #ask(): void {
    if (this.#asking.size === 0 || this.#stopped.signal.aborted) return
    for (const [typeUrl, names] of this.#asking) {
      const unsubscribe = (this.#kinds.get(typeUrl)?.giveUp() ?? []).filter((name) => !names.delete(name))
      this.#request(typeUrl, { subscribe: [...names], unsubscribe })
    }
    this.#asking.clear()
    this.#askTimer = this.#options.clock.after(DEMANDS_MS, () => {
      this.#askTimer = undefined
      this.#ask()
    })
    this.#askTimer.unref()
  }

  async #run(): Promise<void> {
    const { log, clock, random } = this.#options
    const signal = this.#stopped.signal
    const backoff = new Backoff({ minMs: RECONNECT_MIN_MS, maxMs: RECONNECT_MAX_MS, jitter: 0.5, ...(random && { random }) })
    while (!signal.aborted) {
      let failure: unknown
      try {
        await this.#session(() => backoff.reset())
      } catch (error) {
        failure = error
      }
      if (signal.aborted) return
      this.#setState({ ...this.#state, isConnected: false })
      const delayMs = backoff.nextMs()
      log.warn('configuration stream lost', { code: codeOf(failure), error: messageOf(failure), retryInMs: Math.round(delayMs) })
      await pause(clock, delayMs, signal)
    }
  }

  /** One stream from connect to end. A fresh channel each time: its own back-off would add to ours, and the roots may have changed. */
  async #session(onProgress: () => void): Promise<void> {
    const { address, roots, serverName, token, clusterId } = this.#options
    const client = new Client(typeof address === 'string' ? address : formatEndpoint(address), ChannelCredentials.createSsl(roots()), {
      'grpc.ssl_target_name_override': serverName,
      'grpc.default_authority': serverName,
      'grpc.use_local_subchannel_pool': 1,
      'grpc.max_receive_message_length': MAX_PUSH_BYTES,
      'grpc.keepalive_time_ms': KEEPALIVE_MS,
      'grpc.keepalive_timeout_ms': KEEPALIVE_TIMEOUT_MS,
      'grpc.enable_retries': 0,
      'grpc.service_config_disable_resolution': 1,
    })
    try {
      const metadata = new Metadata()
      metadata.set('authorization', `Bearer ${token().trim()}`)
      if (clusterId !== undefined) metadata.set('clusterid', clusterId)
      const stream = client.makeBidiStreamRequest(DELTA_ADS.path, DELTA_ADS.requestSerialize, DELTA_ADS.responseDeserialize, metadata)
      await this.#follow(stream, onProgress)
    } finally {
      this.#stream = undefined
      client.close()
    }
  }

  #follow(stream: Stream, onProgress: () => void): Promise<void> {
    const signal = this.#stopped.signal
    return new Promise((resolve, reject) => {
      const end = (error?: Error): void => {
        signal.removeEventListener('abort', onAbort)
        stream.cancel()
        reject(error ?? xdsFailure('XDS_STREAM_LOST'))
      }
      const onAbort = (): void => {
        stream.cancel()
        resolve()
      }
      if (signal.aborted) return onAbort()
      signal.addEventListener('abort', onAbort, { once: true })
      stream.on('error', (cause) => end(xdsFailure('XDS_STREAM_LOST', {}, cause)))
      stream.on('end', () => end())
      stream.on('data', (bytes: Buffer) => {
        if (signal.aborted || this.#stream !== stream) return
        const response = decodeMessage(DeltaDiscoveryResponseSchema, bytes, MAX_PUSH_BYTES)
        if (!response.ok) return end(xdsFailure('XDS_MALFORMED', { reason: response.errors[0] }))
        onProgress()
        this.#apply(response.value)
      })
      this.#stream = stream
      this.#subscribeAll()
    })
  }

  #subscribeAll(): void {
    this.#asking.clear() // the first requests hold all of it
    let isFirst = true
    for (const [typeUrl, kind] of this.#kinds) {
      this.#request(typeUrl, kind.initial(), isFirst)
      isFirst = false
    }
  }

  #apply(response: DeltaDiscoveryResponse): void {
    const { typeUrl, nonce } = response
    const { log } = this.#options
    this.#setState({ ...this.#state, isConnected: true })
    const kind = this.#kinds.get(typeUrl)
    if (kind === undefined) {
      log.warn('the control plane pushed a kind that was not asked for', { type: typeUrl })
      this.#answer(typeUrl, nonce, [`${typeUrl}: this kind was not asked for`])
      return
    }
    const { push, versions, faults } = kind.read(response)
    const refused = [...faults]
    try {
      refused.push(...this.#options.onPush(typeUrl, push))
    } catch (error) {
      log.error('applying a push failed', { type: typeUrl, error: messageOf(error) })
      refused.push(`internal failure: ${messageOf(error)}`)
    }
    kind.record(versions, push.removes, refused.length === 0)
    if (refused.length > 0) log.warn('parts of a push were refused', { type: typeUrl, count: refused.length, first: refused[0] })
    this.#answer(typeUrl, nonce, refused)
    if ([...this.#kinds.values()].every((each) => each.hasSynced || each.isOnDemand)) {
      this.#setState({ isConnected: true, isSynced: true })
    }
  }

  #answer(typeUrl: string, nonce: string, refused: readonly string[]): void {
    const message = refused.join('; ').slice(0, NACK_TEXT_LIMIT_CHARS)
    const errorDetail = { code: 3 /* INVALID_ARGUMENT */, message }
    this.#send({ typeUrl, responseNonce: nonce, ...(refused.length > 0 && { errorDetail }) })
  }

  #request(
    typeUrl: string,
    what: { subscribe?: readonly string[]; unsubscribe?: readonly string[]; versions?: Readonly<Record<string, string>> },
    withNode = false,
  ): void {
    const { node } = this.#options
    this.#send({
      typeUrl,
      resourceNamesSubscribe: [...(what.subscribe ?? [])],
      resourceNamesUnsubscribe: [...(what.unsubscribe ?? [])],
      initialResourceVersions: { ...what.versions },
      ...(withNode && { node: { id: node.id, metadata: { ...node.metadata } } }),
    })
  }

  #send(request: Parameters<typeof encodeMessage<typeof DeltaDiscoveryRequestSchema>>[1]): void {
    this.#stream?.write(encodeMessage(DeltaDiscoveryRequestSchema, request))
  }

  #setState(state: XdsState): void {
    if (state.isConnected === this.#state.isConnected && state.isSynced === this.#state.isSynced) return
    this.#state = state
    this.#options.onState(state)
  }
}
