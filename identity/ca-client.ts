// Asks the control plane for the certificate of one workload (istio.v1.auth.IstioCertificateService). The key is made here
// and stays in this process. Follows istio/ztunnel:src/identity/caclient.rs.
import { createPrivateKey } from 'node:crypto'
import { ChannelCredentials, Client, Metadata } from '@grpc/grpc-js'
import { isSignedBy } from '../certs/authority.ts'
import { formatCertificates, parseCertificates, parseRoots } from '../certs/bundle.ts'
import type { X509 } from '../certs/bundle.ts'
import { createCsr } from '../certs/csr.ts'
import { checkSvid } from '../certs/svid.ts'
import type { Clock } from '../kit/clock.ts'
import type { Endpoint } from '../model/address.ts'
import { formatEndpoint } from '../model/address.ts'
import type { Identity, SpiffeId } from '../model/identity.ts'
import { spiffeIdOf } from '../model/identity.ts'
import { IstioCertificateRequestSchema, IstioCertificateResponseSchema } from '../proto/certificate_pb.ts'
import { decodeMessage, encodeMessage } from '../proto/wire.ts'
import { identityFailure } from './errors.ts'

/** A certificate with its key; PEM, leaf first. */
export interface WorkloadCertificate {
  readonly id: SpiffeId
  readonly chainPem: string
  readonly keyPem: string
  readonly rootsPem: string
  readonly notBefore: Date
  readonly notAfter: Date
  /** Hexadecimal. */
  readonly serial: string
}

/** Anything that can fetch a certificate: the real client, or a test's. */
export interface CertificateSource {
  /** @throws MeshError CERTIFICATE_REFUSED (the CA said no or cannot be reached), CERTIFICATE_INVALID (it sent something else) */
  fetch(identity: Identity): Promise<WorkloadCertificate>
  close(): void
}

/** Where and as whom to ask. `roots` and `token` are read at each request, so that renewed files count. */
export interface CaClientOptions {
  readonly address: Endpoint | string
  readonly serverName: string
  readonly roots: () => Buffer
  readonly token: () => string
  readonly clusterId: string
  readonly ttlMs: number
  readonly clock: Clock
}

const PATH = '/istio.v1.auth.IstioCertificateService/CreateCertificate'
const DEADLINE_MS = 10_000
/** Leaf, intermediates one by one, roots in one entry. */
const MOST_ENTRIES = 12
const ANSWER_LIMIT_BYTES = 1024 * 1024

/** The client; connections are kept by gRPC, and made anew when the roots have changed. */
export class CaClient implements CertificateSource {
  readonly #options: CaClientOptions
  #client: Client | undefined
  #rootsOfClient = ''

  constructor(options: CaClientOptions) {
    this.#options = options
  }

  async fetch(identity: Identity): Promise<WorkloadCertificate> {
    const id = spiffeIdOf(identity)
    const { csrPem, keyPem } = await createCsr({ id })
    const bytes = await this.#call(id, csrPem)
    const decoded = decodeMessage(IstioCertificateResponseSchema, bytes)
    if (!decoded.ok) throw identityFailure('CERTIFICATE_INVALID', { id, reason: decoded.errors.join('; ') })
    return acceptAnswer(decoded.value.certChain, { id, keyPem, at: new Date(this.#options.clock.nowMs()) })
  }

  close(): void {
    this.#client?.close()
    this.#client = undefined
  }

  #call(id: SpiffeId, csrPem: string): Promise<Buffer> {
    const { token, clusterId, ttlMs } = this.#options
    const request = encodeMessage(IstioCertificateRequestSchema, {
      csr: csrPem,
      validityDuration: BigInt(Math.floor(ttlMs / 1000)),
      metadata: { ImpersonatedIdentity: id },
    })
    return new Promise((resolve, reject) => {
      const metadata = new Metadata()
      metadata.set('authorization', `Bearer ${token()}`)
      metadata.set('clusterid', clusterId)
      this.#connected().makeUnaryRequest(
        PATH,
        asIs,
        asIs,
        request,
        metadata,
        { deadline: this.#options.clock.nowMs() + DEADLINE_MS },
        (error, answer) => {
          if (error !== null) reject(identityFailure('CERTIFICATE_REFUSED', { id }, error))
          else if (answer === undefined) reject(identityFailure('CERTIFICATE_REFUSED', { id, reason: 'an empty answer' }))
          else resolve(answer)
        },
      )
    })
  }

  #connected(): Client {
    const { address, serverName, roots } = this.#options
    const pem = roots()
    if (this.#client === undefined || this.#rootsOfClient !== pem.toString()) {
      this.close()
      this.#rootsOfClient = pem.toString()
      const target = typeof address === 'string' ? address : formatEndpoint(address)
      this.#client = new Client(target, ChannelCredentials.createSsl(pem), {
        'grpc.ssl_target_name_override': serverName,
        'grpc.default_authority': serverName,
        'grpc.max_receive_message_length': ANSWER_LIMIT_BYTES,
        'grpc.initial_reconnect_backoff_ms': 100,
        'grpc.max_reconnect_backoff_ms': 2_000,
      })
    }
    return this.#client
  }
}

const asIs = (bytes: Buffer): Buffer => bytes

/**
 * Checks what came back, and believes nothing else: the identity that was asked for, our key, and a chain whose every link is
 * a signature, up to one of the roots that stand at its end.
 * @param at time at which it must be valid
 * @throws MeshError CERTIFICATE_INVALID with the reason
 */
export function acceptAnswer(answer: readonly string[], asked: { id: SpiffeId; keyPem: string; at: Date }): WorkloadCertificate {
  const { id, keyPem, at } = asked
  const refuse = (reason: string): Error => identityFailure('CERTIFICATE_INVALID', { id, reason })
  if (answer.length < 2 || answer.length > MOST_ENTRIES) throw refuse(`${answer.length} entries came back`)
  const chain = parseCertificates(answer.slice(0, -1).join('\n'))
  const roots = parseRoots(answer.at(-1) ?? '')
  if (!chain.ok) throw refuse(`chain: ${chain.errors.join('; ')}`)
  if (!roots.ok) throw refuse(`roots: ${roots.errors.join('; ')}`)
  const [leaf] = chain.value
  if (leaf === undefined || roots.value.length === 0) throw refuse('no certificate or no root')
  const svid = checkSvid(leaf.raw, at)
  if (!svid.ok) throw refuse(svid.errors.join('; '))
  if (svid.value.id !== id) throw refuse(`it names ${svid.value.id}`)
  if (!leaf.checkPrivateKey(createPrivateKey(keyPem))) throw refuse('it is for another key')
  if (!isAnchored(chain.value, roots.value)) throw refuse('its chain does not end at a root that came with it')
  return {
    id,
    chainPem: formatCertificates(chain.value),
    keyPem,
    rootsPem: formatCertificates(roots.value),
    notBefore: svid.value.notBefore,
    notAfter: svid.value.notAfter,
    serial: svid.value.serial,
  }
}

function isAnchored(chain: readonly X509[], roots: readonly X509[]): boolean {
  for (const [index, one] of chain.entries()) {
    if (roots.some((root) => root.fingerprint256 === one.fingerprint256 || isSignedBy(one, root))) return true
    const issuer = chain[index + 1]
    if (issuer === undefined || !issuer.ca || !isSignedBy(one, issuer)) return false
  }
  return false
}
