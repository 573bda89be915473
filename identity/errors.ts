// Errors of fetching certificates: code -> who is at fault, whether to retry, what the operator checks.
import { failures } from '../kit/error.ts'
import type { ErrorRow } from '../kit/error.ts'

/** Rows by code. */
export const IDENTITY_ERRORS = {
  CERTIFICATE_REFUSED: {
    source: 'internal',
    retry: 'yes',
    message: 'the control plane gave no certificate',
    flag: 'IDENTITY_ERROR',
    hint: 'its log names the reason; a pod of that identity must run on this node',
  },
  CERTIFICATE_TIMEOUT: {
    source: 'internal',
    retry: 'yes',
    flag: 'IDENTITY_ERROR',
    message: 'no certificate for this pod yet',
    hint: 'is the certificate authority reachable? see the log, scope `identity`',
  },
  CERTIFICATE_INVALID: {
    source: 'internal',
    retry: 'yes',
    message: 'the control plane sent a certificate that cannot be used',
    flag: 'IDENTITY_ERROR',
    hint: 'check the clocks and which CA answers at the CA address',
  },
} as const satisfies Readonly<Record<string, ErrorRow>>

/** Builds an error of this table. */
export const identityFailure = failures(IDENTITY_ERRORS)
