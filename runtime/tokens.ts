// Service account tokens: JWTs (ES256) with Kubernetes' bound claims, and the review that says whether one is still good.
// The signing key is one of the two stored keys of the mesh: keys/token-signing.pem, 0600, made once per mesh.
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { errors as joseErrors, jwtVerify, SignJWT } from 'jose'
import type { Clock } from '../kit/clock.ts'
import { messageOf } from '../kit/error.ts'
import type { MeshObject, Pod, TokenReviewStatus } from '../model/object.ts'
import type { TokenRequest } from '../objects/api.ts'
import { objectFailure } from '../objects/errors.ts'

/** Where the issuer looks objects up. */
export interface TokenObjects {
  find(kind: string, namespace: string | undefined, name: string): MeshObject | undefined
}

const ISSUER = 'https://kubernetes.default.svc.cluster.local'
const DEFAULT_LIFETIME_S = 3600
const MAX_LIFETIME_S = 24 * 3600
const MAX_TOKEN_BYTES = 16 * 1024

interface BoundClaims {
  readonly namespace: string
  readonly serviceaccount: { readonly name: string; readonly uid: string }
  readonly pod?: { readonly name: string; readonly uid: string }
  readonly node?: { readonly name: string; readonly uid?: string }
}

/** Signs and reviews. A token dies with its pod, its service account, or at its expiry. */
export class TokenIssuer {
  readonly #objects: TokenObjects
  readonly #clock: Clock
  readonly #key: KeyObject
  readonly #publicKey: KeyObject

  /** @param options.keyFile PEM of the signing key; made (0600) when missing */
  constructor(options: { readonly keyFile: string; readonly objects: TokenObjects; readonly clock: Clock }) {
    this.#objects = options.objects
    this.#clock = options.clock
    if (!existsSync(options.keyFile)) {
      mkdirSync(dirname(options.keyFile), { recursive: true, mode: 0o700 })
      const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
      writeFileSync(options.keyFile, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 })
    }
    this.#key = createPrivateKey(readFileSync(options.keyFile))
    this.#publicKey = createPublicKey(this.#key)
  }

  /** @throws MeshError NOT_FOUND when service account or pod is unknown, INVALID_OBJECT when the pod does not run as it */
  async issue(request: TokenRequest): Promise<{ token: string; expirationTimestamp: string }> {
    const { namespace, serviceAccount } = request
    const account = this.#objects.find('serviceaccounts', namespace, serviceAccount)
    if (account?.metadata.uid === undefined) throw objectFailure('NOT_FOUND', { kind: 'serviceaccounts', namespace, name: serviceAccount })
    const claims: BoundClaims = {
      namespace,
      serviceaccount: { name: serviceAccount, uid: account.metadata.uid },
      ...(request.pod === undefined ? {} : this.#podClaims(namespace, serviceAccount, request.pod)),
    }
    const nowS = Math.floor(this.#clock.nowMs() / 1000)
    const expiryS = nowS + Math.min(Math.max(request.expirationSeconds ?? DEFAULT_LIFETIME_S, 600), MAX_LIFETIME_S)
    const token = await new SignJWT({ 'kubernetes.io': claims })
      .setProtectedHeader({ alg: 'ES256', typ: 'JWT' })
      .setIssuer(ISSUER)
      .setSubject(`system:serviceaccount:${namespace}:${serviceAccount}`)
      .setAudience([...request.audiences])
      .setIssuedAt(nowS)
      .setNotBefore(nowS)
      .setExpirationTime(expiryS)
      .sign(this.#key)
    return { token, expirationTimestamp: new Date(expiryS * 1000).toISOString() }
  }

  /** Never throws for a bad token: the reason is in the answer. */
  async review(token: string, audiences: readonly string[]): Promise<TokenReviewStatus> {
    if (token.length > MAX_TOKEN_BYTES) return refused('the token is too long')
    if (audiences.length === 0) return refused('no audience was named')
    try {
      const { payload } = await jwtVerify(token, this.#publicKey, {
        algorithms: ['ES256'],
        issuer: ISSUER,
        audience: [...audiences],
        requiredClaims: ['exp', 'sub'],
        currentDate: new Date(this.#clock.nowMs()),
      })
      return this.#reviewClaims(payload['kubernetes.io'] as BoundClaims)
    } catch (error) {
      if (!(error instanceof joseErrors.JOSEError)) throw error
      return refused(messageOf(error))
    }
  }

  /** The signature is ours, so the shape is; what it names must still exist. */
  #reviewClaims(claims: BoundClaims): TokenReviewStatus {
    const { namespace, serviceaccount, pod, node } = claims
    const account = this.#objects.find('serviceaccounts', namespace, serviceaccount.name)
    if (account?.metadata.uid !== serviceaccount.uid) return refused('the service account was deleted')
    if (pod !== undefined && this.#objects.find('pods', namespace, pod.name)?.metadata.uid !== pod.uid)
      return refused('the pod was deleted')
    return {
      authenticated: true,
      user: {
        namespace,
        serviceAccount: serviceaccount.name,
        ...(pod === undefined ? {} : { podName: pod.name, podUid: pod.uid }),
        ...(node === undefined ? {} : { nodeName: node.name }),
      },
    }
  }

  #podClaims(namespace: string, serviceAccount: string, wanted: { name: string; uid: string }): Pick<BoundClaims, 'pod' | 'node'> {
    const pod = this.#objects.find('pods', namespace, wanted.name) as Pod | undefined
    if (pod?.metadata.uid !== wanted.uid) throw objectFailure('NOT_FOUND', { kind: 'pods', namespace, name: wanted.name })
    if ((pod.spec?.serviceAccountName ?? 'default') !== serviceAccount)
      throw objectFailure('INVALID_OBJECT', { what: `pod ${namespace}/${wanted.name} does not run as ${serviceAccount}` })
    const nodeName = pod.spec?.nodeName
    if (nodeName === undefined) return { pod: wanted }
    const nodeUid = this.#objects.find('nodes', undefined, nodeName)?.metadata.uid
    return { pod: wanted, node: { name: nodeName, ...(nodeUid === undefined ? {} : { uid: nodeUid }) } }
  }
}

function refused(error: string): TokenReviewStatus {
  return { authenticated: false, error }
}
