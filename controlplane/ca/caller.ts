// Who calls: a bearer token that the object store vouches for, bound to a pod that exists right now with the same UID on the same
// node; either of a trusted node account, or of a waypoint's. Used for certificates and for xDS.
// Follows istio/istio:security/pkg/server/ca/node_auth.go.
import { faults, messageOf, type Result, success } from '../../kit/error.ts'
import type { Gateway } from '../../model/gateway-api.ts'
import type { Pod, TokenReviewStatus } from '../../model/object.ts'
import { GATEWAY_NAME_LABEL, isWaypoint, waypointAccountOf } from '../waypoint-class.ts'
import { hasEnded, type PodIndex, serviceAccountOf } from './pod-index.ts'

/** Audience of the tokens that proxies present. */
export const TOKEN_AUDIENCE = 'istio-ca'

interface CallerPod {
  readonly namespace: string
  readonly serviceAccount: string
  readonly podName: string
  readonly podUid: string
  readonly node: string
}

/** A node's proxy: speaks for every pod of its node. */
export interface NodeCaller extends CallerPod {
  readonly kind: 'node'
}

/** A pod of a waypoint: speaks for itself only. */
export interface WaypointCaller extends CallerPod {
  readonly kind: 'waypoint'
  /** `namespace/name` of its Gateway. */
  readonly gateway: string
}

/** A caller that has been checked. */
export type Caller = NodeCaller | WaypointCaller

/** What the check needs. */
export interface CallerCheck {
  readonly pods: PodIndex
  /** `namespace/account` of the node proxies. */
  readonly trustedAccounts: ReadonlySet<string>
  /** The Gateway objects of this moment. */
  gateways(): Iterable<Gateway>
  reviewToken(token: string, audience: string): Promise<TokenReviewStatus>
}

/** @returns the caller, or why it is refused (for the audit log only: the caller learns nothing). Never rejects. */
export async function checkCaller(token: string, check: CallerCheck): Promise<Result<Caller>> {
  let review: TokenReviewStatus
  try {
    review = await check.reviewToken(token, TOKEN_AUDIENCE)
  } catch (error) {
    return faults(`the token cannot be reviewed: ${messageOf(error)}`)
  }
  const { user } = review
  if (!review.authenticated || user === undefined) return faults(`the token is not good: ${review.error ?? 'not authenticated'}`)
  const account = `${user.namespace}/${user.serviceAccount}`
  const isNode = check.trustedAccounts.has(account)
  const pod = checkPod(user, check.pods)
  if (isNode) return pod.ok ? success({ kind: 'node', ...pod.value.caller }) : pod
  const waypoint = pod.ok ? checkWaypoint(pod.value.pod, pod.value.caller, check) : pod
  return waypoint.ok
    ? waypoint
    : faults(`account ${account} is not a trusted node account, nor a waypoint's: ${waypoint.errors.join('; ')}`)
}

/** Whether the caller's pod is still what it was when it was checked. */
export function isStillThere({ namespace, podName, podUid, serviceAccount }: Caller, pods: PodIndex): boolean {
  const pod = pods.get(namespace, podName)
  return pod !== undefined && pod.metadata.uid === podUid && serviceAccountOf(pod) === serviceAccount && !hasEnded(pod)
}

/** Why a caller that was admitted would not be any more; its token aside. */
export function whyLapsed(caller: Caller, check: Pick<CallerCheck, 'pods' | 'gateways'>): string | undefined {
  const pod = check.pods.get(caller.namespace, caller.podName)
  if (pod === undefined || !isStillThere(caller, check.pods)) return 'its pod is gone'
  if (caller.kind === 'node') return undefined
  const waypoint = checkWaypoint(pod, caller, check)
  if (!waypoint.ok) return waypoint.errors.join('; ')
  return waypoint.value.gateway === caller.gateway ? undefined : 'its pod belongs to another Gateway'
}

type TokenUser = NonNullable<TokenReviewStatus['user']>

function checkPod(user: TokenUser, pods: PodIndex): Result<{ readonly pod: Pod; readonly caller: CallerPod }> {
  const { namespace, serviceAccount, podName, podUid, nodeName } = user
  if (podName === undefined || podUid === undefined) return faults('the token is not bound to a pod')
  const place = `pod ${namespace}/${podName}`
  const pod = pods.get(namespace, podName)
  if (pod === undefined) return faults(`${place} does not exist`)
  const node = pod.spec?.nodeName ?? ''
  if (pod.metadata.uid !== podUid) return faults(`${place} has another UID than the token`)
  if (serviceAccountOf(pod) !== serviceAccount) return faults(`${place} has another account than the token`)
  if (hasEnded(pod)) return faults(`${place} has ended`)
  if (node === '') return faults(`${place} is on no node`)
  if (nodeName !== undefined && nodeName !== node) return faults(`${place} is on another node than the token`)
  return success({ pod, caller: { namespace, serviceAccount, podName, podUid, node } })
}

/** The label alone proves nothing, as every pod may carry it: the Gateway must be there and the pod run as its account. */
function checkWaypoint(pod: Pod, caller: CallerPod, check: Pick<CallerCheck, 'gateways'>): Result<WaypointCaller> {
  const { namespace, podName, serviceAccount } = caller
  const name = pod.metadata.labels?.[GATEWAY_NAME_LABEL] ?? ''
  if (name === '') return faults(`pod ${namespace}/${podName} is no pod of a waypoint`)
  const gateway = `${namespace}/${name}`
  for (const object of check.gateways()) {
    if (object.metadata.name !== name || object.metadata.namespace !== namespace) continue
    if (!isWaypoint(object)) return faults(`Gateway ${gateway} is no waypoint`)
    if (waypointAccountOf(object) !== serviceAccount) return faults(`waypoint ${gateway} runs as another account`)
    return success({ kind: 'waypoint', gateway, ...caller })
  }
  return faults(`Gateway ${gateway} does not exist`)
}
