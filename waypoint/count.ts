// Ended requests as Istio's metrics. Who called whom becomes a handle once per tunnel, service and endpoint. Made by app.ts.
import { spiffeIdOf } from '../model/identity.ts'
import type { Service } from '../model/service.ts'
import type { Workload } from '../model/workload.ts'
import type { HttpMetrics, HttpPeerLabels, HttpPeers } from '../telemetry/http-metrics.ts'
import type { Client } from './context.ts'
import type { RequestRecord, RequestRecorder } from './record.ts'

/** For requests that no service or endpoint is known of. */
const NOBODY = {}

/** Counts requests. */
export class RequestCounter implements RequestRecorder {
  readonly #metrics: HttpMetrics
  /** By tunnel, then by service and endpoint; gone with the tunnel. */
  readonly #peers = new WeakMap<Client, WeakMap<object, WeakMap<object, HttpPeers>>>()
  /** gRPC calls under way, with what is counted of them already: a stream may last for days. */
  readonly #calls = new Map<RequestRecord, Counted>()

  constructor(metrics: HttpMetrics) {
    this.#metrics = metrics
    metrics.beforeScrape(() => {
      for (const [record, counted] of this.#calls) this.#countMessages(record, counted)
    })
  }

  answering(record: RequestRecord): void {
    if (record.messages !== undefined) this.#calls.set(record, { request: 0, response: 0 })
  }

  ended(record: RequestRecord): void {
    const { startMs, endMs, status, grpcStatus, flags, bytesReceived, bytesSent } = record
    const peers = this.#peersOf(record)
    this.#countMessages(record, this.#calls.get(record) ?? { request: 0, response: 0 })
    this.#calls.delete(record)
    peers.record({
      isGrpc: record.messages !== undefined,
      status,
      grpcStatus,
      flags: flags.size === 0 ? '' : [...flags].join(','),
      durationMs: endMs - startMs,
      requestBytes: bytesReceived,
      responseBytes: bytesSent,
    })
  }

  #countMessages(record: RequestRecord, counted: Counted): void {
    const { messages } = record
    if (messages === undefined) return
    this.#peersOf(record).addMessages(messages.request.count - counted.request, messages.response.count - counted.response)
    counted.request = messages.request.count
    counted.response = messages.response.count
  }

  #peersOf({ client, endpoint, service, backend }: RequestRecord): HttpPeers {
    const called = backend ?? service
    const byEndpoint = within(within(this.#peers, client), called ?? NOBODY)
    const key = endpoint?.workload ?? NOBODY
    let peers = byEndpoint.get(key)
    if (peers === undefined) {
      peers = this.#metrics.peers(labelsOf(client, endpoint?.workload, called))
      byEndpoint.set(key, peers)
    }
    return peers
  }
}

/** Messages of a call. */
interface Counted {
  request: number
  response: number
}

function within<K extends object, V>(map: WeakMap<K, WeakMap<object, V>>, key: K): WeakMap<object, V> {
  let inner = map.get(key)
  if (inner === undefined) {
    inner = new WeakMap()
    map.set(key, inner)
  }
  return inner
}

/** Labels of two peers. The source's names are those of its pod; without one, what its certificate says is all there is. */
export function labelsOf(client: Client, destination: Workload | undefined, service: Service | undefined): HttpPeerLabels {
  const source = client.workload
  return {
    source_workload: source?.workloadName,
    source_canonical_service: source?.canonicalName,
    source_canonical_revision: source?.canonicalRevision,
    source_workload_namespace: client.identity.namespace,
    source_principal: client.id,
    source_app: source?.canonicalName,
    source_version: source?.canonicalRevision,
    source_cluster: source?.clusterId,
    destination_workload: destination?.workloadName,
    destination_workload_namespace: destination?.namespace,
    destination_principal: destination === undefined ? undefined : spiffeIdOf(destination),
    destination_app: destination?.canonicalName,
    destination_version: destination?.canonicalRevision,
    destination_canonical_service: destination?.canonicalName,
    destination_canonical_revision: destination?.canonicalRevision,
    destination_cluster: destination?.clusterId,
    destination_service: service?.hostname,
    destination_service_name: service?.name,
    destination_service_namespace: service?.namespace,
  }
}
