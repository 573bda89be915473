// The rules of weft.gateway.v1.Listener (backends, timeouts, retries, faults, limits, sessions), wire <-> model.
import { create, type MessageInitShape } from '@bufbuild/protobuf'
import type { FaultPolicy, RetryCondition, RetryPolicy, RouteRule, SessionPersistence, WeightedBackend } from '../../model/route.ts'
import {
  type FaultPolicy as WireFault,
  RetryCondition as WireCondition,
  type RetryPolicy as WireRetry,
  type Rule as WireRule,
  RuleSchema,
  SessionKind,
  type SessionPersistence as WireSession,
  type WeightedBackend as WireBackend,
  type WeightedBackendSchema,
} from '../../proto/gateway_pb.ts'
import { type Faults, optional } from './check.ts'
import { numberOf } from './gateway.ts'
import { rateLimitsFromWire, rateLimitToWire } from './rate-limit.ts'
import { backendRefFromWire, backendRefToWire, filtersFromWire, filterToWire } from './route-filter.ts'

const BACKENDS_LIMIT = 1024
const CODES_LIMIT = 512
const STATUS = { least: 100, most: 599 }
const PERCENT = { most: 100 }

const CONDITIONS = {
  [WireCondition.CONNECT_FAILURE]: 'connect-failure',
  [WireCondition.REFUSED_STREAM]: 'refused-stream',
  [WireCondition.RESET]: 'reset',
  [WireCondition.RESET_BEFORE_REQUEST]: 'reset-before-request',
  [WireCondition.GATEWAY_ERROR]: 'gateway-error',
  [WireCondition.SERVER_ERROR]: '5xx',
  [WireCondition.RETRIABLE_4XX]: 'retriable-4xx',
  [WireCondition.CANCELLED]: 'cancelled',
  [WireCondition.DEADLINE_EXCEEDED]: 'deadline-exceeded',
  [WireCondition.RESOURCE_EXHAUSTED]: 'resource-exhausted',
  [WireCondition.UNAVAILABLE]: 'unavailable',
  [WireCondition.INTERNAL]: 'internal',
} as const satisfies Readonly<Record<number, RetryCondition>>
const SESSIONS = { [SessionKind.COOKIE]: 'cookie', [SessionKind.HEADER]: 'header' } as const

/** Turns a decoded rule into the model's; what is wrong is noted in `faults`, and then the value must not be used. */
export function ruleFromWire(faults: Faults, field: string, wire: WireRule): RouteRule {
  return {
    filters: filtersFromWire(faults, `${field}.filters`, wire.filters),
    backends: faults
      .many(`${field}.backends`, wire.backends, BACKENDS_LIMIT)
      .map((backend) => backendFromWire(faults, `${field}.backends`, backend)),
    timeouts: {
      requestMs: optional(wire.requestMs, (it) => faults.amount(`${field}.request_ms`, it)),
      backendRequestMs: optional(wire.backendRequestMs, (it) => faults.amount(`${field}.backend_request_ms`, it)),
    },
    retry: optional(wire.retry, (it) => retryFromWire(faults, `${field}.retry`, it)),
    fault: optional(wire.fault, (it) => faultFromWire(faults, `${field}.fault`, it)),
    rateLimits: rateLimitsFromWire(faults, `${field}.rate_limits`, wire.rateLimits),
    sessionPersistence: optional(wire.sessionPersistence, (it) => sessionFromWire(faults, `${field}.session_persistence`, it)),
  }
}

/** The message of a rule. */
export function ruleToWire(rule: RouteRule): WireRule {
  const { requestMs, backendRequestMs } = rule.timeouts
  const { retry, fault, sessionPersistence } = rule
  return create(RuleSchema, {
    filters: rule.filters.map(filterToWire),
    backends: rule.backends.map(backendToWire),
    ...(requestMs !== undefined && { requestMs }),
    ...(backendRequestMs !== undefined && { backendRequestMs }),
    ...(retry && { retry: retryToWire(retry) }),
    ...(fault && { fault: faultToWire(fault) }),
    rateLimits: rule.rateLimits.map(rateLimitToWire),
    ...(sessionPersistence && { sessionPersistence: sessionToWire(sessionPersistence) }),
  })
}

