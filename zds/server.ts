// The agent's end of ZDS: ztunnels connect and say hello, the agent announces pods and waits for each ack.
// Follows istio/istio:cni/pkg/nodeagent/ztunnelserver.go; what to announce (snapshot, newest connection) is the caller's.
import { type Clock, systemClock, type Timer } from '../kit/clock.ts'
import { MeshError, messageOf } from '../kit/error.ts'
import type { Log } from '../kit/log.ts'
import type { SeqpacketSocket } from '../linux/seqpacket.ts'
import { closeAll, SeqpacketThread } from '../linux/seqpacket.ts'
import type { Packet, PeerCredentials } from '../linux/seqpacket-calls.ts'
import { zdsFailure } from './errors.ts'
import type { ZdsRequest } from './messages.ts'
import { decodeAck, decodeHello, encodeRequest } from './messages.ts'

/** What listen takes. `onConnection` is called after the peer's hello. */
export interface ZdsServerOptions {
  /** Of the socket; made with mode 0600. */
  readonly path: string
  readonly log: Log
  onConnection(connection: ZdsConnection): void
  readonly clock?: Clock
}

/** Hello and every ack must come within this time. */
export const ZDS_DEADLINE_MS = 5_000
/** At most 5 connections per second are accepted, as Istio's agent does. */
const ACCEPT_PAUSE_MS = 200
/** Connections at once, those that have not said hello included: a rollout needs two. */
const MAX_CONNECTIONS = 16
/** Far above the pods of a node. */
const MAX_QUEUED = 4096

interface Waiting {
  readonly bytes: Buffer
  readonly kind: ZdsRequest['kind']
  readonly netnsFd: number | undefined
  readonly resolve: () => void
  readonly reject: (error: MeshError) => void
}

/** A ztunnel that has said hello. */
export class ZdsConnection {
  /** Grows with each connection: the highest is the newest. */
  readonly id: number
  /** Who connected, by the kernel. */
  readonly peer: PeerCredentials
  /** Resolves when the connection has ended, for whatever reason. */
  readonly closed: Promise<void>
  readonly #socket: SeqpacketSocket
  readonly #clock: Clock
  readonly #log: Log
  readonly #queue: Waiting[] = []
  /** Sent and not acknowledged; with it runs the deadline. */
  #inFlight: { readonly waiting: Waiting; readonly deadline: Timer } | undefined
  #isOpen = true
  readonly #resolveClosed: () => void

  /** Made by ZdsServer. */
  constructor(id: number, socket: SeqpacketSocket, clock: Clock, log: Log) {
    this.id = id
    this.peer = socket.peer
    this.#socket = socket
    this.#clock = clock
    this.#log = log
    const { promise, resolve } = Promise.withResolvers<void>()
    this.closed = promise
    this.#resolveClosed = resolve
  }

  /**
   * Sends after everything that was asked before, one message in flight.
   * @param netnsFd with `add`, and only then; must stay open until the promise is settled, and stays the caller's
   * @throws MeshError ZDS_NACK (detail.reason) | ZDS_CLOSED | ZDS_TIMEOUT (the connection is then closed) | ZDS_TOO_LARGE | ZDS_QUEUE_FULL
   */
  send(request: ZdsRequest, netnsFd?: number): Promise<void> {
    if ((request.kind === 'add') !== (netnsFd !== undefined)) throw new TypeError(`ZDS ${request.kind}: a descriptor goes with add only`)
    return new Promise((resolve, reject) => {
      if (!this.#isOpen) return reject(zdsFailure('ZDS_CLOSED', { pid: this.peer.pid }))
      if (this.#queue.length >= MAX_QUEUED) return reject(zdsFailure('ZDS_QUEUE_FULL', { pid: this.peer.pid }))
      this.#queue.push({ bytes: encodeRequest(request), kind: request.kind, netnsFd, resolve, reject })
      this.#sendNext()
    })
  }

  /** Ends the connection; what waits is rejected with ZDS_CLOSED. */
  close(): void {
    this.end(undefined)
  }

  /** The peer's answer; called by ZdsServer. */
  receive(packet: Packet): void {
    const sent = this.#inFlight
    const answer = decodeAck(packet.bytes)
    if (packet.fds.length > 0 || packet.isTruncated || sent === undefined || !answer.ok) {
      closeAll(packet.fds)
      const reason =
        sent === undefined ? 'a packet that nobody asked for' : answer.ok ? 'descriptors or too long' : answer.errors.join(', ')
      this.end(zdsFailure('ZDS_PROTOCOL', { pid: this.peer.pid, reason }))
      return
    }
    this.#inFlight = undefined
    sent.deadline[Symbol.dispose]()
    if (answer.value === '') sent.waiting.resolve()
    else sent.waiting.reject(zdsFailure('ZDS_NACK', { kind: sent.waiting.kind, reason: answer.value }))
    this.#sendNext()
  }

  /** @param error why, undefined = the peer left; called by ZdsServer */
  end(error: MeshError | undefined): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    if (error !== undefined) this.#log.warn('ztunnel connection closed', { id: this.id, pid: this.peer.pid, error: error.message })
    this.#socket.close()
    const left = zdsFailure('ZDS_CLOSED', { pid: this.peer.pid }, error)
    const sent = this.#inFlight
    this.#inFlight = undefined
    sent?.deadline[Symbol.dispose]()
    sent?.waiting.reject(error?.code === 'ZDS_TIMEOUT' ? error : left)
    for (const waiting of this.#queue.splice(0)) waiting.reject(left)
    this.#resolveClosed()
  }

  #sendNext(): void {
    if (this.#inFlight !== undefined || !this.#isOpen) return
    const waiting = this.#queue.shift()
    if (waiting === undefined) return
    const deadline = this.#clock.after(ZDS_DEADLINE_MS, () =>
      this.end(zdsFailure('ZDS_TIMEOUT', { kind: waiting.kind, pid: this.peer.pid })),
    )
    this.#inFlight = { waiting, deadline }
    try {
      this.#socket.send(waiting.bytes, ...(waiting.netnsFd === undefined ? [] : [waiting.netnsFd]))
    } catch (error) {
      this.end(error instanceof MeshError ? error : zdsFailure('ZDS_CLOSED', { pid: this.peer.pid }, error))
    }
  }
}

/** The listening end. */
export class ZdsServer {
  readonly #options: ZdsServerOptions
  readonly #clock: Clock
  readonly #thread: SeqpacketThread
  readonly #sockets = new Set<SeqpacketSocket>()
  readonly #connections = new Set<ZdsConnection>()
  #lastId = 0
  #isClosing = false

