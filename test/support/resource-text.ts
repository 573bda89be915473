// Resources as text for scenario files: what is on the wire, decoded, as YAML without the values that are the same everywhere.
import { stringify } from 'yaml'
import type { Result } from '../../kit/error.ts'
import type { PushSource } from '../../xds/push-source.ts'
import { decodeAddress } from '../../xds/resource/address.ts'
import { decodeAuthorization } from '../../xds/resource/authorization.ts'
import { decodeBackend } from '../../xds/resource/backend.ts'
import { decodeListener } from '../../xds/resource/listener.ts'
import { decodeNetworks } from '../../xds/resource/networks.ts'
import { ADDRESS_TYPE, AUTHORIZATION_TYPE, BACKEND_TYPE, LISTENER_TYPE, NETWORKS_TYPE } from '../../xds/kinds.ts'

/** How resources of each kind are read, as a proxy does. */
export const DECODERS: Readonly<Record<string, (bytes: Uint8Array) => Result<object>>> = {
  [ADDRESS_TYPE]: decodeAddress,
  [AUTHORIZATION_TYPE]: decodeAuthorization,
  [BACKEND_TYPE]: decodeBackend,
  [LISTENER_TYPE]: decodeListener,
  [NETWORKS_TYPE]: decodeNetworks,
}

/** Every resource of a source, sorted by kind and name. */
export function resourceText(source: PushSource): string {
  const blocks: string[] = []
  for (const typeUrl of source.typeUrls) {
    for (const [name, resource] of [...source.snapshot(typeUrl)].sort(([a], [b]) => (a < b ? -1 : 1))) {
      const kind = typeUrl.split('.').at(-1) ?? ''
      const found = DECODERS[typeUrl]?.(resource.bytes)
      if (found === undefined) throw new Error(`no decoder for ${typeUrl}`)
      if (!found.ok) throw new Error(`${name}: ${found.errors.join('; ')}`)
      const value =
        'workload' in found.value
          ? found.value.workload
          : 'kind' in found.value && 'service' in found.value
            ? found.value.service
            : found.value
      const body = stringify(bare(value), { lineWidth: 0 }).trimEnd()
      blocks.push(`${kind} ${name}\n${body.replace(/^/gm, '  ')}`)
    }
  }
  return `${blocks.join('\n')}\n`
}

const COMMON: Readonly<Record<string, unknown>> = {
  trustDomain: 'cluster.local',
  clusterId: 'Kubernetes',
  capacity: 1,
  network: '',
  hostname: '',
  isCanonical: true,
  serviceAccount: 'default',
  canonicalRevision: 'latest',
  ipFamilies: 'AUTOMATIC',
  appProtocol: 'UNKNOWN',
  region: '',
  zone: '',
  subzone: '',
  node: '',
}

/** Plain values: maps as objects, blocks as text, without what is empty, false or common. */
function bare(value: unknown): unknown {
  if (value instanceof Map) return Object.fromEntries([...value].map(([key, each]) => [key, bare(each)]))
  if (Array.isArray(value)) return value.map(bare)
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value)
  if ('prefix' in value && 'ip' in value) return `${String(value.ip)}/${String(value.prefix)}`
  const kept = entries
    .map(([key, each]) => [key, bare(each)] as const)
    .filter(([key, each]) => each !== undefined && each !== false && each !== COMMON[key] && !isEmpty(each))
  return Object.fromEntries(kept)
}

function isEmpty(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0
}
