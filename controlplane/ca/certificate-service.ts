// The gRPC service istio.v1.auth.IstioCertificateService: has a request decided and answers. On the wire a unary call is a
// stream of one message: taken as a stream, its bytes stay in the network until the caller is known, and under a limit.
import { type MethodDefinition, type sendUnaryData, type Server, type ServerReadableStream, status } from '@grpc/grpc-js'
import type { Clock } from '../../kit/clock.ts'
import { faults, type Result, success } from '../../kit/error.ts'
import { IstioCertificateRequestSchema, IstioCertificateResponseSchema } from '../../proto/certificate_pb.ts'
import { decodeMessage, encodeMessage } from '../../proto/wire.ts'
import { bearerOf } from '../../xds/delta-server.ts'
import type { SignBody, SignedChain, SignRequest } from './sign.ts'

/** Path of the method. */
export const CREATE_CERTIFICATE_PATH = '/istio.v1.auth.IstioCertificateService/CreateCertificate'

const REQUEST_LIMIT_BYTES = 128 * 1024
const IN_FLIGHT_LIMIT = 128
const PER_PEER_BURST = 200 // a node proxy asks 8 at a time; a node that starts asks once per account
const PER_PEER_PER_SECOND = 50
const PEERS_LIMIT = 10_000
const READ_TIMEOUT_MS = 5000

const asIs = (bytes: Buffer): Buffer => bytes
const METHOD: MethodDefinition<Buffer, Buffer> = {
  path: CREATE_CERTIFICATE_PATH,
  requestStream: true,
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
  readonly clock: Clock
}

/** Registers the service on a gRPC server. Refusals are opaque: UNAUTHENTICATED, whatever the reason. */
export function addCertificateService(server: Server, options: CertificateServiceOptions): void {
  const buckets = new PeerBuckets(options.clock)
  let inFlight = 0
  const answer = async (call: ServerReadableStream<Buffer, Buffer>): Promise<Buffer | { code: status; details: string }> => {
    const peer = call.getPeer()
    if (inFlight >= IN_FLIGHT_LIMIT || !buckets.take(peer)) return { code: status.RESOURCE_EXHAUSTED, details: 'too many requests' }
    inFlight++
    try {
      const chain = await options.sign({ token: bearerOf(call.metadata), peer, read: () => readBody(call, options.clock) })
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
      createCertificate: (call: ServerReadableStream<Buffer, Buffer>, callback: sendUnaryData<Buffer>) => {
        void answer(call).then((result) => (Buffer.isBuffer(result) ? callback(null, result) : callback(result)))
      },
    },
  )
}

/** Reads and decodes the one message of a call. */
async function readBody(call: ServerReadableStream<Buffer, Buffer>, clock: Clock): Promise<Result<SignBody>> {
  const bytes = await new Promise<Buffer | undefined>((resolve) => {
    const timer = clock.after(READ_TIMEOUT_MS, () => resolve(undefined))
    const done = (message?: Buffer): void => {
      timer[Symbol.dispose]()
      resolve(message)
    }
    call.once('data', done)
    for (const event of ['end', 'error', 'cancelled'] as const) call.once(event, () => done())
  })
  if (bytes === undefined) return faults('no request came')
  const request = decodeMessage(IstioCertificateRequestSchema, bytes, REQUEST_LIMIT_BYTES)
  if (!request.ok) return request
  const { csr, validityDuration, metadata } = request.value
  const impersonated = metadata?.ImpersonatedIdentity
  if (impersonated !== undefined && typeof impersonated !== 'string') return faults('ImpersonatedIdentity is not text')
  return success({ csrPem: csr, impersonated, lifeMs: Number(validityDuration) * 1000 })
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
