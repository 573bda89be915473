// What can stop the control plane.
import { type ErrorRow, failures } from '../kit/error.ts'

/** Error codes of the control plane. */
export const CONTROLPLANE_ERRORS = {
  CA_STORE_BROKEN: {
    source: 'internal',
    retry: 'no',
    message: 'the stored root certificate and key cannot be used',
    hint: 'restore root.pem and root-key.pem of the CA directory, or the Secret weft-ca or cacerts; without certificate and key no certificate of the mesh can be renewed',
  },
  BUSY: {
    source: 'downstream',
    retry: 'yes',
    message: 'too many tokens are being reviewed',
    hint: 'somebody may flood the control plane with made-up tokens; is the API server slow?',
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
