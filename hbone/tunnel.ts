// One CONNECT tunnel as its user sees it: bytes both ways, each direction ended by itself, a reset that is not an end.
import type { MeshError } from '../kit/error.ts'
import type { Block } from './block.ts'

/** Takes what comes out of a tunnel. Calls come in order; after onClosed there are none. */
export interface TunnelSink {
  /** Received bytes, valid during the call only; return as many with `credit` once they have left. */
  onData(chunk: Buffer): void
  /** The peer's half ended (END_STREAM). */
  onEnd(): void
  /** Sending may go on after `sendBlock` or `sendBytes` returned false. */
  onWritable(): void
  /**
   * Nothing more comes or goes: undefined = both halves ended, or a server ended its half and wants no more of ours; else
   * STREAM_RESET, CONNECTION_CLOSED, ABORTED, …
   */
  onClosed(error: MeshError | undefined): void
}

/** An open tunnel. Its methods never throw and do nothing once it is closed. */
export interface HboneTunnel {
  /** Headers of the 200 (client side); empty on the server's side. */
  readonly responseHeaders: Readonly<Record<string, string>>
  /** Resolves with the cause (undefined = both halves ended) when the tunnel is closed. */
  readonly closed: Promise<MeshError | undefined>
  /** Starts delivery, once; what came before is delivered first, within this call. */
  attach(sink: TunnelSink): void
  /** Sends `length` bytes at BLOCK_ROOM of the block, which the tunnel then owns. @returns false = wait for onWritable */
  sendBlock(block: Block, length: number): boolean
  /** Sends a copy of the first `length` bytes (≤ 64 KiB). @returns false = wait for onWritable */
  sendBytes(bytes: Buffer, length: number): boolean
  /** Ends our half after what was sent. */
  end(): void
  /** Ends both halves at once. @param code HTTP/2 error code, default CANCEL */
  reset(code?: number): void
  /** So many received bytes have left this process: the peer may send as many again. */
  credit(bytes: number): void
}
