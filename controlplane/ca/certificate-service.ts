// The gRPC service istio.v1.auth.IstioCertificateService: has a request decided and answers. On the wire a unary call is a
// stream of one message: taken as a stream, its bytes stay in the network until the caller is known, and under a limit.
import { type MethodDefinition, type sendUnaryData, type Server, type ServerReadableStream, status } from '@grpc/grpc-js'
import type { Clock } from '../../kit/clock.ts'
import { faults, type Result, success } from '../../kit/error.ts'
import { IstioCertificateRequestSchema, IstioCertificateResponseSchema } from '../../proto/certificate_pb.ts'
import { decodeMessage, encodeMessage } from '../../proto/wire.ts'
import { bearerOf } from '../../xds/delta-server.ts'
import { RateLimit } from '../rate.ts'
import type { SignAnswer, SignBody, SignRequest } from './sign.ts'

/** Path of the method. */
export const CREATE_CERTIFICATE_PATH = '/istio.v1.auth.IstioCertificateService/CreateCertificate'

const REQUEST_LIMIT_BYTES = 128 * 1024
const IN_FLIGHT_LIMIT = 128
const IN_FLIGHT_PER_PEER = 32 // a node proxy asks 8 at a time
/** By address, before anything is known of the caller: against floods of made-up tokens. */
const PEER_RATE = { burst: 400, perSecond: 100 } as const
/** Refusals of one address, beyond which it is not merely hasty: a node has at most some hundred identities, and backs off. */
const PATIENCE = { burst: 1000, perSecond: 100 } as const
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

/** Requests of one caller, by the UID of its pod: a node that starts asks once per account. */
export const CALLER_RATE = { burst: 200, perSecond: 50 } as const

/** What the service needs. */
export interface CertificateServiceOptions {
  sign(request: SignRequest): Promise<SignAnswer>
  onAnswer?(result: 'issued' | 'refused' | 'busy'): void
  /** So many requests of an address were refused unread since the last call. */
  onFlood?(host: string, count: number): void
  /** An address goes on flooding although it is refused: called with each further refusal. */
  onHopeless?(host: string): void
  readonly clock: Clock
  /** Requests of one address; default: more than any node needs. */
  readonly peerRate?: { readonly burst: number; readonly perSecond: number }
}

/** Registers the service on a gRPC server. Refusals are opaque: UNAUTHENTICATED, whatever the reason. */
export function addCertificateService(server: Server, options: CertificateServiceOptions): void {
  const doors = new Doors(options)
  const handle = async (call: ServerReadableStream<Buffer, Buffer>): Promise<Buffer | { code: status; details: string }> => {
    const peer = call.getPeer()
    using door = doors.enter(peer.replace(/:\d+$/, ''))
    const [clusterId] = call.metadata.get('clusterid')
    const request = { token: bearerOf(call.metadata), peer, clusterId: clusterId?.toString(), read: () => readBody(call, options.clock) }
    const answer = door === undefined ? 'busy' : await options.sign(request)
    options.onAnswer?.(typeof answer === 'string' ? answer : 'issued')
    if (answer === 'busy') return { code: status.RESOURCE_EXHAUSTED, details: 'too many requests' }
    if (answer === 'refused') return { code: status.UNAUTHENTICATED, details: 'request authenticate failure' }
    return encodeMessage(IstioCertificateResponseSchema, { certChain: [...answer] })
  }
  server.addService(
    { createCertificate: METHOD },
    {
      createCertificate: (call: ServerReadableStream<Buffer, Buffer>, callback: sendUnaryData<Buffer>) => {
        void handle(call).then((result) => (Buffer.isBuffer(result) ? callback(null, result) : callback(result)))
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

/** Who may come in: few at once and few per second of one address, so that one that floods does not starve the others. */
class Doors {
  readonly #options: CertificateServiceOptions
  readonly #rate: RateLimit
  readonly #patience: RateLimit
  readonly #inFlight = new Map<string, number>()
  #total = 0

  constructor(options: CertificateServiceOptions) {
    this.#options = options
    this.#rate = new RateLimit({ ...(options.peerRate ?? PEER_RATE), clock: options.clock })
    this.#patience = new RateLimit({ ...PATIENCE, clock: options.clock })
  }

  /** @returns to be disposed of when the request is answered; undefined = not now */
  enter(host: string): Disposable | undefined {
    const own = this.#inFlight.get(host) ?? 0
    if (!this.#rate.take(host)) {
      const count = this.#rate.toTell(host)
      if (count !== undefined) this.#options.onFlood?.(host, count)
      if (!this.#patience.take(host)) this.#options.onHopeless?.(host)
      return undefined
    }
    if (this.#total >= IN_FLIGHT_LIMIT || own >= IN_FLIGHT_PER_PEER) return undefined
    this.#total++
    this.#inFlight.set(host, own + 1)
    return { [Symbol.dispose]: () => this.#leave(host) }
  }

  #leave(host: string): void {
    this.#total--
    const left = (this.#inFlight.get(host) ?? 1) - 1
    if (left === 0) this.#inFlight.delete(host)
    else this.#inFlight.set(host, left)
  }
}
