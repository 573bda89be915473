// What a waypoint knows and does, as JSON for /config_dump. Keys never appear in it.
import { dumpSettings } from '../kit/settings.ts'
import type { CertificateState } from '../identity/manager.ts'
import { messageOf } from '../kit/error.ts'
import type { BackendCluster } from './clusters.ts'
import type { WaypointContext } from './context.ts'
import { SETTINGS } from './settings.ts'

/** What is shown. */
export interface DumpParts {
  readonly context: WaypointContext
  readonly certificates: readonly CertificateState[]
  readonly tunnels: number
  readonly connections: number
}

/** @returns a JSON-like value */
export function configDump({ context, certificates, tunnels, connections }: DumpParts): unknown {
  const { config, clusters, dialer, live, settings } = context
  const { listeners, backends } = config.dump()
  const mesh = config.mesh.dump()
  return {
    gateway: settings.gateway,
    listeners: listeners.map((listener) => ({ ...listener, consumerRoutes: Object.fromEntries(listener.consumerRoutes) })),
    backends: backends.map((backend) => ({ ...backend, ports: Object.fromEntries(backend.ports) })),
    clusters: clusters.list().map(dumpCluster),
    certificates: certificates.map(dumpCertificate),
    connections: { inbound: connections, tunnels, served: live.size, outbound: dialer.stats() },
    mesh: { workloads: mesh.workloads.length, services: mesh.services.length, policies: mesh.policies.length },
    config: dumpSettings(SETTINGS, settings),
  }
}

function dumpCluster({ name, balancer, pool, policy, appProtocol }: BackendCluster): unknown {
  return { name, appProtocol, policy, stats: balancer.stats, connections: pool.size }
}

function dumpCertificate({ id, certificate, error }: CertificateState): unknown {
  return {
    id,
    serial: certificate?.serial,
    notBefore: certificate?.notBefore.toISOString(),
    notAfter: certificate?.notAfter.toISOString(),
    ...(error === undefined ? {} : { error: messageOf(error) }),
  }
}
