// Decides about one certificate request and signs it: identity comes from the caller's node, or is a waypoint's own, never from the
// request. Every decision is one audit line; the caller of a refused request learns nothing but that it is refused.
import type { CertificateAuthority } from '../../certs/ca.ts'
import { checkCsr } from '../../certs/csr.ts'
import { parseWorkloadId } from '../../certs/spiffe.ts'
import { faults, messageOf, type Result, success } from '../../kit/error.ts'
import type { Log } from '../../kit/log.ts'
import { type Identity, type SpiffeId, spiffeIdOf } from '../../model/identity.ts'
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
  read(): Promise<Result<SignBody>>
}

/** What signing needs. */
export interface SignOptions extends CallerCheck {
  readonly authority: () => CertificateAuthority
  readonly trustDomain: string
  readonly log: Log
}

/** Leaf, intermediates, and as the last entry the roots. */
export type SignedChain = readonly string[]

/** @returns the chain, or undefined when refused. Never rejects. */
export async function sign(request: SignRequest, options: SignOptions): Promise<SignedChain | undefined> {
  const audit: Record<string, unknown> = { peer: request.peer }
  try {
    const decision = await decide(request, options, audit)
    if (decision.ok) {
      const chain = await issue(decision.value, options, audit)
      options.log.info('certificate issued', audit)
      return chain
    }
    options.log.warn('certificate refused', { ...audit, reason: decision.errors.join('; ') })
  } catch (error) {
    options.log.error('certificate could not be issued', { ...audit, error: messageOf(error) })
  }
  return undefined
}

interface Decision {
  readonly id: SpiffeId
  readonly publicKey: Uint8Array
  readonly lifeMs: number
}

async function decide(request: SignRequest, options: SignOptions, audit: Record<string, unknown>): Promise<Result<Decision>> {
  if (request.token === undefined) return faults('no bearer token')
  const caller = await checkCaller(request.token, options)
  if (!caller.ok) return caller
  const { namespace, serviceAccount, podName, podUid, node } = caller.value
  Object.assign(audit, {
    kind: caller.value.kind,
    caller: `${namespace}/${podName}`,
    callerAccount: serviceAccount,
    callerUid: podUid,
    node,
  })
  const body = await request.read()
  if (!body.ok) return body
  const { impersonated, csrPem, lifeMs } = body.value
  audit.asked = impersonated?.slice(0, 512)
  const identity = identityFor(impersonated, caller.value, options)
  if (!identity.ok) return identity
  const id = spiffeIdOf(identity.value)
  audit.id = id
  const csr = await checkCsr(csrPem)
  if (!csr.ok) return csr
  // Asked again: the pod may have gone while the token and the request were checked.
  const { value } = caller
  if (value.kind === 'waypoint' && !isStillThere(value, options.pods)) return faults('the pod of the waypoint has just gone')
  if (!runsOnNode(identity.value, value, options)) return faults('the last pod of the identity has just left the node')
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
