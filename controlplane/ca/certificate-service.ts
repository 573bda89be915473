// The gRPC service istio.v1.auth.IstioCertificateService: reads a request, has it decided, answers. Bytes are decoded here, under
// a limit, so that a malformed request is an answer and not an exception inside gRPC.
import { type MethodDefinition, type sendUnaryData, type Server, type ServerUnaryCall, status } from '@grpc/grpc-js'
import type { Clock } from '../../kit/clock.ts'
import type { Log } from '../../kit/log.ts'
import { IstioCertificateRequestSchema, IstioCertificateResponseSchema } from '../../proto/certificate_pb.ts'
import { decodeMessage, encodeMessage } from '../../proto/wire.ts'
import { bearerOf } from '../../xds/delta-server.ts'
import type { SignedChain, SignRequest } from './sign.ts'

/** Path of the method. */
export const CREATE_CERTIFICATE_PATH = '/istio.v1.auth.IstioCertificateService/CreateCertificate'

const REQUEST_LIMIT_BYTES = 128 * 1024
const IN_FLIGHT_LIMIT = 128
const PER_PEER_BURST = 200 // a node proxy asks 8 at a time; a node that starts asks once per account
const PER_PEER_PER_SECOND = 50
const PEERS_LIMIT = 10_000

const asIs = (bytes: Buffer): Buffer => bytes
const METHOD: MethodDefinition<Buffer, Buffer> = {
  path: CREATE_CERTIFICATE_PATH,
  requestStream: false,
  responseStream: false,
  requestSerialize: asIs,
  requestDeserialize: asIs,
  responseSerialize: asIs,
  responseDeserialize: asIs,
}

/** What the service needs; `sign` answers undefined when it refuses. */
export interface CertificateServiceOptions {
  sign(request: SignRequest): Promise<SignedChain | undefined>
  onAnswer?(isIssued: boolean): void
  readonly log: Log
  readonly clock: Clock
}

/** Registers the service on a gRPC server. Refusals are opaque: UNAUTHENTICATED, whatever the reason. */
export function addCertificateService(server: Server, options: CertificateServiceOptions): void {
  const buckets = new PeerBuckets(options.clock)
  let inFlight = 0
  const answer = async (call: ServerUnaryCall<Buffer, Buffer>): Promise<Buffer | { code: status; details: string }> => {
    const peer = call.getPeer()
    if (inFlight >= IN_FLIGHT_LIMIT || !buckets.take(peer)) return { code: status.RESOURCE_EXHAUSTED, details: 'too many requests' }
    inFlight++
    try {
      const request = decodeMessage(IstioCertificateRequestSchema, call.request, REQUEST_LIMIT_BYTES)
      const impersonated = request.ok ? request.value.metadata?.ImpersonatedIdentity : undefined
      if (!request.ok || (impersonated !== undefined && typeof impersonated !== 'string')) {
        options.log.warn('certificate refused', { peer, reason: 'the request cannot be read' })
        return { code: status.UNAUTHENTICATED, details: 'request authenticate failure' }
      }
      const { csr, validityDuration } = request.value
      const chain = await options.sign({
        token: bearerOf(call.metadata),
        csrPem: csr,
        impersonated,
        lifeMs: Number(validityDuration) * 1000,
        peer,
      })
      options.onAnswer?.(chain !== undefined)
      if (chain === undefined) return { code: status.UNAUTHENTICATED, details: 'request authenticate failure' }
      return encodeMessage(IstioCertificateResponseSchema, { certChain: [...chain] })
    } finally {
      inFlight--
    }
  }
  server.addService(
    { createCertificate: METHOD },
    {
      createCertificate: (call: ServerUnaryCall<Buffer, Buffer>, callback: sendUnaryData<Buffer>) => {
        void answer(call).then((result) => (Buffer.isBuffer(result) ? callback(null, result) : callback(result)))
      },
    },
  )
}

/** Token buckets per peer address, so that one flooding node does not starve the others. */
class PeerBuckets {
  readonly #clock: Clock
  readonly #buckets = new Map<string, { tokens: number; atMs: number }>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  take(peer: string): boolean {
    const host = peer.replace(/:\d+$/, '')
    const now = this.#clock.monotonicMs()
    const old = this.#buckets.get(host) ?? { tokens: PER_PEER_BURST, atMs: now }
    const tokens = Math.min(PER_PEER_BURST, old.tokens + ((now - old.atMs) / 1000) * PER_PEER_PER_SECOND)
    this.#buckets.delete(host) // moved to the end: the first entry is the one that asked longest ago
    this.#buckets.set(host, { tokens: Math.max(0, tokens - 1), atMs: now })
    const [oldest] = this.#buckets.keys()
    if (this.#buckets.size > PEERS_LIMIT && oldest !== undefined) this.#buckets.delete(oldest)
    return tokens >= 1
  }
}
