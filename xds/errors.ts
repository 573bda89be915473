// What can go wrong on an xDS stream.
import { type ErrorRow, failures } from '../kit/error.ts'

/** Error codes of xDS clients and servers. */
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
  XDS_ACK_TIMEOUT: {
    source: 'downstream',
    retry: 'yes',
    message: 'the proxy did not answer a push in time',
    hint: 'its node may be overloaded; it will reconnect',
  },
} as const satisfies Readonly<Record<string, ErrorRow>>

/** Builds an error of this table. */
export const xdsFailure = failures(XDS_ERRORS)
