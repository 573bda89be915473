// Token reviews and requests as Kubernetes speaks them.
import type { TokenReviewStatus } from '../../model/object.ts'
import type { TokenRequest } from '../api.ts'
import { objectFailure } from '../errors.ts'

const ACCOUNT = /^system:serviceaccount:([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?):([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?)$/
const EXTRA = 'authentication.kubernetes.io'

/** The body that asks whose token it is. */
export function reviewBody(token: string, audience: string): object {
  return { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', spec: { token, audiences: [audience] } }
}

/**
 * Reads the answer. Good only for a service account, and only when the API server itself names the audience.
 * @throws API_FAILED when it is no review
 */
export function readReview(body: unknown, audience: string): TokenReviewStatus {
  const status = (body as { status?: Record<string, unknown> } | undefined)?.status
  if (typeof status !== 'object' || status === null) throw objectFailure('API_FAILED', { reason: 'the answer is no token review' })
  const refuse = (error: string): TokenReviewStatus => ({ authenticated: false, error })
  if (status.authenticated !== true)
    return refuse(typeof status.error === 'string' && status.error !== '' ? status.error.slice(0, 300) : 'the token is not valid')
  if (!Array.isArray(status.audiences) || !status.audiences.includes(audience))
    return refuse(`the token is not for the audience ${audience}`)
  const user = (status.user ?? {}) as { username?: unknown; extra?: Record<string, unknown> }
  const account = typeof user.username === 'string' ? ACCOUNT.exec(user.username) : null
  if (account === null) return refuse('the token is not of a service account')
  const { [`${EXTRA}/pod-name`]: podName, [`${EXTRA}/pod-uid`]: podUid, [`${EXTRA}/node-name`]: nodeName } = user.extra ?? {}
  return {
    authenticated: true,
    user: {
      namespace: account[1] ?? '',
      serviceAccount: account[3] ?? '',
      ...one('podName', podName),
      ...one('podUid', podUid),
      ...one('nodeName', nodeName),
    },
  }
}

/** The body that asks for a token. */
export function requestBody({ audiences, expirationSeconds, pod }: TokenRequest): object {
  const bound = pod === undefined ? {} : { boundObjectRef: { apiVersion: 'v1', kind: 'Pod', ...pod } }
  const life = expirationSeconds === undefined ? {} : { expirationSeconds }
  return { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: { audiences, ...life, ...bound } }
}

/** Reads the answer. @throws API_FAILED when there is no token in it */
export function readToken(body: unknown): { token: string; expirationTimestamp: string } {
  const { token, expirationTimestamp } = ((body as { status?: unknown } | undefined)?.status ?? {}) as Record<string, unknown>
  if (typeof token !== 'string' || typeof expirationTimestamp !== 'string')
    throw objectFailure('API_FAILED', { reason: 'the answer holds no token' })
  return { token, expirationTimestamp }
}

/** Extra values are lists; more than one says nothing. */
function one<K extends string>(key: K, values: unknown): Partial<Record<K, string>> {
  const value: unknown = Array.isArray(values) && values.length === 1 ? values[0] : undefined
  return (typeof value === 'string' && value !== '' ? { [key]: value } : {}) as Partial<Record<K, string>>
}