function backendFromWire(faults: Faults, field: string, wire: WireBackend): WeightedBackend {
  const common = { weight: wire.weight, filters: filtersFromWire(faults, `${field}.filters`, wire.filters) }
  const { kind } = wire
  if (kind.case === 'service') return { ...common, kind: 'service', ref: backendRefFromWire(faults, field, kind.value) }
  if (kind.case === 'invalid') return { ...common, kind: 'invalid', reason: faults.value(field, kind.value) }
  faults.note(field, 'neither a service nor invalid')
  return { ...common, kind: 'invalid', reason: '' }
}

function backendToWire(backend: WeightedBackend): MessageInitShape<typeof WeightedBackendSchema> {
  const common = { weight: backend.weight, filters: backend.filters.map(filterToWire) }
  if (backend.kind === 'service') return { ...common, kind: { case: 'service', value: backendRefToWire(backend.ref) } }
  return { ...common, kind: { case: 'invalid', value: backend.reason } }
}

function retryFromWire(faults: Faults, field: string, wire: WireRetry): RetryPolicy {
  return {
    attempts: wire.attempts,
    codes: faults.many(`${field}.codes`, wire.codes, CODES_LIMIT).map((code) => faults.amount(`${field}.codes`, code, STATUS)),
    conditions: faults
      .many(`${field}.conditions`, wire.conditions, CODES_LIMIT)
      .map((condition) => faults.choice(`${field}.conditions`, condition, CONDITIONS, 'connect-failure')),
    backoffMs: faults.amount(`${field}.backoff_ms`, wire.backoffMs),
    perTryMs: optional(wire.perTryMs, (it) => faults.amount(`${field}.per_try_ms`, it)),
  }
}

function retryToWire({ attempts, codes, conditions, backoffMs, perTryMs }: RetryPolicy) {
  return {
    attempts,
    codes: [...codes],
    conditions: conditions.map((condition) => numberOf(CONDITIONS, condition)),
    backoffMs,
    ...(perTryMs !== undefined && { perTryMs }),
  }
}

function faultFromWire(faults: Faults, field: string, { delay, abort }: WireFault): FaultPolicy {
  return {
    delay: optional(delay, ({ fixedMs, percent }) => ({
      fixedMs: faults.amount(`${field}.delay.fixed_ms`, fixedMs),
      percent: faults.amount(`${field}.delay.percent`, percent, PERCENT),
    })),
    abort: optional(abort, ({ status, grpcStatus, percent }) => ({
      status: faults.amount(`${field}.abort.status`, status, { least: 200, most: 599 }),
      grpcStatus,
      percent: faults.amount(`${field}.abort.percent`, percent, PERCENT),
    })),
  }
}

function faultToWire({ delay, abort }: FaultPolicy) {
  const { grpcStatus, ...plain } = abort ?? {}
  return {
    ...(delay && { delay: { ...delay } }),
    ...(abort && { abort: { ...plain, ...(grpcStatus !== undefined && { grpcStatus }) } }),
  }
}

function sessionFromWire(faults: Faults, field: string, wire: WireSession): SessionPersistence {
  // A token in either case: cookie names keep theirs.
  faults.headerName(`${field}.name`, wire.name.toLowerCase())
  return {
    name: wire.name,
    kind: faults.choice(`${field}.kind`, wire.kind, SESSIONS, 'cookie'),
    cookiePath: faults.text(`${field}.cookie_path`, wire.cookiePath),
    absoluteTimeoutSeconds: optional(wire.absoluteTimeoutSeconds, (it) => faults.amount(`${field}.absolute_timeout_seconds`, it)),
  }
}

function sessionToWire({ name, kind, cookiePath, absoluteTimeoutSeconds }: SessionPersistence) {
  return {
    name,
    kind: numberOf(SESSIONS, kind),
    cookiePath,
    ...(absoluteTimeoutSeconds !== undefined && { absoluteTimeoutSeconds }),
  }
}
