// One traffic policy of weft.gateway.v1.Backend (choice, ejection, limits, locality), wire <-> model.
import { create, type MessageInitShape } from '@bufbuild/protobuf'
import type { BalancerPolicy, ConnectionLimits, HashKey, LocalityPolicy, OutlierDetection, TrafficPolicy } from '../../model/backend.ts'
import { DEFAULT_TRAFFIC_POLICY } from '../../model/backend.ts'
import {
  type Balancer,
  type BalancerSchema,
  type ConnectionLimits as WireLimits,
  type HashKey as WireHashKey,
  type HashKeySchema,
  HttpVersion,
  type LocalityPolicy as WireLocality,
  type LocalityPolicySchema,
  type OutlierDetection as WireOutlier,
  type TrafficPolicy as WirePolicy,
  TrafficPolicySchema,
} from '../../proto/gateway_pb.ts'
import { type Faults, optional } from './check.ts'
import { numberOf } from './gateway.ts'
import { recordFromWire, sortedEntries } from './route-match.ts'

const KEYS_LIMIT = 64
const LOCALITIES_LIMIT = 1024
// Envoy's bounds: each proxy builds a table of this size per backend.
const RING_SIZE = { most: 8_388_608 }
const MAGLEV_SIZE = { least: 1, most: 5_000_011 }
const PERCENT = { most: 100 }

const VERSIONS = {
  [HttpVersion.ANY_VERSION]: 'any',
  [HttpVersion.HTTP_1_1]: 'HTTP/1.1',
  [HttpVersion.HTTP_2]: 'HTTP/2',
} as const

/** Turns a decoded policy into the model's; what is wrong or absent is noted in `faults`, and then the value must not be used. */
export function policyFromWire(faults: Faults, field: string, wire: WirePolicy | undefined): TrafficPolicy {
  if (wire === undefined) {
    faults.note(field, 'is absent')
    return DEFAULT_TRAFFIC_POLICY
  }
  const http = faults.choice(`${field}.http`, wire.http, VERSIONS, 'any')
  return {
    balancer: balancerFromWire(faults, `${field}.balancer`, wire.balancer),
    warmupMs: optional(wire.warmupMs, (it) => faults.amount(`${field}.warmup_ms`, it)),
    locality: optional(wire.locality, (it) => localityFromWire(faults, `${field}.locality`, it)),
    outlier: optional(wire.outlier, (it) => outlierFromWire(faults, `${field}.outlier`, it)),
    limits: limitsFromWire(faults, `${field}.limits`, wire.limits),
    http: http === 'any' ? undefined : http,
  }
}

/** The message of a policy. */
export function policyToWire(policy: TrafficPolicy): WirePolicy {
  const { balancer, warmupMs, locality, outlier, limits, http } = policy
  return create(TrafficPolicySchema, {
    balancer: balancerToWire(balancer),
    ...(warmupMs !== undefined && { warmupMs }),
    ...(locality && { locality: localityToWire(locality) }),
    ...(outlier && { outlier: present(outlier) }),
    limits: present(limits),
    http: numberOf(VERSIONS, http ?? 'any'),
  })
}

function balancerFromWire(faults: Faults, field: string, wire: Balancer | undefined): BalancerPolicy {
  const kind = wire?.kind
  switch (kind?.case) {
    case 'leastRequest':
    case 'roundRobin':
    case 'random':
      return { kind: kind.case }
    case 'ringHash': {
      const minimumRingSize = faults.amount(`${field}.minimum_ring_size`, kind.value.minimumRingSize, RING_SIZE)
      return { kind: 'ringHash', keys: keysFromWire(faults, `${field}.keys`, kind.value.keys), minimumRingSize }
    }
    case 'maglev': {
      const tableSize = faults.amount(`${field}.table_size`, kind.value.tableSize, MAGLEV_SIZE)
      return { kind: 'maglev', keys: keysFromWire(faults, `${field}.keys`, kind.value.keys), tableSize }
    }
    default:
      faults.note(field, 'no known kind of balancer')
      return { kind: 'leastRequest' }
  }
}

function balancerToWire(policy: BalancerPolicy): MessageInitShape<typeof BalancerSchema> {
  switch (policy.kind) {
    case 'ringHash':
      return { kind: { case: 'ringHash', value: { keys: policy.keys.map(keyToWire), minimumRingSize: policy.minimumRingSize } } }
    case 'maglev':
      return { kind: { case: 'maglev', value: { keys: policy.keys.map(keyToWire), tableSize: policy.tableSize } } }
    default:
      return { kind: { case: policy.kind, value: {} } }
  }
}

