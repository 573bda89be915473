// The tracing of a waypoint process, from its settings. Called by app.ts.
import { randomBytes } from 'node:crypto'
import type { Registry } from 'prom-client'
import type { Clock } from '../kit/clock.ts'
import type { Log } from '../kit/log.ts'
import type { RequestTracer } from '../telemetry/trace-span.ts'
import type { WaypointSettings } from './settings.ts'

/** What tracing needs of the process. */
export interface TracingParts {
  readonly metrics: Registry
  readonly log: Log
  readonly clock: Clock
  readonly random: () => number
}

/** @returns undefined when no collector is named; then nothing of OpenTelemetry is loaded */
export async function openTracing(settings: WaypointSettings, parts: TracingParts): Promise<RequestTracer | undefined> {
  const { otlpEndpoint, otlpProtocol, otlpCa, traceSampling } = settings
  if (otlpEndpoint === '') return undefined
  const { otlpExporter } = await import('../telemetry/trace-export.ts')
  const { Tracing } = await import('../telemetry/trace.ts')
  return new Tracing({
    exporter: await otlpExporter(otlpEndpoint, otlpProtocol === 'http' ? 'http' : 'grpc', otlpCa),
    ratio: Number(traceSampling) / 100,
    resource: resourceOf(settings),
    registry: parts.metrics,
    log: parts.log.scope('trace'),
    clock: parts.clock,
    random: parts.random,
    randomBytes,
  })
}

/** A waypoint's canonical service is its Gateway; `NAME.NAMESPACE` is how Istio names services to collectors. */
export function resourceOf(settings: WaypointSettings): Record<string, string> {
  const [namespace = '', name = ''] = settings.gateway.split('/')
  return {
    'service.name': `${name}.${namespace}`,
    'service.namespace': namespace,
    'service.instance.id': `waypoint~${settings.instanceIp}~${settings.podName}.${settings.podNamespace}~${settings.podNamespace}.svc.${settings.clusterDomain}`,
    'k8s.pod.name': settings.podName,
    'k8s.namespace.name': settings.podNamespace,
    'k8s.node.name': settings.nodeName,
    'k8s.cluster.name': settings.clusterId,
    'istio.canonical_service': name,
    'istio.cluster_id': settings.clusterId,
  }
}
