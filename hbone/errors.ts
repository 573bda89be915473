// Why a tunnel or an HBONE connection ended, as MeshErrors with stable codes.
import { failures } from '../kit/error.ts'

/** code -> who is at fault, whether a retry may help, what the operator checks. */
export const ERRORS = {
  CONNECT_REFUSED: {
    source: 'upstream',
    retry: 'no',
    message: 'the peer refused the CONNECT',
    hint: '401 = its policy denies this identity, 503 = it cannot reach the app, 400 = it does not serve this address',
  },
  STREAM_REFUSED: { source: 'upstream', retry: 'yes', message: 'the peer took no more streams on this connection' },
  STREAM_RESET: { source: 'upstream', retry: 'no', message: 'the peer reset the tunnel' },
  SOCKET_RESET: { source: 'downstream', retry: 'no', message: 'the TCP connection was reset or failed' },
  DIAL_FAILED: { source: 'upstream', retry: 'yes', message: 'the TCP connection could not be made' },
  CONNECTION_CLOSED: {
    source: 'upstream',
    retry: 'if-reused',
    message: 'the HBONE connection ended',
    hint: 'maybe the peer restarted or a NetworkPolicy cuts port 15008',
  },
  GOAWAY: { source: 'upstream', retry: 'yes', message: 'the peer is shutting this connection down and did not process the stream' },
  KEEPALIVE_TIMEOUT: {
    source: 'upstream',
    retry: 'yes',
    message: 'the peer did not answer a PING',
    hint: 'maybe the pod or its node is gone',
  },
  HANDSHAKE_TIMEOUT: { source: 'downstream', retry: 'no', message: 'the peer did not finish the HTTP/2 preface in time' },
  PROTOCOL_VIOLATION: { source: 'downstream', retry: 'no', message: 'the peer broke HTTP/2' },
  PEER_ABUSE: {
    source: 'downstream',
    retry: 'no',
    message: 'the peer exceeded what one connection may cost',
    hint: 'a flood of resets or control frames: look at the peer',
  },
  STREAM_LIMIT: { source: 'internal', retry: 'yes', message: 'this connection carries as many tunnels as it may' },
  POOL_DRAINING: { source: 'internal', retry: 'no', message: 'the pool is draining' },
  ABORTED: { source: 'downstream', retry: 'no', message: 'the caller gave up' },
  CLOSED_LOCALLY: { source: 'internal', retry: 'no', message: 'this side closed the connection' },
} as const

/** Builds (does not throw) a MeshError of the table above. */
export const hboneFailure = failures(ERRORS)

/** HTTP/2 error codes (RFC 9113 section 7). */
export const H2Error = {
  noError: 0x0,
  protocolError: 0x1,
  internalError: 0x2,
  flowControlError: 0x3,
  settingsTimeout: 0x4,
  streamClosed: 0x5,
  frameSizeError: 0x6,
  refusedStream: 0x7,
  cancel: 0x8,
  compressionError: 0x9,
  connectError: 0xa,
  enhanceYourCalm: 0xb,
} as const

/** Name of an HTTP/2 error code for logs; `0x…` when it is not a known one. */
export function h2ErrorName(code: number): string {
  for (const [name, value] of Object.entries(H2Error)) if (value === code) return name
  return `0x${code.toString(16)}`
}
