// Every bound of the HBONE codec, with its reason. A peer can make nothing grow beyond these.

/** What one side grants and demands; every field may be overridden for a connection. */
export interface HboneLimits {
  /** Streams that a client may have open toward us; more are refused with REFUSED_STREAM. */
  readonly maxStreams: number
  /** Bytes that a peer may send on one stream before its far socket has drained. */
  readonly streamWindowBytes: number
  /** The same for all streams of a connection. */
  readonly connectionWindowBytes: number
  /** Decoded header list (name + value + 32 per field); larger heads are refused with 431. */
  readonly maxHeaderBytes: number
  readonly maxHeaderFields: number
  /** Largest frame payload accepted. */
  readonly maxFrameBytes: number
  /** Preface and first SETTINGS must have arrived by then. */
  readonly handshakeTimeoutMs: number
  /** Silence after which a PING is sent. */
  readonly pingIntervalMs: number
  /** Silence after that PING which ends the connection. */
  readonly pingTimeoutMs: number
  /** Bytes queued toward TLS at which senders pause. */
  readonly writeQueueBytes: number
}

const KIB = 1024
const MIB = 1024 * KIB

/** The defaults of both roles. */
export const HBONE_LIMITS: HboneLimits = {
  maxStreams: 200, // as ztunnel's server
  streamWindowBytes: 1 * MIB, // 1 ms at 10 Gbit/s: enough on a node and a rack, small enough to hold for a stuck reader
  connectionWindowBytes: 16 * MIB, // 16 stuck readers before a connection stalls
  maxHeaderBytes: 16 * KIB,
  maxHeaderFields: 100,
  maxFrameBytes: 64 * KIB, // DATA passes through unassembled; 256 KiB frames measured slower (cache)
  handshakeTimeoutMs: 10_000,
  pingIntervalMs: 10_000, // both as ztunnel and Envoy waypoints
  pingTimeoutMs: 20_000,
  writeQueueBytes: 256 * KIB, // four frames: one in TLS, three waiting; more only adds latency
}

/** A stream's window is topped up once this share of it was consumed: the sender never runs dry, frames stay few. */
export const STREAM_CREDIT_SHARE = 4

/** The connection's window is topped up in steps of this share of it (1 MiB by default). */
export const CONNECTION_CREDIT_SHARE = 16

/** Received bytes held for slow readers in the whole process; above it new credit shrinks to PRESSURE_WINDOW_BYTES. */
export const PROCESS_HELD_BYTES = 256 * MIB

/** Window of a stream whose reader has drained while the process is above its cap: it goes on, but cannot hold more. */
export const PRESSURE_WINDOW_BYTES = 64 * KIB

/** Encoded header block (HEADERS + CONTINUATION); beyond it the connection ends, as skipping would break HPACK state. */
export const MAX_HEADER_BLOCK_BYTES = 32 * KIB

/** Decoded size at which a header block is an attack (indexed bombs) and not an oversized baggage. */
export const HEADER_BOMB_BYTES = 64 * KIB

/** CONTINUATION frames per header block: 32 KiB in the smallest sensible pieces. */
export const MAX_CONTINUATIONS = 32

/** Dynamic table that peers may use: the protocol's default. */
export const HEADER_TABLE_BYTES = 4096

/** SETTINGS entries in one frame; there are ten registered ones. */
export const MAX_SETTINGS_PER_FRAME = 32

/** Unproductive frames (SETTINGS, PING, PRIORITY, empty DATA, WINDOW_UPDATE, unknown, on closed streams) in a burst. */
export const IDLE_FRAME_BURST = 500

/** Unproductive frames forgiven per second; keepalives and BDP probes are far below. */
export const IDLE_FRAMES_PER_SECOND = 100

/** Resets are judged over this time; a stream that lived longer was not reset prematurely. */
export const RESET_WINDOW_MS = 1000

/** Below so many streams in that time nothing is judged. */
export const RESET_MIN_STREAMS = 500

/** Own control frames (acks, resets, credit) that may wait for a peer that does not read. */
export const CONTROL_BACKLOG_BYTES = 64 * KIB

/** Streams that we reset lately, whose late frames are ignored instead of counted. */
export const RESET_MEMORY_STREAMS = 256

/** Interim (1xx) responses to one CONNECT. */
export const MAX_INTERIM_RESPONSES = 8

/** The final GOAWAY follows the announcing one after this, so that CONNECTs on their way are still served. */
export const GOAWAY_GRACE_MS = 1000

/** A connection that was told GOAWAY with an error gets this long to take it before the socket is destroyed. */
export const FAREWELL_MS = 1000

/** A pooled block: the frame header's room, 64 KiB of payload, and three more headers for peers with 16 KiB frames. */
export const BLOCK_DATA_BYTES = 64 * KIB

/** Free blocks kept for reuse (8 MiB); more are left to the garbage collector. */
export const FREE_BLOCKS = 128

/** A DATA frame with bytes, in either direction, forgives so many unproductive frames: WINDOW_UPDATEs follow data … */
export const FORGIVEN_PER_DATA = 2

/** … and one more per so many bytes: Go returns credit every 4 KiB, on stream and connection. */
export const FORGIVEN_BYTES = 1 * KIB

/** WINDOW_UPDATEs that are owed for what was sent, at most: 64 MiB on their way, credited in steps of FORGIVEN_BYTES. */
export const MOST_OWED_UPDATES = 65_536
