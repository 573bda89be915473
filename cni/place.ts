// A pod's place in the network, found out from what the kubelet says: its namespace's names in the kernel, its device.
import { deviceIndex } from '../linux/device.ts'
import { hostSideOf } from '../linux/link.ts'
import { type Netns, netnsCookie, openNetns } from '../linux/netns.ts'
import type { IpAddress } from '../model/address.ts'
import type { Pod } from '../model/object.ts'
import { cniFailure } from './errors.ts'
import { openPodNetns, type PodPlace } from './pods.ts'
import type { PluginRequest } from './request.ts'
import { BYPASS_INBOUND_ANNOTATION } from './rules.ts'

/** What the runtime's plugin call says, or what was found out without one. */
export interface GivenPlace {
  readonly pod: Pod
  readonly netns: string
  readonly ips: readonly IpAddress[]
  /** Name inside the pod's namespace. */
  readonly interfaceName: string
  readonly containerId?: string
}

/** As `placeOf`, but the host's device is found at the other end of the pod's. @throws MeshError NETNS_GONE */
export function findPlace(given: GivenPlace): PodPlace {
  const { pod, netns, ips, containerId } = given
  const place = placeOf({ pod, netns, ips, hostInterface: undefined })
  using opened = openPodNetns(place)
  const hostIfindex = hostSideOf(opened.fd, given.interfaceName)
  return { ...place, hostIfindex, ...(containerId === undefined ? {} : { containerId }) }
}

/** Runs in the node's network namespace, which has the device. @throws MeshError NETNS_GONE, BAD_REQUEST (no such device) */
export function placeOf(given: Pick<PluginRequest, 'netns' | 'ips' | 'hostInterface'> & { readonly pod: Pod }): PodPlace {
  const { pod, ips, hostInterface } = given
  const { uid = '', namespace = '', name, annotations } = pod.metadata
  const hostIfindex = hostInterface === undefined ? 0 : deviceIndex(hostInterface)
  if (hostInterface !== undefined && hostIfindex === 0)
    throw cniFailure('BAD_REQUEST', { reason: `HostInterface: no device ${hostInterface}` })
  return {
    uid,
    namespace,
    name,
    serviceAccount: pod.spec?.serviceAccountName ?? 'default',
    ...namespaceOf(given.netns),
    ips,
    hostIfindex,
    bypassesInbound: annotations?.[BYPASS_INBOUND_ANNOTATION] === 'true',
  }
}

function namespaceOf(path: string): Pick<PodPlace, 'netns' | 'netnsInode' | 'cookie'> {
  let opened: Netns
  try {
    opened = openNetns(path)
  } catch (cause) {
    throw cniFailure('NETNS_GONE', { netns: path }, cause)
  }
  using netns = opened
  return { netns: path, netnsInode: netns.inode, cookie: netnsCookie(netns.fd) }
}
