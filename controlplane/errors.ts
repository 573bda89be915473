// What can stop the control plane.
import { type ErrorRow, failures } from '../kit/error.ts'

/** Error codes of the control plane. */
export const CONTROLPLANE_ERRORS = {
  CA_STORE_BROKEN: {
    source: 'internal',
    retry: 'no',
    message: 'the stored root certificate and key cannot be used',
    hint: 'restore root.pem and root-key.pem of the CA directory; without both of them no certificate of the mesh can be renewed',
  },
  LISTEN_FAILED: {
    source: 'internal',
    retry: 'no',
    message: 'a port of the control plane cannot be opened',
    hint: 'another control plane may run in this network namespace',
  },
} as const satisfies Readonly<Record<string, ErrorRow>>

/** Builds an error of this table. */
export const controlplaneFailure = failures(CONTROLPLANE_ERRORS)
