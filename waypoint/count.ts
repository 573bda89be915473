// Ended requests as Istio's metrics. Who called whom becomes a handle once per tunnel and endpoint. Made by app.ts.
import { spiffeIdOf } from '../model/identity.ts'
import type { Service } from '../model/service.ts'
import type { Workload } from '../model/workload.ts'
import type { HttpMetrics, HttpPeerLabels, HttpPeers } from '../telemetry/http-metrics.ts'
import type { Client } from './context.ts'
import type { RequestRecord, RequestRecorder } from './record.ts'

/** For requests that no endpoint was chosen for. */
const NOBODY = {}

/** Counts requests. */
export class RequestCounter implements RequestRecorder {
  readonly #metrics: HttpMetrics
  /** By tunnel, then by endpoint; gone with the tunnel. */
  readonly #peers = new WeakMap<Client, WeakMap<object, HttpPeers>>()

  constructor(metrics: HttpMetrics) {
    this.#metrics = metrics
  }

  ended(record: RequestRecord): void {
    const { startMs, endMs, status, grpcStatus, flags, bytesReceived, bytesSent } = record
    const peers = this.#peersOf(record)
    const { messages } = record
    peers.requestMessages += messages?.request.count ?? 0
    peers.responseMessages += messages?.response.count ?? 0
    peers.record({
      isGrpc: messages !== undefined,
      status,
      grpcStatus,
      flags: [...flags].join(','),
      durationMs: endMs - startMs,
      requestBytes: bytesReceived,
      responseBytes: bytesSent,
    })
  }

  #peersOf({ client, endpoint, service, backend }: RequestRecord): HttpPeers {
    let byEndpoint = this.#peers.get(client)
    if (byEndpoint === undefined) {
      byEndpoint = new WeakMap()
      this.#peers.set(client, byEndpoint)
    }
    const key = endpoint?.workload ?? NOBODY
    let peers = byEndpoint.get(key)
    if (peers === undefined) {
      peers = this.#metrics.peers(labelsOf(client, endpoint?.workload, backend ?? service))
      byEndpoint.set(key, peers)
    }
    return peers
  }
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
