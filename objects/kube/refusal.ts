// A refusal of the API server (a `Status` object) -> an error of the object API, with what was asked for in plain words.
import type { MeshError } from '../../kit/error.ts'
import { type ObjectErrorCode, objectFailure } from '../errors.ts'

/** The part of a request that a refusal names. */
export interface Asked {
  readonly verb: string
  readonly resource: string
  readonly namespace?: string | undefined
}

/** By `Status.reason`; see k8s.io/apimachinery/pkg/apis/meta/v1/types.go. */
const BY_REASON: Readonly<Record<string, ObjectErrorCode>> = {
  NotFound: 'NOT_FOUND',
  Unauthorized: 'UNAUTHENTICATED',
  Forbidden: 'FORBIDDEN',
  AlreadyExists: 'CONFLICT',
  Conflict: 'CONFLICT',
  Invalid: 'INVALID_OBJECT',
  Expired: 'VERSION_TOO_OLD',
  Gone: 'VERSION_TOO_OLD',
  BadRequest: 'BAD_REQUEST',
  RequestEntityTooLarge: 'TOO_LARGE',
  TooManyRequests: 'NOT_READY',
  ServerTimeout: 'NOT_READY',
  Timeout: 'NOT_READY',
  ServiceUnavailable: 'NOT_READY',
}
const BY_STATUS: Readonly<Record<number, ObjectErrorCode>> = {
  400: 'BAD_REQUEST',
  401: 'UNAUTHENTICATED',
  403: 'FORBIDDEN',
  404: 'NOT_FOUND',
  409: 'CONFLICT',
  410: 'VERSION_TOO_OLD',
  413: 'TOO_LARGE',
  422: 'INVALID_OBJECT',
  429: 'NOT_READY',
  503: 'NOT_READY',
  504: 'NOT_READY',
}
const MAX_TEXT = 600

/** @param bytes the body: a `Status` as JSON, or whatever a proxy in between says */
export function failureOf(asked: Asked, status: number, bytes: Buffer): MeshError {
  let body: unknown
  try {
    body = JSON.parse(bytes.toString('utf8'))
  } catch {
    body = { message: bytes.toString('utf8', 0, MAX_TEXT) } // not the API server's words: shown as they are
  }
  return failureOfStatus(asked, status, body)
}

/** The same for a `Status` that came inside a watch. @param status its code; 0 = as the object says */
export function failureOfStatus(asked: Asked, status: number, body: unknown): MeshError {
  const { reason, message, code } = (typeof body === 'object' && body !== null ? body : {}) as Record<string, unknown>
  const number = status === 0 && typeof code === 'number' ? code : status
  const found = (typeof reason === 'string' ? BY_REASON[reason] : undefined) ?? BY_STATUS[number] ?? 'API_FAILED'
  const what = typeof message === 'string' && message !== '' ? message.slice(0, MAX_TEXT).trim() : undefined
  if (found !== 'FORBIDDEN') return objectFailure(found, { what, status: what === undefined ? number : undefined })
  const { verb, resource, namespace = '(all)' } = asked
  // A missing right needs no more words; a quota or an admission plugin that refuses does.
  const isRight = what === undefined || / cannot \w+ resource /.test(what)
  return objectFailure('FORBIDDEN', { verb, resource, namespace, account: accountOf(what), what: isRight ? undefined : what })
}

function accountOf(what: string | undefined): string | undefined {
  const account = /User "([^"]{1,300})"/.exec(what ?? '')?.[1]
  return account
}
