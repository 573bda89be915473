// Every bound of the HTTP/2 codec beyond http/options.ts, with its reason. A peer can make nothing grow beyond these.

/** Streams that a client may have open toward us; the rest is refused with REFUSED_STREAM. */
export const MAX_STREAMS = 256

/** Streams that we open toward a peer, whatever more it allows; then another connection serves better. */
export const MAX_CLIENT_STREAMS = 256

/** Streams opened before the peer's SETTINGS have come (RFC 9113 §6.5.2 recommends that no peer allows fewer). */
export const EARLY_STREAMS = 100

/** Requests over one client connection: stream numbers end at 2^31. */
export const MAX_CLIENT_REQUESTS = 2 ** 29

/**
 * Bytes that a peer may send on one stream before its reader takes them. Node returns the connection's credit at once, so
 * MAX_STREAMS of these are what one peer can make us hold: 32 MiB.
 */
export const STREAM_WINDOW_BYTES = 128 * 1024

/** The same for all streams of a connection: eight streams at full speed. Below WRITE_QUEUE_BYTES, see channel-duplex.ts. */
export const CONNECTION_WINDOW_BYTES = 1024 * 1024

/** Megabytes that Node's session may hold (streams, header tables, bytes queued toward the peer) before it refuses streams. */
export const SESSION_MEGABYTES = 64

/** Header fields beyond what is answered with 431: the stream is reset while the head is still being read. */
export const HARD_FIELD_FACTOR = 2

/** SETTINGS entries in one frame; there are ten registered ones. */
export const MAX_SETTINGS_PER_FRAME = 32

/** Frames of a session that nghttp2 finds invalid and survives. */
export const MAX_INVALID_FRAMES = 100

/** Unproductive frames (SETTINGS, PING, PRIORITY, RST_STREAM, CONTINUATION, empty DATA, unasked WINDOW_UPDATE) in a burst. */
export const IDLE_FRAME_BURST = 500

/** Unproductive frames forgiven per second; keepalives and BDP probes are far below. */
export const IDLE_FRAMES_PER_SECOND = 100

/** A head or a DATA frame forgives so many unproductive frames … */
export const FORGIVEN_PER_MESSAGE_FRAME = 2

/** … and one more per so many bytes: Go returns credit every 4 KiB, on stream and connection. */
export const FORGIVEN_BYTES = 1024

/** WINDOW_UPDATEs that are owed for what was sent, at most. */
export const MOST_OWED_UPDATES = 65_536

/** Resets are judged over this time; a stream that lived longer was not reset prematurely. */
export const RESET_WINDOW_MS = 1000

/** Below so many streams in that time nothing is judged; above, more than half of them reset is an attack (Envoy's rule). */
export const RESET_MIN_STREAMS = 500

/** nghttp2's own bound on resets, in a burst and per second: above what the rule before lets pass. */
export const NATIVE_RESET_BURST = 5000
export const NATIVE_RESETS_PER_SECOND = 500

/** Streams whose end is remembered; many times what may be open at once. */
export const REMEMBERED_STREAMS = 4096

/** The final GOAWAY follows the announcing one after this, so that requests on their way are still served. */
export const GOAWAY_GRACE_MS = 1000

/** Interim (1xx) responses to one request. */
export const MAX_INTERIM_RESPONSES = 16
