// ztunnel's end of ZDS: connects, says hello, hands each request on and acknowledges it; reconnects for ever.
// Follows istio/ztunnel:src/inpod/workloadmanager.rs. What the requests mean (snapshot, keep) is the caller's.
import { Backoff } from '../kit/backoff.ts'
import { type Clock, pause } from '../kit/clock.ts'
import { MeshError, messageOf } from '../kit/error.ts'
import type { Log } from '../kit/log.ts'
import type { Netns } from '../linux/netns.ts'
import { netnsOfFd } from '../linux/netns.ts'
import type { SeqpacketSocket } from '../linux/seqpacket.ts'
import { closeAll, SeqpacketThread } from '../linux/seqpacket.ts'
import type { Packet } from '../linux/seqpacket-calls.ts'
import { zdsFailure } from './errors.ts'
import type { ZdsRequest } from './messages.ts'
import { decodeRequest, encodeAck, encodeHello } from './messages.ts'

/** A request as ztunnel gets it: `netns` with `add` and only then; the receiver disposes of it. */
export type ZdsReceived = ZdsRequest & { readonly netns?: Netns }

/** What start takes. */
export interface ZdsClientOptions {
  readonly path: string
  readonly log: Log
  readonly clock: Clock
  /** One at a time; a rejection is sent as an ack with its message. The agent gives up after 5 s. */
  onRequest(request: ZdsReceived): Promise<void>
  /** Changes only. After `true` a new snapshot comes; pods of the old one stay until it is complete. */
  onState(isConnected: boolean): void
}

const RECONNECT = { minMs: 10, maxMs: 15_000 }

/** Keeps one connection to the agent. */
export class ZdsClient {
  readonly #options: ZdsClientOptions
  readonly #thread = new SeqpacketThread()
  readonly #stop = new AbortController()
  readonly #backoff = new Backoff(RECONNECT)
  readonly #done: Promise<void>

  private constructor(options: ZdsClientOptions) {
    this.#options = options
    this.#done = this.#run()
  }

  /** Begins to connect. @throws MeshError SYSCALL_FAILED when there are no descriptors left */
  static start(options: ZdsClientOptions): ZdsClient {
    return new ZdsClient(options)
  }

  /** Ends the connection; resolves when all descriptors are closed (not when a request under way is done). */
  async close(): Promise<void> {
    this.#stop.abort()
    await this.#done
    await this.#thread.stop()
  }

  async #run(): Promise<void> {
    const { path, log, clock } = this.#options
    let isReported = false // a dead agent is said once, not with every try
    while (!this.#stop.signal.aborted) {
      try {
        const socket = this.#thread.connect(path)
        isReported = false
        const error = await this.#converse(socket)
        if (error !== undefined) log.warn('agent connection closed', { path, error: error.message })
        else if (!this.#stop.signal.aborted) log.info('agent connection ended', { path })
      } catch (error) {
        if (!isReported) log.warn('agent cannot be reached, trying again', { path, error: messageOf(error) })
        isReported = true
      }
      await pause(clock, this.#backoff.nextMs(), this.#stop.signal)
    }
  }

  /** @returns why the conversation ended; undefined = the agent left or we were told to stop */
  #converse(socket: SeqpacketSocket): Promise<MeshError | undefined> {
    const { promise, resolve } = Promise.withResolvers<MeshError | undefined>()
    const onStop = (): void => socket.close()
    let isBusy = false
    let failure: MeshError | undefined
    const break_ = (error: MeshError): void => {
      failure ??= error
      socket.close()
    }
    socket.read({
      onPacket: (packet) => {
        if (isBusy) {
          closeAll(packet.fds)
          return break_(zdsFailure('ZDS_PROTOCOL', { reason: 'a request before the last one was acknowledged' }))
        }
        isBusy = true
        void this.#answer(socket, packet, break_).finally(() => {
          isBusy = false
        })
      },
      onEnd: (error) => {
        this.#stop.signal.removeEventListener('abort', onStop)
        this.#options.onState(false)
        resolve(failure ?? error)
      },
    })
    this.#options.onState(true)
    this.#stop.signal.addEventListener('abort', onStop, { once: true })
    if (this.#stop.signal.aborted) socket.close()
    else sendOrBreak(socket, encodeHello(), break_)
    return promise
  }

  /** Never rejects. */
  async #answer(socket: SeqpacketSocket, packet: Packet, break_: (error: MeshError) => void): Promise<void> {
    let request: ZdsReceived
    try {
      request = readRequest(packet)
    } catch (error) {
      sendOrBreak(socket, encodeAck(messageOf(error)), break_)
      return break_(error instanceof MeshError ? error : zdsFailure('ZDS_PROTOCOL', {}, error))
    }
    let failure: string | undefined
    try {
      await this.#options.onRequest(request)
    } catch (error) {
      failure = messageOf(error)
    }
    this.#backoff.reset()
    sendOrBreak(socket, encodeAck(failure), break_)
  }
}

function sendOrBreak(socket: SeqpacketSocket, bytes: Buffer, break_: (error: MeshError) => void): void {
  try {
    socket.send(bytes)
  } catch (error) {
    break_(error instanceof MeshError ? error : zdsFailure('ZDS_CLOSED', {}, error))
  }
}

/** @throws MeshError ZDS_PROTOCOL, NOT_A_NETNS; every descriptor of the packet is closed then */
function readRequest(packet: Packet): ZdsReceived {
  const request = decodeRequest(packet.bytes)
  const wanted = request.ok && request.value.kind === 'add' ? 1 : 0
  if (!request.ok || packet.isTruncated || packet.fds.length !== wanted) {
    closeAll(packet.fds)
    if (packet.isTruncated) throw zdsFailure('ZDS_PROTOCOL', { reason: 'a packet was too long' })
    if (!request.ok) throw zdsFailure('ZDS_PROTOCOL', { reason: request.errors.join(', ') })
    throw zdsFailure('ZDS_PROTOCOL', { kind: request.value.kind, descriptors: packet.fds.length })
  }
  const [fd] = packet.fds
  return fd === undefined ? request.value : { ...request.value, netns: netnsOfFd(fd) }
}
