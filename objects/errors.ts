// Errors of the object API, the same on both sides of the socket: the server answers a status and the code, the client throws it.
import { type ErrorRow, failures } from '../kit/error.ts'

/** Code -> row; `status` is the HTTP status of the API. */
export const OBJECT_ERRORS = {
  NOT_FOUND: { source: 'downstream', retry: 'no', message: 'there is no such object', status: 404 },
  UNKNOWN_KIND: { source: 'downstream', retry: 'no', message: 'this kind is not known', status: 404 },
  INVALID_OBJECT: { source: 'downstream', retry: 'no', message: 'the object is not valid', status: 422 },
  BAD_REQUEST: { source: 'downstream', retry: 'no', message: 'the request cannot be read', status: 400 },
  CONFLICT: {
    source: 'downstream',
    retry: 'yes',
    message: 'the object was changed meanwhile',
    hint: 'read it again and repeat the change',
    status: 409,
  },
  FORBIDDEN: {
    source: 'internal',
    retry: 'yes',
    message: 'a right is missing on the cluster',
    hint: 'grant the verb on the resource to the account, e.g. with the chart of this version',
    status: 403,
  },
  UNAUTHENTICATED: {
    source: 'internal',
    retry: 'yes',
    message: 'the API server does not accept our credentials',
    hint: 'check the user of the kubeconfig, or the service account token of the pod',
    status: 401,
  },
  KUBECONFIG_INVALID: {
    source: 'internal',
    retry: 'no',
    message: 'there is no usable way to the cluster',
    hint: 'check the file and its current context with: kubectl --kubeconfig FILE config view',
  },
  VERSION_TOO_OLD: { source: 'downstream', retry: 'yes', message: 'the watch starts before the kept history', status: 410 },
  TOO_LARGE: { source: 'downstream', retry: 'no', message: 'the request is larger than 4 MiB', status: 413 },
  STORE_FULL: {
    source: 'downstream',
    retry: 'no',
    message: 'the object store has reached its limit',
    hint: 'delete objects that are not needed',
    status: 507,
  },
  NOT_READY: { source: 'internal', retry: 'yes', message: 'this is not available yet', status: 503 },
  API_FAILED: { source: 'internal', retry: 'no', message: 'the object API failed', status: 500 },
  API_UNREACHABLE: {
    source: 'upstream',
    retry: 'yes',
    message: 'the object API does not answer',
    hint: 'is it running? a mesh on this machine is started with: weft up -f DIR',
  },
} as const satisfies Record<string, ErrorRow>

/** Builds an error of this table. */
export const objectFailure = failures(OBJECT_ERRORS)

/** A code of this table. */
export type ObjectErrorCode = keyof typeof OBJECT_ERRORS

/** Whether a code that came over the wire is one of ours. */
export function isObjectErrorCode(code: string): code is ObjectErrorCode {
  return Object.hasOwn(OBJECT_ERRORS, code)
}
