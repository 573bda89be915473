// The record of one TCP connection through ztunnel or a waypoint: its metric handles, byte counts and the one access line. Opened
// when the route is decided, finished exactly once by the function that opened it. Follows istio/ztunnel:src/proxy/metrics.rs
// ConnectionResult.
import type { Clock } from '../kit/clock.ts'
import { MeshError } from '../kit/error.ts'
import { formatEndpoint } from '../model/address.ts'
import type { Endpoint } from '../model/address.ts'
import type { SpiffeId } from '../model/identity.ts'
import type { Service } from '../model/service.ts'
import type { Workload } from '../model/workload.ts'
import type { AccessFields, AccessLog } from './access-log.ts'
import type { TcpHandle, TcpLabels, TcpMetrics } from './metrics.ts'

/** What is known of one end. */
export interface End {
  readonly address: Endpoint | undefined
  readonly workload: WorkloadFacts | undefined
  /** Verified by TLS; undefined on plaintext. */
  readonly identity: SpiffeId | undefined
}

/** The parts of a workload that are reported; also made from a peer's baggage. */
export type WorkloadFacts = Partial<
  Pick<Workload, 'name' | 'namespace' | 'workloadName' | 'canonicalName' | 'canonicalRevision' | 'clusterId' | 'locality'>
>

/** What a record is opened with. */
export interface ConnectionFacts {
  readonly direction: 'inbound' | 'outbound'
  /** Absent = ztunnel's: `source` of what is outbound, `destination` of what is inbound. */
  readonly reporter?: 'waypoint'
  readonly source: End
  readonly destination: End
  /** Who is behind the source, when that is the destination's own waypoint and it says so. */
  readonly client?: SpiffeId | undefined
  /** The workload of that client, as its waypoint describes it: the source of the metrics. */
  readonly clientWorkload?: WorkloadFacts | undefined
  /** The CONNECT authority. */
  readonly hboneAddress: string | undefined
  /** Only a waypoint has clusters. */
  readonly cluster?: string | undefined
  readonly service: Pick<Service, 'name' | 'namespace' | 'hostname'> | undefined
}

/** Bytes so far: request = toward the server, response = toward the client. */
export interface Traffic {
  request: number
  response: number
}

/** What the copy loops count, of either kind: only one pair of the four ever moves. */
export interface Counters {
  fromTunnel: number
  toTunnel: number
  fromA: number
  fromB: number
}

/** All records of a thread. */
export class RecordBook {
  readonly #metrics: TcpMetrics
  readonly #access: AccessLog
  readonly #clock: Clock
  readonly #live = new Set<ConnectionRecord>()

