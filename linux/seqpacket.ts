// SOCK_SEQPACKET sockets with descriptor passing for one thread. Sends are plain non-blocking calls; one worker thread
// blocks in poll() and hands over what arrives (libuv refuses this socket type and would drop the descriptors).
// The owner's thread opens and closes every fd, and only when the worker has let go of it: no number is reused under it.
import { closeSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import { MeshError } from '../kit/error.ts'
import { linuxFailure } from './ffi.ts'
import type { Packet, PeerCredentials } from './seqpacket-calls.ts'
import { connectTo, listenAt, peerCredentials, sendPacket, shutdownSocket, socketPair } from './seqpacket-calls.ts'
import type { SeqpacketCommand, SeqpacketEvent } from './seqpacket-worker.ts'

/** What arrives. `onPacket` owns the packet's fds; `onEnd` is called once, after which nothing comes. */
export interface PacketReader {
  onPacket(packet: Packet): void
  /** @param error undefined = the peer has ended (or is dead), or close() was called */
  onEnd(error: MeshError | undefined): void
}

/** What a listener does with connections; it gets the next one after `resume`. */
export interface ConnectionTaker {
  onConnection(socket: SeqpacketSocket, resume: () => void): void
  /** Accepting failed, e.g. out of descriptors; the listener rests until `resume`. */
  onError(error: MeshError, resume: () => void): void
}

/** One connection. */
export interface SeqpacketSocket {
  readonly peer: PeerCredentials
  /** Starts reading; once. A socket that is not read does not notice that its peer is gone. */
  read(reader: PacketReader): void
  /** Sends one packet at once. @throws MeshError SYSCALL_FAILED (EPIPE also after close) */
  send(bytes: Uint8Array, ...passFds: readonly number[]): void
  /** The peer sees the end at once; twice is fine. */
  close(): void
}

interface Entry {
  readonly fd: number
  readonly onEvent: (event: SeqpacketEvent) => void
}

/** A worker and its sockets. Holds the process open until `stop`. */
export class SeqpacketThread {
  readonly #worker: Worker
  readonly #wakeFd: number
  readonly #workerWakeFd: number
  readonly #entries = new Map<number, Entry>()
  readonly #stopped: Promise<void>
  /** process.exit() joins the worker, which must leave its poll for that. */
  readonly #onExit = (): void => this.#tell({ kind: 'stop' })
  #lastId = 0
  #isRunning = true

  /** @throws MeshError SYSCALL_FAILED when there are no descriptors left */
  constructor() {
    const [mine, theirs] = socketPair()
    this.#wakeFd = mine
    this.#workerWakeFd = theirs
    this.#worker = new Worker(new URL('./seqpacket-worker.ts', import.meta.url), { workerData: { wakeFd: theirs }, name: 'seqpacket' })
    this.#worker.on('message', (event: SeqpacketEvent) => this.#dispatch(event))
    // Without it nothing arrives any more, and nobody would notice: the process ends, its supervisor starts another.
    this.#worker.on('error', (error) => {
      throw linuxFailure('SYSCALL_FAILED', { call: 'seqpacket worker' }, error)
    })
    this.#stopped = new Promise((resolve) => this.#worker.once('exit', () => resolve(this.#afterExit())))
    process.once('exit', this.#onExit)
  }

  /**
   * Listens with mode 0600 and replaces a socket that a dead process left there.
   * @returns dispose to stop listening (connections stay; the file stays)
   * @throws MeshError SYSCALL_FAILED
   */
  listen(path: string, taker: ConnectionTaker): Disposable {
    const fd = listenAt(path)
    const id = this.#add(fd, true, (event) => {
      const resume = (): void => this.#tell({ kind: 'resume', id })
      if (event.kind === 'accepted') this.#accepted(event.fd, taker, resume)
      else if (event.kind === 'failed') taker.onError(failureOf('accept4', event.errno), resume)
    })
    return { [Symbol.dispose]: () => this.#remove(id) }
  }

  /** @throws MeshError SYSCALL_FAILED: ENOENT or ECONNREFUSED when nobody listens */
  connect(path: string): SeqpacketSocket {
    return this.#wrap(connectTo(path))
  }

  /** Ends every socket and the worker; resolves when all fds are closed. */
  async stop(): Promise<void> {
    if (this.#isRunning) this.#tell({ kind: 'stop' })
    await this.#stopped
  }

  #accepted(fd: number, taker: ConnectionTaker, resume: () => void): void {
    let socket: SeqpacketSocket
    try {
      socket = this.#wrap(fd)
    } catch (error) {
      if (!(error instanceof MeshError)) throw error
      taker.onError(error, resume)
      return
    }
    taker.onConnection(socket, resume)
  }

  /** Takes ownership of the fd, also when it throws. */
  #wrap(fd: number): SeqpacketSocket {
    let peer: PeerCredentials
    try {
      peer = peerCredentials(fd)
    } catch (error) {
      closeSync(fd)
      throw error
    }
    let id: number | undefined
    let isOpen = true
    let tellEnd: (error: MeshError | undefined) => void = () => undefined
    const close = (error?: MeshError): void => {
      if (!isOpen) return
      isOpen = false
      shutdownSocket(fd)
      if (id === undefined) closeSync(fd)
      else this.#remove(id)
      tellEnd(error)
    }
    return {
      peer,
      read: (reader) => {
        if (!isOpen || id !== undefined) return
        tellEnd = (error) => reader.onEnd(error)
        id = this.#add(fd, false, (event) => {
          if (event.kind === 'packet') this.#received(event, isOpen, reader)
          else if (event.kind === 'ended') close()
          else if (event.kind === 'failed') close(failureOf('recvmsg', event.errno))
        })
      },
      send: (bytes, ...passFds) => {
        if (!isOpen) throw failureOf('sendmsg', EPIPE)
        sendPacket(fd, bytes, passFds)
      },
      close: () => close(),
    }
  }

  #received(event: SeqpacketEvent & { kind: 'packet' }, isOpen: boolean, reader: PacketReader): void {
    if (isOpen) reader.onPacket(event.packet)
    else closeAll(event.packet.fds)
    this.#tell({ kind: 'resume', id: event.id })
  }

  #add(fd: number, isListener: boolean, onEvent: (event: SeqpacketEvent) => void): number {
    const id = ++this.#lastId
    this.#entries.set(id, { fd, onEvent })
    this.#tell({ kind: 'watch', id, fd, isListener })
    return id
  }

  #remove(id: number): void {
    this.#tell({ kind: 'unwatch', id })
  }

  #dispatch(event: SeqpacketEvent): void {
    const entry = this.#entries.get(event.id)
    if (event.kind === 'unwatched') {
      this.#entries.delete(event.id)
      if (entry !== undefined) closeSync(entry.fd)
    } else if (entry !== undefined) entry.onEvent(event)
    else if (event.kind === 'packet') closeAll(event.packet.fds)
    else if (event.kind === 'accepted') closeSync(event.fd)
  }

  #tell(command: SeqpacketCommand): void {
    if (!this.#isRunning) return
    this.#worker.postMessage(command)
    try {
      sendPacket(this.#wakeFd, WAKE)
    } catch (error) {
      if (!(error instanceof MeshError) || error.detail.errno !== EAGAIN) throw error // full of wake-ups: it will wake
    }
  }

  #afterExit(): void {
    this.#isRunning = false
    process.off('exit', this.#onExit)
    for (const [id, entry] of [...this.#entries]) entry.onEvent({ kind: 'ended', id })
    for (const { fd } of this.#entries.values()) closeSync(fd)
    this.#entries.clear()
    closeSync(this.#wakeFd)
    closeSync(this.#workerWakeFd)
  }
}

/** Closes descriptors that nobody wants. */
export function closeAll(fds: readonly number[]): void {
  for (const fd of fds) closeSync(fd)
}

const WAKE = Uint8Array.of(1)
const EAGAIN = 11
const EPIPE = 32

function failureOf(call: string, errno: number): MeshError {
  return linuxFailure('SYSCALL_FAILED', { call, errno })
}
