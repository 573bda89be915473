// Decides about one certificate request and signs it: identity comes from the caller's node, or is a waypoint's own, never from the
// request. Every decision is one audit line; the caller of a refused request learns nothing but that it is refused.
import type { CertificateAuthority } from '../../certs/ca.ts'
import { checkCsr } from '../../certs/csr.ts'
import { parseWorkloadId } from '../../certs/spiffe.ts'
import { faults, messageOf, type Result, success } from '../../kit/error.ts'
import type { Log } from '../../kit/log.ts'
import { type Identity, type SpiffeId, spiffeIdOf } from '../../model/identity.ts'
import type { RateLimit } from '../rate.ts'
import { type Caller, type CallerCheck, checkCaller, isStillThere } from './caller.ts'

/** What is asked for. */
export interface SignBody {
  readonly csrPem: string
  /** SPIFFE ID that a node proxy asks for on behalf of a pod; undefined = the caller's own. */
  readonly impersonated: string | undefined
  /** 0 or less = the default. */
  readonly lifeMs: number
}

/** A request as it came in. `read` is called only when the caller is known: nobody else's bytes are taken in. */
export interface SignRequest {
  readonly token: string | undefined
  readonly peer: string
  /** Name of the caller's cluster as it says; undefined = it says none. */
  readonly clusterId: string | undefined
  read(): Promise<Result<SignBody>>
}

/** What signing needs. */
export interface SignOptions extends CallerCheck {
  readonly authority: () => CertificateAuthority
  readonly trustDomain: string
  readonly clusterId: string
  /** Requests per caller, by the UID of its pod. */
  readonly limit: RateLimit
  readonly log: Log
}

/** Leaf, intermediates, and as the last entry the roots. */
export type SignedChain = readonly string[]

/** What came of a request: certificates, `busy` = ask later, `refused` = for reasons that only the audit log names. */
export type SignAnswer = SignedChain | 'busy' | 'refused'

/** Decides, signs and writes one audit event (of a flood: one per ten seconds). Never rejects. */
export async function sign(request: SignRequest, options: SignOptions): Promise<SignAnswer> {
  const audit: Record<string, unknown> = { peer: request.peer }
  try {
    const caller = await callerOf(request, options)
    if (caller.ok) {
      const uid = describeCaller(caller.value, audit)
      if (!options.limit.take(uid)) return tooMany(uid, options, audit)
    }
    const decision = caller.ok ? await decide(caller.value, request, options, audit) : caller
    if (decision.ok) {
      const chain = await issue(decision.value, options, audit)
      options.log.info('certificate issued', audit)
      return chain
    }
    options.log.warn('certificate refused', { ...audit, reason: decision.errors.join('; ') })
  } catch (error) {
    options.log.error('certificate could not be issued', { ...audit, error: messageOf(error) })
  }
  return 'refused'
}

interface Decision {
  readonly id: SpiffeId
  readonly publicKey: Uint8Array
  readonly lifeMs: number
}

async function callerOf({ token, clusterId }: SignRequest, options: SignOptions): Promise<Result<Caller>> {
  if (token === undefined) return faults('no bearer token')
  const isOther = clusterId !== undefined && clusterId !== '' && clusterId !== options.clusterId
  return isOther ? faults(`the caller is of cluster ${JSON.stringify(clusterId.slice(0, 64))}`) : checkCaller(token, options)
}

/** @returns the UID of the caller's pod */
function describeCaller({ kind, namespace, serviceAccount, podName, podUid, node }: Caller, audit: Record<string, unknown>): string {
  Object.assign(audit, { kind, caller: `${namespace}/${podName}`, callerAccount: serviceAccount, callerUid: podUid, node })
  return podUid
}

function tooMany(uid: string, { limit, log }: SignOptions, audit: Record<string, unknown>): 'busy' {
  const count = limit.toTell(uid)
  if (count !== undefined) log.warn('certificate refused', { ...audit, reason: 'too many requests of this caller', count })
  return 'busy'
}

async function decide(
  caller: Caller,
  request: SignRequest,
  options: SignOptions,
  audit: Record<string, unknown>,
): Promise<Result<Decision>> {
  const body = await request.read()
  if (!body.ok) return body
  const { impersonated, csrPem, lifeMs } = body.value
  audit.asked = impersonated?.slice(0, 512)
  const identity = identityFor(impersonated, caller, options)
  if (!identity.ok) return identity
  const id = spiffeIdOf(identity.value)
  audit.id = id
  const csr = await checkCsr(csrPem)
  if (!csr.ok) return csr
  // Asked again: the pod may have gone while the token and the request were checked.
  if (!isStillThere(caller, options.pods)) return faults("the caller's pod has just gone")
  if (!runsOnNode(identity.value, caller, options)) return faults('the last pod of the identity has just left the node')
  return success({ id, publicKey: csr.value.publicKey, lifeMs })
}

function identityFor(text: string | undefined, caller: Caller, options: SignOptions): Result<Identity> {
  const { namespace, serviceAccount } = caller
  const own = { trustDomain: options.trustDomain, namespace, serviceAccount }
  if (text === undefined) return success(own)
  const identity = parseWorkloadId(text)
  if (!identity.ok) return identity
  if (caller.kind === 'waypoint') {
    return spiffeIdOf(identity.value) === spiffeIdOf(own) ? identity : faults('a waypoint gets certificates of its own identity only')
  }
  if (identity.value.trustDomain !== options.trustDomain) return faults('the identity is of another trust domain')
  if (!runsOnNode(identity.value, caller, options)) return faults(`no pod of the identity runs on node ${caller.node}`)
  return identity
}

function runsOnNode({ namespace, serviceAccount }: Identity, { node }: Caller, { pods }: SignOptions): boolean {
  return pods.runsOn(node, namespace, serviceAccount)
}

async function issue(decision: Decision, options: SignOptions, audit: Record<string, unknown>): Promise<SignedChain> {
  // The authority clamps the life.
  const issued = await options.authority().issue({ publicKey: decision.publicKey, id: decision.id, ttlMs: decision.lifeMs })
  audit.notAfter = issued.notAfter.toISOString()
  audit.serial = issued.serial
  return [...issued.chainPem, issued.rootsPem]
}