function keysFromWire(faults: Faults, field: string, list: readonly WireHashKey[]): HashKey[] {
  return faults.many(field, list, KEYS_LIMIT).map(({ kind }) => {
    switch (kind.case) {
      case 'header':
        return { kind: 'header', name: faults.headerName(field, kind.value) }
      case 'query':
        return { kind: 'query', name: faults.value(field, kind.value) }
      case 'cookie': {
        const { name, path, ttlSeconds } = kind.value
        faults.headerName(field, name.toLowerCase())
        return { kind: 'cookie', name, path: faults.text(field, path), ttlSeconds: optional(ttlSeconds, (it) => faults.amount(field, it)) }
      }
      case 'sourceIp':
        return { kind: 'sourceIp' }
      default:
        faults.note(field, 'no known kind of key')
        return { kind: 'sourceIp' }
    }
  })
}

function keyToWire(key: HashKey): MessageInitShape<typeof HashKeySchema> {
  switch (key.kind) {
    case 'header':
    case 'query':
      return { kind: { case: key.kind, value: key.name } }
    case 'cookie': {
      const { name, path, ttlSeconds } = key
      return { kind: { case: 'cookie', value: { name, path, ...(ttlSeconds !== undefined && { ttlSeconds }) } } }
    }
    case 'sourceIp':
      return { kind: { case: 'sourceIp', value: {} } }
  }
}

function localityFromWire(faults: Faults, field: string, wire: WireLocality): LocalityPolicy {
  const shares = `${field}.distribute.to`
  return {
    isEnabled: wire.enabled,
    distribute: faults.many(`${field}.distribute`, wire.distribute, LOCALITIES_LIMIT).map(({ from, to }) => ({
      from: faults.text(`${field}.distribute.from`, from),
      to: recordFromWire(
        faults,
        shares,
        faults.many(shares, to, LOCALITIES_LIMIT).map(({ locality, percent }) => [locality, faults.amount(shares, percent)]),
      ),
    })),
    failover: faults.many(`${field}.failover`, wire.failover, LOCALITIES_LIMIT).map(({ from, to }) => ({
      from: faults.text(`${field}.failover.from`, from),
      to: faults.text(`${field}.failover.to`, to),
    })),
    failoverPriority: faults
      .many(`${field}.failover_priority`, wire.failoverPriority, KEYS_LIMIT)
      .map((label) => faults.text(`${field}.failover_priority`, label)),
  }
}

function localityToWire(policy: LocalityPolicy): MessageInitShape<typeof LocalityPolicySchema> {
  return {
    enabled: policy.isEnabled,
    distribute: policy.distribute.map(({ from, to }) => ({
      from,
      to: sortedEntries(to).map(([locality, percent]) => ({ locality, percent })),
    })),
    failover: policy.failover.map((rule) => ({ ...rule })),
    failoverPriority: [...policy.failoverPriority],
  }
}

function outlierFromWire(faults: Faults, field: string, wire: WireOutlier): OutlierDetection {
  return {
    consecutive5xx: wire.consecutive5xx,
    consecutiveGatewayErrors: wire.consecutiveGatewayErrors,
    intervalMs: faults.amount(`${field}.interval_ms`, wire.intervalMs),
    baseEjectionMs: faults.amount(`${field}.base_ejection_ms`, wire.baseEjectionMs),
    maxEjectionPercent: faults.amount(`${field}.max_ejection_percent`, wire.maxEjectionPercent, PERCENT),
    minHealthPercent: faults.amount(`${field}.min_health_percent`, wire.minHealthPercent, PERCENT),
  }
}

function limitsFromWire(faults: Faults, field: string, wire: WireLimits | undefined): ConnectionLimits {
  if (wire === undefined) faults.note(field, 'is absent')
  return {
    maxConnections: wire?.maxConnections,
    connectTimeoutMs: faults.amount(`${field}.connect_timeout_ms`, wire?.connectTimeoutMs ?? 0),
    maxPendingRequests: wire?.maxPendingRequests,
    maxRequests: wire?.maxRequests,
    maxRequestsPerConnection: wire?.maxRequestsPerConnection,
    maxRetries: wire?.maxRetries,
    idleTimeoutMs: optional(wire?.idleTimeoutMs, (it) => faults.amount(`${field}.idle_timeout_ms`, it)),
  }
}

type Present<T> = { [K in keyof T]?: Exclude<T[K], undefined> }

/** The fields that have a value: the names are the same on the wire. */
function present<T extends object>(model: T): Present<T> {
  return Object.fromEntries(Object.entries(model).filter(([, value]) => value !== undefined)) as Present<T>
}