  constructor(options: { metrics: TcpMetrics; access: AccessLog; clock: Clock }) {
    this.#metrics = options.metrics
    this.#access = options.access
    this.#clock = options.clock
    this.#metrics.beforeScrape(() => {
      for (const record of this.#live) record.flush()
    })
  }

  /** @param measure reads the byte counts; called on scrapes and at the end */
  open(facts: ConnectionFacts, measure: () => Traffic): ConnectionRecord {
    const finished = (): number => {
      this.#live.delete(record)
      return this.#clock.monotonicMs()
    }
    const startedMs = this.#clock.monotonicMs()
    const record = new ConnectionRecord({ facts, measure, metrics: this.#metrics, access: this.#access, startedMs, finished })
    this.#live.add(record)
    return record
  }

  /** The one line of what was refused before a route was decided. */
  denied(facts: ConnectionFacts, error: MeshError): void {
    this.#access.denied(accessFields(facts), error)
  }
}

interface RecordParts {
  readonly facts: ConnectionFacts
  readonly measure: () => Traffic
  readonly metrics: TcpMetrics
  readonly access: AccessLog
  readonly startedMs: number
  readonly finished: () => number
}

/** One connection's record. */
export class ConnectionRecord {
  readonly #parts: RecordParts
  readonly #labels: TcpLabels
  readonly #handle: TcpHandle
  /** What the handle has already counted. */
  readonly #counted: Traffic = { request: 0, response: 0 }
  #isFinished = false

  constructor(parts: RecordParts) {
    this.#parts = parts
    this.#labels = labelsOf(parts.facts)
    this.#handle = parts.metrics.handle(this.#labels)
    this.#handle.opened++
    if (parts.access.tellsOpened()) parts.access.opened(accessFields(parts.facts))
  }

  /** Brings the byte counters up to date. */
  flush(): void {
    const now = this.#parts.measure()
    this.#handle.received += now.request - this.#counted.request
    this.#handle.sent += now.response - this.#counted.response
    this.#counted.request = now.request
    this.#counted.response = now.response
  }

  /**
   * Ends the record: counters and the access line.
   * @param error undefined = both sides ended in order
   * @throws Error when called twice: somebody else owns the record
   */
  finish(error?: unknown): void {
    if (this.#isFinished) throw new Error('a connection record was finished twice')
    this.#isFinished = true
    this.flush()
    const endedMs = this.#parts.finished()
    this.#handle.closed++
    const { facts, metrics, access } = this.#parts
    const flag = error instanceof MeshError ? error.row.flag : undefined
    if (flag !== undefined) metrics.handle({ ...this.#labels, response_flags: flag }).failed++
    const isOutbound = facts.direction === 'outbound'
    const { request, response } = this.#counted
    const flags = facts.reporter === 'waypoint' ? { response_flags: flag ?? '-' } : {}
    access.ended(
      { ...accessFields(facts), ...flags },
      {
        bytesSent: isOutbound ? request : response,
        bytesReceived: isOutbound ? response : request,
        durationMs: endedMs - this.#parts.startedMs,
        error,
      },
    )
  }
}

/** The access line's fields of a connection. */
export function accessFields(facts: ConnectionFacts): AccessFields {
  const { source, destination } = facts
  return {
    'src.addr': source.address === undefined ? undefined : formatEndpoint(source.address),
    'src.workload': present(source.workload?.name),
    'src.namespace': present(source.workload?.namespace),
    'src.identity': source.identity,
    'src.client': facts.client,
    'src.cluster': present(source.workload?.clusterId),
    'dst.addr': destination.address === undefined ? undefined : formatEndpoint(destination.address),
    'dst.hbone_addr': facts.hboneAddress,
    'dst.service': facts.service?.hostname,
    'dst.workload': present(destination.workload?.name),
    'dst.namespace': present(destination.workload?.namespace),
    'dst.identity': destination.identity,
    'dst.cluster': present(destination.workload?.clusterId),
    ...(facts.reporter === 'waypoint' ? { upstream_cluster: facts.cluster ?? '-' } : {}),
    direction: facts.direction,
  }
}

/** The metric labels of a connection. */
export function labelsOf(facts: ConnectionFacts): TcpLabels {
  const { source, destination, service } = facts
  const from = facts.clientWorkload ?? source.workload
  // A waypoint reports how it was spoken to, as Envoy does: also when no endpoint was found, or one outside the mesh.
  const isMutual = source.identity !== undefined && (facts.reporter === 'waypoint' || destination.identity !== undefined)
  return {
    reporter: facts.reporter ?? (facts.direction === 'outbound' ? 'source' : 'destination'),
    source_workload: from?.workloadName,
    source_canonical_service: from?.canonicalName,
    source_canonical_revision: from?.canonicalRevision,
    source_workload_namespace: from?.namespace,
    source_principal: source.identity,
    source_app: from?.canonicalName,
    source_version: from?.canonicalRevision,
    source_cluster: from?.clusterId,
    destination_service: service?.hostname,
    destination_service_namespace: service?.namespace,
    destination_service_name: service?.name,
    destination_workload: destination.workload?.workloadName,
    destination_canonical_service: destination.workload?.canonicalName,
    destination_canonical_revision: destination.workload?.canonicalRevision,
    destination_workload_namespace: destination.workload?.namespace,
    destination_principal: destination.identity,
    destination_app: destination.workload?.canonicalName,
    destination_version: destination.workload?.canonicalRevision,
    destination_cluster: destination.workload?.clusterId,
    connection_security_policy: isMutual ? 'mutual_tls' : 'unknown',
    source_region: from?.locality?.region,
    source_zone: from?.locality?.zone,
    destination_region: destination.workload?.locality?.region,
    destination_zone: destination.workload?.locality?.zone,
  }
}

function present(text: string | undefined): string | undefined {
  return text === '' ? undefined : text
}
