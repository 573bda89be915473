// The access log: one line per connection when it ends, scope `access`, fields as Istio's ztunnel writes them
// (istio/ztunnel:src/proxy/metrics.rs). Opening is a debug line; what is refused early is a warning.
import { codeOf, messageOf } from '../kit/error.ts'
import type { Log } from '../kit/log.ts'

/** Fields of one line; absent ones are left out. Identities only when verified by TLS. */
export interface AccessFields {
  readonly 'src.addr'?: string | undefined
  readonly 'src.workload'?: string | undefined
  readonly 'src.namespace'?: string | undefined
  readonly 'src.identity'?: string | undefined
  /** The original client, as the pod's own waypoint (`src.identity`) names it. */
  readonly 'src.client'?: string | undefined
  readonly 'src.cluster'?: string | undefined
  readonly 'dst.addr'?: string | undefined
  readonly 'dst.hbone_addr'?: string | undefined
  readonly 'dst.service'?: string | undefined
  readonly 'dst.workload'?: string | undefined
  readonly 'dst.namespace'?: string | undefined
  readonly 'dst.identity'?: string | undefined
  readonly 'dst.cluster'?: string | undefined
  /** Only waypoints: Envoy's names, `-` = none. */
  readonly upstream_cluster?: string
  readonly response_flags?: string
  readonly direction: 'inbound' | 'outbound'
}

/** How a connection ended. Bytes as this proxy's side sees them: outbound sends the request, inbound the response. */
export interface AccessEnd {
  readonly bytesSent: number
  readonly bytesReceived: number
  readonly durationMs: number
  /** Undefined = both sides ended in order. */
  readonly error?: unknown
}

/** Writes access lines; never throws. */
export class AccessLog {
  readonly #log: Log

  constructor(log: Log) {
    this.#log = log.scope('access')
  }

  /** Whether `opened` prints; ask before building its fields. */
  tellsOpened(): boolean {
    return this.#log.isDebug()
  }

  opened(fields: AccessFields): void {
    this.#log.debug('connection opened', { ...fields })
  }

  /** The one line of a connection that was decided on. */
  ended(fields: AccessFields, end: AccessEnd): void {
    const line = {
      ...fields,
      bytes_sent: end.bytesSent,
      bytes_recv: end.bytesReceived,
      duration: `${Math.round(end.durationMs)}ms`,
    }
    if (end.error === undefined) this.#log.info('connection complete', line)
    else this.#log.error('connection complete', { ...line, ...errorFields(end.error) })
  }

  /** The one line of a connection that was refused before it became one. */
  denied(fields: AccessFields, error: unknown): void {
    this.#log.warn('connection failed', { ...fields, ...errorFields(error) })
  }
}

function errorFields(error: unknown): { error: string; code: string } {
  return { error: messageOf(error), code: codeOf(error) }
}
