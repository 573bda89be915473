// Errors of the certificate authority. Checks of foreign certificates return a Result instead.
import { failures } from '../kit/error.ts'
import type { ErrorRow } from '../kit/error.ts'

/** code -> row */
export const CERTS_ERRORS = {
  CA_UNUSABLE: {
    source: 'internal',
    retry: 'no',
    message: 'the certificates or the key of the certificate authority cannot be used',
    hint: 'root-cert.pem, ca-cert.pem, ca-key.pem and cert-chain.pem must belong together',
  },
  CA_EXPIRED: {
    source: 'internal',
    retry: 'no',
    message: "the certificate authority's own certificate is not valid now",
    hint: 'renew the root or intermediate; check the clock',
  },
  ISSUE_REFUSED: { source: 'downstream', retry: 'no', message: 'no certificate is issued for this request' },
} as const satisfies Readonly<Record<string, ErrorRow>>

/** Builds an error of this table. */
export const certsFailure = failures(CERTS_ERRORS)
