// What both roles of HTTP/2 ask of Node's session.
import type { ServerSessionOptions } from 'node:http2'
import {
  HARD_FIELD_FACTOR,
  MAX_INVALID_FRAMES,
  MAX_SETTINGS_PER_FRAME,
  MAX_STREAMS,
  NATIVE_RESET_BURST,
  NATIVE_RESETS_PER_SECOND,
  SESSION_MEGABYTES,
  STREAM_WINDOW_BYTES,
} from './h2-limits.ts'
import type { HttpLimits } from './options.ts'

/** @returns options for `performServerHandshake` or `connect` */
export function sessionOptions(role: 'client' | 'server', limits: HttpLimits): ServerSessionOptions {
  const settings = { initialWindowSize: STREAM_WINDOW_BYTES, maxHeaderListSize: limits.headBytes }
  return {
    maxSessionMemory: SESSION_MEGABYTES,
    maxSettings: MAX_SETTINGS_PER_FRAME,
    maxHeaderListPairs: limits.headers * HARD_FIELD_FACTOR,
    maxSessionInvalidFrames: MAX_INVALID_FRAMES,
    streamResetBurst: NATIVE_RESET_BURST,
    streamResetRate: NATIVE_RESETS_PER_SECOND,
    maxSendHeaderBlockLength: 2 * limits.headBytes,
    strictSingleValueFields: false, // our own checks say what may come twice
    settings:
      role === 'server'
        ? { ...settings, maxConcurrentStreams: MAX_STREAMS, enableConnectProtocol: true }
        : { ...settings, enablePush: false },
  }
}
