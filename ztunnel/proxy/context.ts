// What the proxy functions of one enrolled pod work with. Made by pod.ts; outbound.ts, inbound.ts and passthrough.ts only read it.
import type { Counter } from 'prom-client'
import type { HbonePool } from '../../hbone/pool.ts'
import type { Clock } from '../../kit/clock.ts'
import { MeshError } from '../../kit/error.ts'
import type { Log } from '../../kit/log.ts'
import type { IpAddress } from '../../model/address.ts'
import type { Identity, SpiffeId } from '../../model/identity.ts'
import type { Authorization } from '../../model/policy.ts'
import type { Service } from '../../model/service.ts'
import type { ServiceKey, Workload } from '../../model/workload.ts'
import type { TcpMetrics } from '../../telemetry/metrics.ts'
import type { CredentialStore } from '../../identity/credentials.ts'
import type { ConnectionFacts, RecordBook } from '../../telemetry/connection-record.ts'
import { ztunnelFailure } from '../errors.ts'
import type { ZtunnelCode } from '../errors.ts'
import type { ZtunnelSettings } from '../settings.ts'
import type { DescriptorBudget } from './budget.ts'
import type { ConnectionTable } from './connections.ts'
import type { MeshView } from './decide.ts'
import type { SocketFactory } from './dial.ts'
import type { WaypointView } from './guard.ts'

/** The replica of the mesh that a data thread holds. */
export interface MeshReplica extends MeshView, WaypointView {
  policiesFor(workload: Workload): readonly Authorization[]
  servicesWithHost(hostname: string): readonly Service[]
  /** Waits for an address to be described; asks the control plane for it if that is the mode. */
  waitForWorkload(network: string, ip: IpAddress, waitMs: number): Promise<Workload | undefined>
  /** Resolves when these names have been looked up, found or not. */
  resolveNames(hostnames: readonly string[]): Promise<void>
  /** Waits for services to be described where only what is asked for is sent. @returns false when some are still unknown */
  waitForServices(keys: Iterable<ServiceKey>, waitMs: number): Promise<boolean>
}

/** What all pods of a data thread share. */
export interface ProxyContext {
  readonly settings: ZtunnelSettings
  readonly clock: Clock
  readonly log: Log
  readonly mesh: MeshReplica
  readonly credentials: CredentialStore
  readonly records: RecordBook
  readonly metrics: TcpMetrics
  readonly refused: Counter<string>
  /** CONNECTs whose word about the original client did not count. */
  readonly sourcesIgnored: Counter<string>
  readonly budget: DescriptorBudget
}

/** One enrolled pod. */
export interface PodContext extends ProxyContext {
  readonly uid: string
  readonly name: string
  readonly identity: Identity
  readonly id: SpiffeId
  readonly connections: ConnectionTable
  readonly sockets: SocketFactory
  readonly pool: HbonePool
}

/**
 * The pod's own description, waited for when the control plane has not sent it yet.
 * @returns undefined when there is none, or the address belongs to another pod (reused)
 */
export async function ownWorkload(pod: PodContext, ip: IpAddress): Promise<Workload | undefined> {
  const { network, unknownWaitMs } = pod.settings
  const known = pod.mesh.workloadByAddress(network, ip)
  if (known !== undefined && isOwn(pod, known)) return known
  const waited = await pod.mesh.waitForWorkload(network, ip, unknownWaitMs)
  return waited !== undefined && isOwn(pod, waited) ? waited : undefined
}

/** Counts and logs a connection that is refused before a route was decided. */
export function deny(pod: PodContext, facts: ConnectionFacts, error: MeshError): void {
  pod.refused.inc({ direction: facts.direction, code: error.code })
  pod.records.denied(facts, error)
}

/** Turns any thrown value into an error with a code. */
export function asMeshError(error: unknown, otherwise: ZtunnelCode): MeshError {
  return error instanceof MeshError ? error : ztunnelFailure(otherwise, {}, error)
}

function isOwn(pod: PodContext, workload: Workload): boolean {
  const { identity } = pod
  return workload.name === pod.name && workload.namespace === identity.namespace && workload.serviceAccount === identity.serviceAccount
}
