// The head of a backend's response as the client gets it, and what ties the client to the endpoint. Used by flow.ts.
import type { BodyWriter } from '../../http/exchange.ts'
import type { MeshError } from '../../kit/error.ts'
import type { IpAddress } from '../../model/address.ts'
import type { HeaderField, RequestHead, ResponseHead } from '../../model/http.ts'
import type { SessionPersistence } from '../../model/route.ts'
import { addCors } from '../../policy/http/cors.ts'
import { editHeaders } from '../../policy/http/filter.ts'
import { newHashCookie } from '../balance/hash-key.ts'
import { sessionFrom, sessionHeaders } from '../balance/session.ts'
import type { BackendCluster } from '../clusters.ts'
import type { ProxyPlan } from './plan.ts'

/** What makes a request go where others of its client went. */
export interface Affinity {
  readonly hash: number | undefined
  /** Uid that the request's session names. */
  readonly session: string | undefined
  /** Set for a client that has no hash key yet. */
  readonly cookie: HeaderField | undefined
}

/** @param head as the client sent it: what it carries for us is looked for before filters have changed anything */
export function affinityOf(
  head: RequestHead,
  persistence: SessionPersistence | undefined,
  { balancer, policy }: BackendCluster,
  clientIp: IpAddress,
  random: () => number,
): Affinity {
  const session = persistence === undefined ? undefined : sessionFrom(head, persistence)
  const hash = balancer.hashOf(head, clientIp)
  const isHashed = policy.balancer.kind === 'ringHash' || policy.balancer.kind === 'maglev'
  if (hash !== undefined || !isHashed) return { hash, session, cookie: undefined }
  const made = newHashCookie(policy.balancer.keys, random, false)
  return { hash: made?.hash, session, cookie: made?.field }
}

/** The head that the client gets. @param uid of the endpoint that answered */
export function responseFor(plan: ProxyPlan, head: ResponseHead, affinity: Affinity | undefined, uid: string | undefined): ResponseHead {
  let { headers } = head
  for (const edits of plan.responseEdits) headers = editHeaders(headers, edits)
  if (plan.cors.length > 0) headers = addCors(headers, plan.cors)
  const persistence = plan.route.rule.sessionPersistence
  if (persistence !== undefined && uid !== undefined && affinity?.session !== uid)
    headers = [...headers, ...sessionHeaders(persistence, uid, false)]
  if (affinity?.cookie !== undefined) headers = [...headers, affinity.cookie]
  return headers === head.headers ? head : { ...head, headers }
}

/** A writer whose end is seen: a gRPC call tells in its trailers how it went. */
export function watchEnd(writer: BodyWriter, onEnd: (trailers: readonly HeaderField[]) => void): BodyWriter {
  return new WatchedWriter(writer, onEnd)
}

/** A class: accessors in an object literal would give each of them a hidden class of its own, which holds it until a full collection. */
class WatchedWriter implements BodyWriter {
  readonly #writer: BodyWriter
  readonly #onEnd: (trailers: readonly HeaderField[]) => void

  constructor(writer: BodyWriter, onEnd: (trailers: readonly HeaderField[]) => void) {
    this.#writer = writer
    this.#onEnd = onEnd
  }

  get onDrain(): (() => void) | undefined {
    return this.#writer.onDrain
  }

  set onDrain(drain: (() => void) | undefined) {
    this.#writer.onDrain = drain
  }

  write(chunk: Buffer): boolean {
    return this.#writer.write(chunk)
  }

  end(trailers: readonly HeaderField[] = []): void {
    this.#onEnd(trailers)
    this.#writer.end(trailers)
  }

  abort(error: MeshError): void {
    this.#writer.abort(error)
  }
}
