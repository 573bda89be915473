// SETTINGS (RFC 9113 section 6.5): what the peer announced, and our own announcement.
import { H2Error } from './errors.ts'
import { type FrameFault, MAX_WINDOW } from './frame.ts'
import type { HboneLimits } from './limits.ts'

/** SETTINGS identifiers that mean something to us. */
export const Setting = {
  headerTableSize: 1,
  enablePush: 2,
  maxConcurrentStreams: 3,
  initialWindowSize: 4,
  maxFrameSize: 5,
  maxHeaderListSize: 6,
} as const

/** Which side of a connection we are. */
export type Role = 'client' | 'server'

/** What the peer allows us; the protocol's defaults until its SETTINGS arrive. */
export interface PeerSettings {
  maxConcurrentStreams: number
  initialWindowBytes: number
  maxFrameBytes: number
}

/** The state before the first SETTINGS. Until then a client assumes 100 streams, as ztunnel does. */
export function initialPeerSettings(): PeerSettings {
  return { maxConcurrentStreams: 100, initialWindowBytes: 65535, maxFrameBytes: 16384 }
}

/** Applies a SETTINGS payload (length checked) to `settings`. @returns the first fault: a connection error */
export function applySettings(settings: PeerSettings, payload: Buffer, ourRole: Role): FrameFault | undefined {
  for (let at = 0; at + 6 <= payload.length; at += 6) {
    const value = payload.readUInt32BE(at + 2)
    switch (payload.readUInt16BE(at)) {
      case Setting.enablePush:
        if (value > 1 || (value === 1 && ourRole === 'client')) return BAD_PUSH
        break
      case Setting.maxConcurrentStreams:
        settings.maxConcurrentStreams = value
        break
      case Setting.initialWindowSize:
        if (value > MAX_WINDOW) return BAD_WINDOW
        settings.initialWindowBytes = value
        break
      case Setting.maxFrameSize:
        if (value < 16384 || value > 0xffffff) return BAD_FRAME_SIZE
        settings.maxFrameBytes = value
        break
      default: // header table: our encoder keeps none; header list size: our heads are far below any
    }
  }
  return undefined
}

/** @returns the payload of our SETTINGS. */
export function ourSettings(limits: HboneLimits, role: Role): Buffer {
  const rows: [number, number][] = [
    [Setting.initialWindowSize, limits.streamWindowBytes],
    [Setting.maxFrameSize, limits.maxFrameBytes],
    [Setting.maxHeaderListSize, limits.maxHeaderBytes],
    role === 'client' ? [Setting.enablePush, 0] : [Setting.maxConcurrentStreams, limits.maxStreams],
  ]
  const payload = Buffer.alloc(rows.length * 6)
  for (const [i, [id, value]] of rows.entries()) {
    payload.writeUInt16BE(id, i * 6)
    payload.writeUInt32BE(value, i * 6 + 2)
  }
  return payload
}

const BAD_PUSH: FrameFault = { code: H2Error.protocolError, reason: 'bad SETTINGS_ENABLE_PUSH' }
const BAD_WINDOW: FrameFault = { code: H2Error.flowControlError, reason: 'SETTINGS_INITIAL_WINDOW_SIZE above 2^31-1' }
const BAD_FRAME_SIZE: FrameFault = { code: H2Error.protocolError, reason: 'bad SETTINGS_MAX_FRAME_SIZE' }
