// The `global` part of a RateLimitPolicy -> a question to a rate limit service. Called by rate-limit.ts.
import type { DescriptorEntrySpec, GlobalRateLimitSpec } from '../../../model/istio-networking.ts'
import type { Service as KubeService } from '../../../model/object.ts'
import type { DescriptorEntry, GlobalRateLimit } from '../../../model/route.ts'
import { hostnameOf, type MeshNames } from '../mesh.ts'
import { goDurationMs } from './duration.ts'

/** A rate limit service by its object. */
export interface AskedService {
  /** `namespace/name` */
  readonly object: string
  readonly port: number
  readonly failsOpen: boolean
}

/** Envoy's 20 ms are too few for a first question, which waits for a handshake. */
const DEFAULT_TIMEOUT_MS = 100
/** Requests wait so long at most; proxies refuse more. */
const MAX_TIMEOUT_MS = 60_000

/** Pure. `problem`: the policy as a whole is refused. */
export function globalLimit(
  spec: GlobalRateLimitSpec,
  namespace: string,
  name: string,
  names: MeshNames,
): { readonly limit: GlobalRateLimit; readonly service: AskedService; readonly problem: string | undefined } {
  const { service, domain, descriptors, timeout, failureMode = 'closed' } = spec
  const place = service.namespace ?? namespace
  const timeoutMs = timeout === undefined ? DEFAULT_TIMEOUT_MS : goDurationMs(timeout)
  const failsOpen = failureMode === 'open'
  const isGood = timeoutMs >= 1 && timeoutMs <= MAX_TIMEOUT_MS
  return {
    limit: {
      policy: `${namespace}/${name}`,
      service: { service: `${place}/${hostnameOf(names, place, service.name)}`, port: service.port, subset: undefined },
      domain,
      descriptors: descriptors.map(({ entries }) => entries.map(entryOf)),
      timeoutMs,
      failsOpen,
    },
    service: { object: `${place}/${service.name}`, port: service.port, failsOpen },
    problem: isGood ? undefined : `global.timeout: must be 1ms to ${MAX_TIMEOUT_MS / 1000}s`,
  }
}

/** Why nobody will answer; undefined = there is such a port. */
export function problemOfService(
  { object, port, failsOpen }: AskedService,
  services: ReadonlyMap<string, KubeService>,
): string | undefined {
  const ports = services.get(object)?.spec?.ports ?? []
  if (ports.some((one) => one.port === port)) return undefined
  return `global.service: Service ${object} has no port ${port}: requests ${failsOpen ? 'pass unlimited' : 'are answered 500'}`
}

function entryOf(entry: DescriptorEntrySpec): DescriptorEntry {
  if (entry === 'identity') return { kind: entry, key: 'source_identity' }
  if (entry === 'route') return { kind: entry, key: entry }
  if ('value' in entry) return { kind: 'text', key: entry.key, value: entry.value }
  const header = entry.header.toLowerCase()
  return { kind: 'header', key: entry.key ?? header, name: header }
}
