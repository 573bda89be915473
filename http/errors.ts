// Why a request, a response or an HTTP connection ended, as MeshErrors with stable codes, for both HTTP versions.
import { failures } from '../kit/error.ts'

/** code -> who is at fault, whether a retry may help, the status that a client gets where one can still be sent. */
export const HTTP_ERRORS = {
  BAD_MESSAGE: {
    source: 'downstream',
    retry: 'no',
    message: 'the client sent a request that is malformed or can be read in two ways',
    hint: 'it is refused, never repaired: see the detail',
    flag: 'DPE',
    status: 400,
  },
  HEAD_TOO_LARGE: {
    source: 'downstream',
    retry: 'no',
    message: 'the head of the request is too long or has too many fields',
    hint: 'often too many cookies',
    flag: 'DPE',
    status: 431,
  },
  HEAD_TIMEOUT: {
    source: 'downstream',
    retry: 'no',
    message: 'the client did not finish the head of its request in time',
    flag: 'DPE',
    status: 408,
  },
  METHOD_REFUSED: { source: 'downstream', retry: 'no', message: 'CONNECT is not served here', flag: 'DPE', status: 405 },
  VERSION_REFUSED: {
    source: 'downstream',
    retry: 'no',
    message: 'the client speaks an HTTP version that is not served here',
    flag: 'DPE',
    status: 505,
  },
  CLIENT_GONE: {
    source: 'downstream',
    retry: 'no',
    message: 'the client closed the connection or gave up its request',
    flag: 'DC',
    status: 499,
  },
  CLIENT_ABUSE: {
    source: 'downstream',
    retry: 'no',
    message: 'the client exceeded what one connection may cost',
    hint: 'a flood of resets or control frames: look at the client',
    flag: 'DPE',
  },
  UPSTREAM_RESET: {
    source: 'upstream',
    retry: 'yes',
    message: 'the server reset the request or broke its response off',
    flag: 'UR',
    status: 502,
  },
  UPSTREAM_BAD_MESSAGE: {
    source: 'upstream',
    retry: 'no',
    message: 'the server sent a response that is malformed or can be read in two ways',
    hint: 'see the detail; maybe the port does not speak this HTTP version (appProtocol)',
    flag: 'UPE',
    status: 502,
  },
  CONNECTION_CLOSED: {
    source: 'upstream',
    retry: 'if-reused',
    message: 'the connection to the server ended before the response did',
    hint: 'maybe the server restarted, or its idle timeout is shorter than ours',
    flag: 'UC',
    status: 503,
  },
  CONNECTION_DRAINED: {
    source: 'upstream',
    retry: 'yes',
    message: 'the server is shutting this connection down and did not process the request',
    flag: 'UC',
    status: 503,
  },
  STREAM_REFUSED: {
    source: 'upstream',
    retry: 'yes',
    message: 'this connection takes no more requests at the moment',
    flag: 'UR',
    status: 503,
  },
  BAD_HEAD: {
    source: 'internal',
    retry: 'no',
    message: 'a message that we were about to send is not valid HTTP and was not sent',
    flag: 'UPE',
    status: 500,
  },
  BODY_MISMATCH: {
    source: 'internal',
    retry: 'no',
    message: 'a body that we sent does not have the length that its head promised',
    status: 502,
  },
  CHANNEL_FAILED: { source: 'downstream', retry: 'no', message: 'the TCP connection that carries HTTP was reset or failed' },
  CANCELLED: { source: 'internal', retry: 'no', message: 'this side gave the request up' },
  IDLE_TIMEOUT: { source: 'internal', retry: 'no', message: 'the connection was closed because it was not used' },
} as const

/** Builds (does not throw) a MeshError of the table above. */
export const httpFailure = failures(HTTP_ERRORS)
