// Asks the control plane for the certificate of one workload (istio.v1.auth.IstioCertificateService). The key is made here
// and stays in this process. Follows istio/ztunnel:src/identity/caclient.rs.
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { ChannelCredentials, Client, Metadata } from '@grpc/grpc-js'
import { createCsr } from '../../certs/csr.ts'
import { checkSvid } from '../../certs/svid.ts'
import type { Clock } from '../../kit/clock.ts'
import type { Endpoint } from '../../model/address.ts'
import { formatEndpoint } from '../../model/address.ts'
import type { Identity, SpiffeId } from '../../model/identity.ts'
import { spiffeIdOf } from '../../model/identity.ts'
import { IstioCertificateRequestSchema, IstioCertificateResponseSchema } from '../../proto/certificate_pb.ts'
import { decodeMessage, encodeMessage } from '../../proto/wire.ts'
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
const MOST_CERTIFICATES = 12

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
    return accept(id, decoded.value.certChain, keyPem, new Date(this.#options.clock.nowMs()))
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
      this.#connected().makeUnaryRequest(PATH, asIs, asIs, request, metadata, { deadline: this.#options.clock.nowMs() + DEADLINE_MS }, (error, answer) => {
        if (error !== null) reject(identityFailure('CERTIFICATE_REFUSED', { id }, error))
        else if (answer === undefined) reject(identityFailure('CERTIFICATE_REFUSED', { id, reason: 'an empty answer' }))
        else resolve(answer)
      })
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
        'grpc.initial_reconnect_backoff_ms': 100,
        'grpc.max_reconnect_backoff_ms': 2_000,
      })
    }
    return this.#client
  }
}

const asIs = (bytes: Buffer): Buffer => bytes

/** Checks what came back: the identity that was asked for, our key, roots at the end; nothing else is believed. */
function accept(id: SpiffeId, chain: readonly string[], keyPem: string, at: Date): WorkloadCertificate {
  const rootsPem = chain.at(-1)
  const [leafPem] = chain
  if (leafPem === undefined || rootsPem === undefined || chain.length < 2 || chain.length > MOST_CERTIFICATES) {
    throw identityFailure('CERTIFICATE_INVALID', { id, reason: `${chain.length} certificates came back` })
  }
  const leaf = new X509Certificate(leafPem)
  const svid = checkSvid(leaf.raw, at)
  if (!svid.ok) throw identityFailure('CERTIFICATE_INVALID', { id, reason: svid.errors.join('; ') })
  if (svid.value.id !== id) throw identityFailure('CERTIFICATE_INVALID', { id, reason: `it names ${svid.value.id}` })
  if (!isKeyOf(leaf, keyPem)) throw identityFailure('CERTIFICATE_INVALID', { id, reason: 'it is for another key' })
  return {
    id,
    chainPem: chain.slice(0, -1).join('\n'),
    keyPem,
    rootsPem,
    notBefore: leaf.validFromDate,
    notAfter: leaf.validToDate,
    serial: leaf.serialNumber,
  }
}

function isKeyOf(leaf: X509Certificate, keyPem: string): boolean {
  return leaf.checkPrivateKey(createPrivateKey(keyPem))
}
