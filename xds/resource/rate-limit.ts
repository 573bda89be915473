// RateLimit: token buckets, and questions to a rate limit service. Called by listener.ts and route-rule.ts.
import type { MessageInitShape } from '@bufbuild/protobuf'
import type { DescriptorEntry, GlobalRateLimit, LocalRateLimit, RateLimit, RateLimitKey } from '../../model/route.ts'
import type {
  GlobalRateLimit as WireGlobal,
  GlobalRateLimit_Entry as WireEntry,
  GlobalRateLimitSchema,
  RateLimit as WireLimit,
  RateLimitKey as WireLimitKey,
  RateLimitSchema,
} from '../../proto/gateway_pb.ts'
import type { Faults } from './check.ts'
import { backendRefFromWire, backendRefToWire } from './route-filter.ts'

const RATE_LIMITS_LIMIT = 64
const KEYS_LIMIT = 16
const DESCRIPTORS_LIMIT = 16
const TIMEOUT_MS = { least: 1, most: 60_000 }

/** Turns decoded rate limits into the model's, in their order. */
export function rateLimitsFromWire(faults: Faults, field: string, list: readonly WireLimit[]): RateLimit[] {
  return faults
    .many(field, list, RATE_LIMITS_LIMIT)
    .map((wire) => (wire.global === undefined ? localFromWire(faults, field, wire) : globalFromWire(faults, field, wire, wire.global)))
}

/** The message of a rate limit. */
export function rateLimitToWire(limit: RateLimit): MessageInitShape<typeof RateLimitSchema> {
  if ('domain' in limit) return { policy: limit.policy, global: globalToWire(limit) }
  const { policy, requests, perMs, burst, keys } = limit
  return {
    policy,
    requests,
    perMs,
    burst,
    keys: keys.map((key) => ({ kind: key.kind === 'identity' ? { case: key.kind, value: {} } : { case: key.kind, value: key.name } })),
  }
}

function localFromWire(faults: Faults, field: string, wire: WireLimit): LocalRateLimit {
  return {
    policy: faults.text(`${field}.policy`, wire.policy),
    requests: faults.amount(`${field}.requests`, wire.requests),
    perMs: faults.amount(`${field}.per_ms`, wire.perMs, { least: 1 }),
    burst: faults.amount(`${field}.burst`, wire.burst),
    keys: faults.many(`${field}.keys`, wire.keys, KEYS_LIMIT).map((key) => limitKeyFromWire(faults, `${field}.keys`, key)),
  }
}

function limitKeyFromWire(faults: Faults, field: string, { kind }: WireLimitKey): RateLimitKey {
  if (kind.case === 'header') return { kind: 'header', name: faults.headerName(field, kind.value) }
  if (kind.case !== 'identity') faults.note(field, 'no known kind of key')
  return { kind: 'identity' }
}

function globalFromWire(faults: Faults, field: string, { policy }: WireLimit, wire: WireGlobal): GlobalRateLimit {
  const list = faults.many(`${field}.descriptors`, wire.descriptors, DESCRIPTORS_LIMIT)
  return {
    policy: faults.text(`${field}.policy`, policy),
    service: backendRefFromWire(faults, `${field}.service`, wire.service),
    domain: faults.text(`${field}.domain`, wire.domain),
    descriptors: list.map(({ entries }) =>
      faults.many(`${field}.entries`, entries, KEYS_LIMIT).map((entry) => entryFromWire(faults, `${field}.entries`, entry)),
    ),
    timeoutMs: faults.amount(`${field}.timeout_ms`, wire.timeoutMs, TIMEOUT_MS),
    failsOpen: wire.failsOpen,
  }
}

function entryFromWire(faults: Faults, field: string, wire: WireEntry): DescriptorEntry {
  const key = faults.text(`${field}.key`, wire.key)
  const { value } = wire
  switch (value.case) {
    case 'identity':
    case 'route':
      return { kind: value.case, key }
    case 'header':
      return { kind: 'header', key, name: faults.headerName(`${field}.header`, value.value) }
    case 'text':
      return { kind: 'text', key, value: faults.text(`${field}.text`, value.value) }
    default:
      faults.note(field, 'no known kind of value')
      return { kind: 'identity', key }
  }
}

function globalToWire(limit: GlobalRateLimit): MessageInitShape<typeof GlobalRateLimitSchema> {
  const { service, domain, descriptors, timeoutMs, failsOpen } = limit
  return {
    service: backendRefToWire(service),
    domain,
    descriptors: descriptors.map((entries) => ({ entries: entries.map((entry) => ({ key: entry.key, value: valueToWire(entry) })) })),
    timeoutMs,
    failsOpen,
  }
}

function valueToWire(entry: DescriptorEntry): { case: 'identity' | 'route'; value: object } | { case: 'header' | 'text'; value: string } {
  if (entry.kind === 'header') return { case: entry.kind, value: entry.name }
  return entry.kind === 'text' ? { case: entry.kind, value: entry.value } : { case: entry.kind, value: {} }
}
