// Answers that the waypoint gives itself: text for HTTP, headers alone with a status ("trailers-only") for gRPC.
import type { ServerExchange } from '../../http/exchange.ts'
import type { MeshError } from '../../kit/error.ts'
import type { HeaderField, ResponseHead } from '../../model/http.ts'
import { GRPC_STATUS, grpcError, grpcStatusIn, grpcStatusOf, isGrpc } from '../../policy/http/grpc.ts'
import { statusOf } from '../errors.ts'
import type { RequestRecord } from '../record.ts'

/** What an error is answered with, when its row does not say it. */
export interface ReplyDetails {
  readonly status?: number | undefined
  readonly grpcStatus?: number | undefined
  readonly headers?: readonly HeaderField[]
}

/** Answers with an error; the record is told. */
export function replyError(exchange: ServerExchange, error: MeshError, record: RequestRecord, details: ReplyDetails = {}): void {
  const status = details.status ?? statusOf(error)
  const extra = details.headers ?? []
  record.error = error
  if (error.row.flag !== undefined) record.flags.add(error.row.flag)
  if (isGrpc(exchange.request)) {
    const head = grpcError(details.grpcStatus ?? grpcStatusFor(error, status), error.row.message)
    reply(exchange, { status: head.status, headers: [...head.headers, ...extra] }, record)
    return
  }
  const body = Buffer.from(error.row.message)
  const isHead = exchange.request.method === 'HEAD'
  record.status = status
  const writer = exchange.respond({ status, headers: [['content-type', 'text/plain'], ...extra] }, isHead ? 0 : body.length)
  if (!isHead) {
    record.bytesSent += body.length
    writer.write(body)
  }
  writer.end()
}

/** Answers with a head alone. */
export function reply(exchange: ServerExchange, head: ResponseHead, record: RequestRecord): void {
  record.status = head.status
  record.grpcStatus = grpcStatusIn(head.headers)
  exchange.respond(head, 0).end()
}

function grpcStatusFor(error: MeshError, status: number): number {
  if (error.code === 'INVALID_BACKEND') return GRPC_STATUS.UNAVAILABLE
  if (error.row.flag === 'UT') return GRPC_STATUS.DEADLINE_EXCEEDED
  return grpcStatusOf(status)
}
