// A certificate service on loopback with the control plane's own checks behind it, an API server's token review made of real JWTs, and
// a mesh of three nodes that a test changes. `ask` sends one request and checks answer and audit log.
import assert from 'node:assert/strict'
import { type KeyObject, generateKeyPairSync, webcrypto, X509Certificate } from 'node:crypto'
import { Client, credentials, Metadata, Server, ServerCredentials } from '@grpc/grpc-js'
import { jwtVerify, SignJWT } from 'jose'
import '../../certs/x509.ts'
import * as x509 from '@peculiar/x509'
import { CertificateAuthority } from '../../certs/ca.ts'
import { addCertificateService, CREATE_CERTIFICATE_PATH } from '../../controlplane/ca/certificate-service.ts'
import { PodIndex } from '../../controlplane/ca/pod-index.ts'
import { sign, type SignOptions } from '../../controlplane/ca/sign.ts'
import { TokenCache } from '../../controlplane/ca/token-cache.ts'
import { RateLimit } from '../../controlplane/rate.ts'
import { systemClock } from '../../kit/clock.ts'
import { messageOf } from '../../kit/error.ts'
import type { MeshObject, TokenReviewStatus } from '../../model/object.ts'
import { IstioCertificateRequestSchema, IstioCertificateResponseSchema } from '../../proto/certificate_pb.ts'
import { decodeMessage, encodeMessage } from '../../proto/wire.ts'
import { pod } from './fake-source.ts'
import { keptLog } from './xds-pair.ts'

/** What the legal request is for: a pod of it runs on node-1. */
export const CART_ID = 'spiffe://cluster.local/ns/shop/sa/cart'
const DAY_MS = 86_400_000
const asIs = (bytes: Buffer): Buffer => bytes

/** What differs from the legal request. */
export interface Forgery {
  readonly token?: string | undefined
  readonly clusterId?: string
  readonly impersonated?: unknown
  readonly csrPem?: string
  readonly lifeSeconds?: bigint
}

/** `as asked` and `overridden`: a certificate for CART_ID and nothing that a forger wished for. */
export type Want = 'as asked' | 'overridden' | { readonly reason: RegExp }

interface Claims {
  readonly account?: string
  readonly pod?: string | undefined
  readonly uid?: string
  readonly node?: string
  readonly audience?: string
  readonly lifeSeconds?: number
  readonly notBeforeSeconds?: number
  readonly key?: 'own' | 'foreign'
}

/** The service and its world; dispose of it after the test. */
export class ForgeryStage implements Disposable {
  readonly #keys = { own: ecKeys(), foreign: ecKeys() }
  readonly #log = keptLog()
  readonly #server = new Server()
  #client: Client | undefined
  #pods = new PodIndex()
  #objects = new Map<string, MeshObject>()
  #tokens = this.#newCache()

