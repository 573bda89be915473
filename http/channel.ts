// What carries the bytes of an HTTP connection: an HBONE tunnel or a plain socket, adapted by the component that owns it.
import type { MeshError } from '../kit/error.ts'

/** Takes what a channel delivers. Calls come in order; after onClosed there are none. */
export interface ChannelSink {
  /** Received bytes, valid during the call only. */
  onData(chunk: Buffer): void
  /** The peer's half ended. */
  onEnd(): void
  /** Writing may go on after `write` returned false. */
  onWritable(): void
  /** Nothing more comes or goes; undefined = both halves ended in order. */
  onClosed(error: MeshError | undefined): void
}

/** Bytes both ways. Its methods never throw and do nothing once it is closed. */
export interface Channel {
  /** Starts delivery, once. */
  attach(sink: ChannelSink): void
  /** Sends a copy of `bytes`, all of them. @returns false = write no more until onWritable */
  write(bytes: Buffer): boolean
  /** Ends our half after what was written. */
  end(): void
  /** Ends both halves at once. */
  reset(): void
  /** Stops delivery of further bytes (the peer is slowed down by the carrier's window); bytes under way may still come. */
  pause(): void
  resume(): void
}
