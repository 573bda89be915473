// What can go wrong on an xDS stream, seen from the client.
import { type ErrorRow, failures } from '../kit/error.ts'

/** Error codes of xDS clients. */
export const XDS_ERRORS = {
  XDS_STREAM_LOST: {
    source: 'upstream',
    retry: 'yes',
    message: 'the configuration stream ended',
    hint: 'the last configuration stays in force; check that the control plane runs and port 15012 is open',
  },
  XDS_MALFORMED: {
    source: 'upstream',
    retry: 'yes',
    message: 'the control plane sent a message that cannot be read',
    hint: 'the versions of proxy and control plane may not fit',
  },
} as const satisfies Readonly<Record<string, ErrorRow>>

/** Builds an error of this table. */
export const xdsFailure = failures(XDS_ERRORS)
