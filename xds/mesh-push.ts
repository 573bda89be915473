// Pushes of the three kinds that describe the mesh (Address, Authorization, Networks), decoded at the edge into one change of a
// proxy's state. Called by ztunnel/source-xds.ts and waypoint/source.ts.
import type { Cidr } from '../model/address.ts'
import type { Authorization } from '../model/policy.ts'
import type { Service } from '../model/service.ts'
import { serviceKeyOf } from '../model/service.ts'
import type { Workload } from '../model/workload.ts'
import type { XdsPush } from './delta-client.ts'
import { ADDRESS_TYPE, AUTHORIZATION_TYPE, NETWORKS_NAME, NETWORKS_TYPE } from './kinds.ts'
import { decodeAddress } from './resource/address.ts'
import { decodeAuthorization } from './resource/authorization.ts'
import { decodeNetworks } from './resource/networks.ts'

interface Changed<T> {
  readonly upserts: readonly T[]
  readonly removes: readonly string[]
}

/** What a push changes; has the shape of StateChange in state/store.ts, which this layer cannot import. */
export interface MeshChange {
  readonly workloads?: Changed<Workload>
  readonly services?: Changed<Service>
  readonly policies?: Changed<Authorization>
  readonly networks?: readonly Cidr[]
}

/** Turns a push into a change; a resource that cannot be decoded is named in `errors` and leaves its old value in force. */
export function decodeMeshPush(typeUrl: string, push: XdsPush): { change: MeshChange; errors: string[] } {
  switch (typeUrl) {
    case ADDRESS_TYPE:
      return decodeAddresses(push)
    case AUTHORIZATION_TYPE:
      return decodePolicies(push)
    case NETWORKS_TYPE:
      return decodeBlocks(push)
    default:
      return { change: {}, errors: [`${typeUrl}: not asked for`] }
  }
}

function decodeAddresses(push: XdsPush): { change: MeshChange; errors: string[] } {
  const errors: string[] = []
  const workloads: Workload[] = []
  const services: Service[] = []
  for (const { name, bytes } of push.upserts) {
    const decoded = decodeAddress(bytes)
    if (!decoded.ok) errors.push(...decoded.errors.map((error) => `${name}: ${error}`))
    else if (decoded.value.kind === 'workload') workloads.push(decoded.value.workload)
    else services.push(decoded.value.service)
  }
  // A removed name is a uid or a service's key; the other store does not have it.
  const present = new Set([...workloads.map((workload) => workload.uid), ...services.map(serviceKeyOf)])
  const removes = push.removes.filter((name) => !present.has(name))
  return { change: { workloads: { upserts: workloads, removes }, services: { upserts: services, removes } }, errors }
}

function decodePolicies(push: XdsPush): { change: MeshChange; errors: string[] } {
  const errors: string[] = []
  const upserts: Authorization[] = []
  for (const { name, bytes } of push.upserts) {
    const decoded = decodeAuthorization(bytes)
    if (decoded.ok) upserts.push(decoded.value)
    else errors.push(...decoded.errors.map((error) => `${name}: ${error}`))
  }
  return { change: { policies: { upserts, removes: push.removes } }, errors }
}

function decodeBlocks(push: XdsPush): { change: MeshChange; errors: string[] } {
  const found = push.upserts.find(({ name }) => name === NETWORKS_NAME)
  if (found === undefined) return { change: push.removes.includes(NETWORKS_NAME) ? { networks: [] } : {}, errors: [] }
  const decoded = decodeNetworks(found.bytes)
  return decoded.ok ? { change: { networks: decoded.value.podAndServiceCidrs }, errors: [] } : { change: {}, errors: [...decoded.errors] }
}
