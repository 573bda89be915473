// Errors of the pod announcements (ZDS), on both ends of the socket.
import { type ErrorRow, failures } from '../kit/error.ts'

/** Code -> row. */
export const ZDS_ERRORS = {
  ZDS_NACK: {
    source: 'upstream',
    retry: 'yes',
    message: 'ztunnel cannot serve the pod',
    hint: 'does an app in the pod use port 15001, 15006, 15008 or 15053?',
  },
  ZDS_CLOSED: {
    source: 'upstream',
    retry: 'yes',
    message: 'the connection to ztunnel has ended',
    hint: 'is ztunnel running on this node?',
  },
  ZDS_TIMEOUT: { source: 'upstream', retry: 'yes', message: 'ztunnel did not acknowledge in time' },
  ZDS_PROTOCOL: { source: 'downstream', retry: 'yes', message: 'the peer broke the ZDS protocol' },
  ZDS_TOO_LARGE: { source: 'internal', retry: 'no', message: 'a ZDS message is longer than 1024 bytes' },
  ZDS_QUEUE_FULL: { source: 'internal', retry: 'yes', message: 'too many ZDS messages wait for ztunnel' },
} as const satisfies Record<string, ErrorRow>

/** Builds (does not throw) an error of ZDS_ERRORS. */
export const zdsFailure = failures(ZDS_ERRORS)