  static async open(): Promise<ForgeryStage> {
    const stage = new ForgeryStage()
    const { authority } = await CertificateAuthority.selfSigned({ trustDomain: 'cluster.local', clock: systemClock })
    const options = (): SignOptions => ({
      pods: stage.#pods,
      trustedAccounts: new Set(['weft-system/ztunnel']),
      gateways: () => [],
      reviewToken: (token, audience) => stage.#tokens.review(token, audience),
      authority: () => authority,
      trustDomain: 'cluster.local',
      clusterId: 'one',
      limit: new RateLimit({ burst: 100, perSecond: 100, clock: systemClock }),
      log: stage.#log.log,
    })
    addCertificateService(stage.#server, { sign: (request) => sign(request, options()), clock: systemClock })
    const port = await new Promise<number>((resolve, reject) => {
      const bound = (error: Error | null, given: number): void => (error === null ? resolve(given) : reject(error))
      stage.#server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), bound)
    })
    stage.#client = new Client(`127.0.0.1:${port}`, credentials.createInsecure(), { 'grpc.max_metadata_size': 64 * 1024 })
    return stage
  }

  [Symbol.dispose](): void {
    this.#client?.close()
    this.#server.forceShutdown()
  }

  /** The mesh as it was at the beginning, with nothing remembered of tokens. */
  reset(): void {
    this.#pods = new PodIndex()
    this.#objects = new Map()
    this.#tokens = this.#newCache()
    for (const node of [1, 2, 3])
      this.put(pod('weft-system', `ztunnel-${node}`, { uid: `z-${node}`, serviceAccount: 'ztunnel', node: `node-${node}` }))
    this.put(pod('shop', 'cart-1', { uid: 'c-1', serviceAccount: 'cart', node: 'node-1' }))
    this.put(pod('bank', 'vault-1', { uid: 'v-1', serviceAccount: 'vault', node: 'node-2' }))
  }

  put(object: MeshObject): void {
    const key = `${object.metadata.namespace}/${object.metadata.name}`
    this.#pods.apply({ type: this.#objects.has(key) ? 'MODIFIED' : 'ADDED', object })
    this.#objects.set(key, object)
  }

  /** @returns the legal request: what is forged is that the pod is gone */
  remove(namespace: string, name: string): Forgery {
    const object = this.#objects.get(`${namespace}/${name}`)
    assert.ok(object !== undefined)
    this.#pods.apply({ type: 'DELETED', object })
    return {}
  }

  /** A token as the API server makes it, of ztunnel on node-1 unless told otherwise. */
  async token(claims: Claims = {}): Promise<string> {
    const { account = 'weft-system/ztunnel', uid = 'z-1', node = 'node-1', audience = 'istio-ca', lifeSeconds = 600 } = claims
    const name = 'pod' in claims ? claims.pod : 'ztunnel-1'
    const now = Math.floor(Date.now() / 1000)
    const [namespace, serviceaccount] = account.split('/')
    const bound = name === undefined ? {} : { pod: { name, uid }, node: { name: node } }
    const jwt = new SignJWT({ 'kubernetes.io': { namespace, serviceaccount: { name: serviceaccount }, ...bound } })
      .setProtectedHeader({ alg: 'ES256' })
      .setIssuedAt(now)
      .setNotBefore(now + (claims.notBeforeSeconds ?? 0))
      .setExpirationTime(now + lifeSeconds)
    if (audience !== '') jwt.setAudience(audience)
    return jwt.sign(this.#keys[claims.key ?? 'own'].privateKey)
  }

  /** The legal token with other claims and the signature that it had. */
  async swappedPayload(claims: { readonly exp?: number; readonly pod?: string }): Promise<Forgery> {
    const [header = '', payload = '', signature = ''] = (await this.token()).split('.')
    const old = JSON.parse(Buffer.from(payload, 'base64url').toString()) as { 'kubernetes.io': { pod: { name: string } } }
    if (claims.pod !== undefined) old['kubernetes.io'].pod.name = claims.pod
    const next = Buffer.from(JSON.stringify({ ...old, ...(claims.exp !== undefined && { exp: claims.exp }) })).toString('base64url')
    return { token: [header, next, signature].join('.') }
  }

  /** The legal claims under `alg: none`. */
  async unsigned(): Promise<Forgery> {
    const [, payload = ''] = (await this.token()).split('.')
    return { token: `${Buffer.from('{"alg":"none"}').toString('base64url')}.${payload}.` }
  }

  /** Sends the legal request with what is forged, and checks what came of it. */
  async ask(forgery: Forgery, want: Want): Promise<void> {
    this.#log.lines.length = 0
    const chain = await this.#call({ token: await this.token(), csrPem: await csrOf(), impersonated: CART_ID, ...forgery })
    const events = this.#log.lines.filter(({ message }) => message.startsWith('certificate'))
    assert.equal(events.length, 1, 'one audit event')
    const fields = events[0]?.fields ?? {}
    assert.match(String(fields.peer), /^127\.0\.0\.1:\d+$/)
    if (typeof want === 'object') {
      assert.equal(chain, 'UNAUTHENTICATED', 'the caller learns nothing')
      assert.equal(events[0]?.message, 'certificate refused')
      assert.match(String(fields.reason), want.reason)
      assert.equal(fields.serial, undefined)
      return
    }
    assert.ok(typeof chain !== 'string', `issued, not ${JSON.stringify(fields)}`)
    assert.equal(events[0]?.message, 'certificate issued')
    const { id, caller, callerUid, node, serial } = fields
    assert.deepEqual([id, caller, callerUid, node], [CART_ID, 'weft-system/ztunnel-1', 'z-1', 'node-1'])
    checkLeaf(new X509Certificate(chain[0] ?? ''), String(serial))
  }

  async #call({ token, clusterId, impersonated, csrPem = '', lifeSeconds = 3600n }: Forgery): Promise<readonly string[] | string> {
    const metadata = new Metadata()
    if (token !== undefined) metadata.set('authorization', `Bearer ${token}`)
    if (clusterId !== undefined) metadata.set('clusterid', clusterId)
    const body = { csr: csrPem, validityDuration: lifeSeconds, metadata: { ImpersonatedIdentity: impersonated as string } }
    const bytes = encodeMessage(IstioCertificateRequestSchema, body)
    const answer = await new Promise<Buffer | string>((resolve) => {
      const done = (error: { code?: number } | null, given?: Buffer): void =>
        resolve(error === null && given !== undefined ? given : codeName(error))
      this.#client?.makeUnaryRequest(CREATE_CERTIFICATE_PATH, asIs, asIs, bytes, metadata, { deadline: Date.now() + 8000 }, done)
    })
    if (typeof answer === 'string') return answer
    const decoded = decodeMessage(IstioCertificateResponseSchema, answer)
    assert.ok(decoded.ok)
    return decoded.value.certChain
  }

  #newCache(): TokenCache {
    return new TokenCache({ reviewToken: (token, audience) => this.#review(token, audience), clock: systemClock })
  }

  /** What an API server says; whether the pod is still there is left to whoever asks, as its answer may be a minute old. */
  async #review(token: string, audience: string): Promise<TokenReviewStatus> {
    try {
      const { payload } = await jwtVerify(token, this.#keys.own.publicKey, { audience, algorithms: ['ES256'] })
      const claims = payload['kubernetes.io'] as {
        readonly namespace: string
        readonly serviceaccount: { readonly name: string }
        readonly pod?: { readonly name: string; readonly uid: string }
        readonly node?: { readonly name: string }
      }
      const user = { namespace: claims.namespace, serviceAccount: claims.serviceaccount.name }
      const bound = claims.pod === undefined ? {} : { podName: claims.pod.name, podUid: claims.pod.uid, nodeName: claims.node?.name ?? '' }
      return { authenticated: true, user: { ...user, ...bound } }
    } catch (error) {
      return { authenticated: false, error: messageOf(error) }
    }
  }
}

function checkLeaf(leaf: X509Certificate, serial: string): void {
  assert.equal(leaf.subjectAltName, `URI:${CART_ID}`)
  assert.equal(leaf.ca, false)
  assert.equal(leaf.subject ?? '', '')
  assert.equal(leaf.serialNumber.toLowerCase(), serial)
  assert.ok(leaf.validToDate.getTime() - Date.now() <= DAY_MS + 2000, 'a day at most')
  assert.ok(leaf.validToDate.getTime() > Date.now())
  const usage = new x509.X509Certificate(leaf.raw).getExtension(x509.KeyUsagesExtension)
  assert.equal(usage?.usages, x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.keyEncipherment)
}

/** A certificate request, legal unless told otherwise. */
export async function csrOf(
  forged: {
    readonly san?: string
    readonly isCa?: boolean
    readonly subject?: string
    readonly key?: 'rsa-1024' | 'ed25519'
    readonly isTampered?: boolean
  } = {},
): Promise<string> {
  const algorithm = ALGORITHMS[forged.key ?? 'p-256']
  const keys = (await webcrypto.subtle.generateKey(algorithm as webcrypto.EcKeyGenParams, true, [
    'sign',
    'verify',
  ])) as webcrypto.CryptoKeyPair
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    keys,
    signingAlgorithm: algorithm,
    ...(forged.subject !== undefined && { name: forged.subject }),
    extensions: [
      new x509.SubjectAlternativeNameExtension([{ type: 'url', value: forged.san ?? CART_ID }], true),
      ...(forged.isCa === true
        ? [new x509.BasicConstraintsExtension(true, 3, true), new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true)]
        : []),
    ],
  })
  if (forged.isTampered !== true) return request.toString('pem')
  const der = Buffer.from(request.rawData)
  der[der.length - 3] = (der[der.length - 3] ?? 0) ^ 1
  return x509.PemConverter.encode(der, 'CERTIFICATE REQUEST')
}

const ALGORITHMS = {
  'p-256': { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' },
  'rsa-1024': { name: 'RSASSA-PKCS1-v1_5', modulusLength: 1024, publicExponent: Uint8Array.of(1, 0, 1), hash: 'SHA-256' },
  ed25519: { name: 'Ed25519' },
} as const

function ecKeys(): { readonly publicKey: KeyObject; readonly privateKey: KeyObject } {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' })
}

function codeName(error: { code?: number } | null): string {
  return error?.code === 16 ? 'UNAUTHENTICATED' : `code ${error?.code}`
}