  private constructor(options: ZdsServerOptions) {
    this.#options = options
    this.#clock = options.clock ?? systemClock
    this.#thread = new SeqpacketThread()
  }

  /** @throws MeshError SYSCALL_FAILED when the socket cannot be made */
  static listen(options: ZdsServerOptions): ZdsServer {
    const server = new ZdsServer(options)
    try {
      server.#thread.listen(options.path, {
        onConnection: (socket, resume) => {
          server.#accept(socket)
          server.#later(resume)
        },
        onError: (error, resume) => {
          options.log.error('cannot accept a ztunnel connection', { error: error.message })
          server.#later(resume)
        },
      })
    } catch (error) {
      void server.#thread.stop()
      throw error
    }
    return server
  }

  /** Ends every connection; resolves when all descriptors are closed. */
  async close(): Promise<void> {
    this.#isClosing = true
    for (const connection of this.#connections) connection.close()
    for (const socket of this.#sockets) socket.close()
    await this.#thread.stop()
  }

  #later(resume: () => void): void {
    this.#clock.after(ACCEPT_PAUSE_MS, resume).unref()
  }

  #accept(socket: SeqpacketSocket): void {
    const { log } = this.#options
    if (this.#isClosing || this.#sockets.size >= MAX_CONNECTIONS) {
      log.warn('ztunnel connection refused', { pid: socket.peer.pid, open: this.#sockets.size })
      socket.close()
      return
    }
    this.#sockets.add(socket)
    let connection: ZdsConnection | undefined
    const deadline = this.#clock.after(ZDS_DEADLINE_MS, () => refuse('no hello in time'))
    const refuse = (reason: string): void => {
      log.warn('ztunnel connection closed', { pid: socket.peer.pid, error: reason })
      socket.close()
    }
    socket.read({
      onPacket: (packet) => {
        if (connection !== undefined) return connection.receive(packet)
        deadline[Symbol.dispose]()
        closeAll(packet.fds)
        const hello = decodeHello(packet.bytes)
        if (!hello.ok) return refuse(hello.errors.join(', '))
        if (packet.fds.length > 0 || packet.isTruncated) return refuse('descriptors came with the hello, or it was too long')
        connection = this.#greet(socket)
      },
      onEnd: (error) => {
        deadline[Symbol.dispose]()
        this.#sockets.delete(socket)
        connection?.end(error)
      },
    })
  }

  #greet(socket: SeqpacketSocket): ZdsConnection {
    const { log, onConnection } = this.#options
    const connection = new ZdsConnection(++this.#lastId, socket, this.#clock, log)
    this.#connections.add(connection)
    void connection.closed.then(() => this.#connections.delete(connection))
    log.info('ztunnel connected', { id: connection.id, ...connection.peer })
    try {
      onConnection(connection)
    } catch (error) {
      log.error('ztunnel connection refused', { id: connection.id, error: messageOf(error) })
      connection.close()
    }
    return connection
  }
}
