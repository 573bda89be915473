// Who calls: a bearer token that the object store vouches for, of a trusted node account, bound to a pod that exists right now
// with the same UID on the same node. Used for certificates and for xDS. Follows istio/istio:security/pkg/server/ca/node_auth.go.
import { faults, messageOf, type Result, success } from '../../kit/error.ts'
import type { Pod, TokenReviewStatus } from '../../model/object.ts'
import { hasEnded, type PodIndex, serviceAccountOf } from './pod-index.ts'

/** Audience of the tokens that node proxies present. */
export const TOKEN_AUDIENCE = 'istio-ca'

/** A caller that has been checked. */
export interface NodeCaller {
  readonly namespace: string
  readonly serviceAccount: string
  readonly podName: string
  readonly podUid: string
  readonly node: string
}

/** What the check needs. */
export interface CallerCheck {
  readonly pods: PodIndex
  /** `namespace/account` of the node proxies. */
  readonly trustedAccounts: ReadonlySet<string>
  reviewToken(token: string, audience: string): Promise<TokenReviewStatus>
}

/** @returns the caller, or why it is refused (for the audit log only: the caller learns nothing). Never rejects. */
export async function checkCaller(token: string, check: CallerCheck): Promise<Result<NodeCaller>> {
  let review: TokenReviewStatus
  try {
    review = await check.reviewToken(token, TOKEN_AUDIENCE)
  } catch (error) {
    return faults(`the token cannot be reviewed: ${messageOf(error)}`)
  }
  const { user } = review
  if (!review.authenticated || user === undefined) return faults(`the token is not good: ${review.error ?? 'not authenticated'}`)
  const account = `${user.namespace}/${user.serviceAccount}`
  if (!check.trustedAccounts.has(account)) return faults(`account ${account} is not a trusted node account`)
  const { podName, podUid } = user
  if (podName === undefined || podUid === undefined) return faults('the token is not bound to a pod')
  const pod = check.pods.get(user.namespace, podName)
  if (pod === undefined) return faults(`pod ${user.namespace}/${podName} does not exist`)
  return checkPod(pod, { ...user, podName, podUid })
}

function checkPod(pod: Pod, user: Omit<NodeCaller, 'node'> & { readonly nodeName?: string }): Result<NodeCaller> {
  const place = `pod ${user.namespace}/${user.podName}`
  const node = pod.spec?.nodeName ?? ''
  if (pod.metadata.uid !== user.podUid) return faults(`${place} has another UID than the token`)
  if (serviceAccountOf(pod) !== user.serviceAccount) return faults(`${place} has another account than the token`)
  if (hasEnded(pod)) return faults(`${place} has ended`)
  if (node === '') return faults(`${place} is on no node`)
  if (user.nodeName !== undefined && user.nodeName !== node) return faults(`${place} is on another node than the token`)
  const { namespace, serviceAccount, podName, podUid } = user
  return success({ namespace, serviceAccount, podName, podUid, node })
}
