// The worker thread of seqpacket.ts: blocks in poll(), reads packets and accepts connections, and tells the owner.
// It owns no fd: the owner opens and closes them all. After each event a socket rests until the owner says `resume`, so
// a flooding peer fills its own socket buffer and nothing here.
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { MeshError } from '../kit/error.ts'
import type { Packet } from './seqpacket-calls.ts'
import { acceptFrom, receivePacket, waitReadable } from './seqpacket-calls.ts'

/** Owner to worker; a byte on the wake socket says that there is one. */
export type SeqpacketCommand =
  | { readonly kind: 'watch'; readonly id: number; readonly fd: number; readonly isListener: boolean }
  | { readonly kind: 'resume'; readonly id: number }
  | { readonly kind: 'unwatch'; readonly id: number }
  | { readonly kind: 'stop' }

/** Worker to owner. After `ended` and `unwatched` the worker does not touch the fd any more. */
export type SeqpacketEvent =
  | { readonly kind: 'accepted'; readonly id: number; readonly fd: number }
  | { readonly kind: 'packet'; readonly id: number; readonly packet: Packet }
  | { readonly kind: 'failed'; readonly id: number; readonly errno: number }
  | { readonly kind: 'ended'; readonly id: number }
  | { readonly kind: 'unwatched'; readonly id: number }

interface Watched {
  readonly id: number
  readonly fd: number
  readonly isListener: boolean
  /** Told the owner something that it has not answered with `resume`. */
  isResting: boolean
}

/** Backstop only: a lost wake-up must not keep a process from ending. */
const POLL_TIMEOUT_MS = 1000
/**
 * Rounds in a row that may fail before this thread gives up. A single one says little: errno is read after the call, and what the
 * engine does in between (collecting garbage, being stopped and continued) can change it.
 */
const MOST_FAILURES = 100
const FAILURE_PAUSE_MS = 2

const port = parentPort
if (port !== null) serve((workerData as { readonly wakeFd: number }).wakeFd, (event) => port.postMessage(event))

function serve(wakeFd: number, tell: (event: SeqpacketEvent) => void): void {
  const watched = new Map<number, Watched>()
  let failures = 0
  while (takeCommands(watched, tell)) {
    try {
      waitAndRead(wakeFd, watched, tell)
      failures = 0
    } catch (error) {
      if (++failures > MOST_FAILURES) throw error
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, FAILURE_PAUSE_MS)
    }
  }
}

function waitAndRead(wakeFd: number, watched: Map<number, Watched>, tell: (event: SeqpacketEvent) => void): void {
  const active = [...watched.values()].filter((entry) => !entry.isResting)
  for (const index of waitReadable([wakeFd, ...active.map((entry) => entry.fd)], POLL_TIMEOUT_MS)) {
    const entry = active[index - 1]
    if (entry === undefined) while (receivePacket(wakeFd)?.bytes.length === 1);
    else readFrom(entry, watched, tell)
  }
}

/** @returns false when the owner wants the end */
function takeCommands(watched: Map<number, Watched>, tell: (event: SeqpacketEvent) => void): boolean {
  for (;;) {
    const command = port === null ? undefined : (receiveMessageOnPort(port)?.message as SeqpacketCommand | undefined)
    if (command === undefined) return true
    switch (command.kind) {
      case 'watch':
        watched.set(command.id, { ...command, isResting: false })
        break
      case 'resume': {
        const entry = watched.get(command.id)
        if (entry !== undefined) entry.isResting = false
        break
      }
      case 'unwatch':
        watched.delete(command.id)
        tell({ kind: 'unwatched', id: command.id })
        break
      case 'stop':
        return false
      default:
        command satisfies never
    }
  }
}

function readFrom(entry: Watched, watched: Map<number, Watched>, tell: (event: SeqpacketEvent) => void): void {
  const { id, fd, isListener } = entry
  try {
    if (isListener) {
      const accepted = acceptFrom(fd)
      if (accepted === undefined) return
      tell({ kind: 'accepted', id, fd: accepted })
    } else {
      const packet = receivePacket(fd)
      if (packet === undefined) return
      if (packet.bytes.length === 0 && packet.fds.length === 0) {
        watched.delete(id)
        tell({ kind: 'ended', id })
        return
      }
      tell({ kind: 'packet', id, packet: { ...packet, bytes: new Uint8Array(packet.bytes) } })
    }
    entry.isResting = true
  } catch (error) {
    const errno = error instanceof MeshError ? Number(error.detail.errno) : 0
    entry.isResting = true
    tell({ kind: 'failed', id, errno })
  }
}
