// Pods that run on the node without the agent knowing them: they started before the plugin was there, past it, or the node
// lost its state. Their namespaces are found in the kernel and they are enrolled as they run.
import { messageOf } from '../../kit/error.ts'
import type { Log } from '../../kit/log.ts'
import { type IpAddress, isIpv6, parseIp } from '../../model/address.ts'
import type { Pod } from '../../model/object.ts'
import type { Agent } from '../agent.ts'
import type { AgentMetrics } from '../metrics.ts'
import { type AgentObjects, nodeUidOf } from '../objects.ts'
import { findPlace } from '../place.ts'
import { REDIRECTION_ANNOTATION } from '../publish.ts'
import { findSandboxes } from './sandboxes.ts'

/** What the look-up works on. */
export interface TakeUpOptions {
  readonly agent: Pick<Agent, 'runners' | 'isWanted' | 'found'>
  readonly objects: Pick<AgentObjects, 'pods' | 'namespace'>
  readonly netnsDir: string
  readonly metrics: Pick<AgentMetrics, 'drifted'>
  readonly log: Log
  readonly find?: typeof findSandboxes
  readonly place?: typeof findPlace
}

/** The interface that every runtime gives a pod. */
const POD_INTERFACE = 'eth0'

/** One round; a pod that is not found is looked for again in the next. @returns how many were taken up */
export function takeUpPods(options: TakeUpOptions): number {
  const { agent, objects, netnsDir, metrics, log, find = findSandboxes, place = findPlace } = options
  const unknown = objects
    .pods()
    .filter((pod) => isUnknown(agent, pod) && agent.isWanted(pod, objects.namespace(pod.metadata.namespace ?? '')))
  const sandboxes = find(new Set(unknown.map(nodeUidOf)), netnsDir)
  let taken = 0
  for (const pod of unknown) {
    const { name, namespace = '', annotations } = pod.metadata
    const netns = sandboxes.get(nodeUidOf(pod))
    if (netns === undefined) continue
    const wasCaptured = annotations?.[REDIRECTION_ANNOTATION] === 'enabled'
    try {
      agent.found(place({ pod, netns, ips: addressesOf(pod), interfaceName: POD_INTERFACE }), pod, objects.namespace(namespace))
      taken++
      metrics.drifted(wasCaptured ? 'lost' : 'missed')
      log.warn(
        wasCaptured
          ? 'capture of a pod was lost with the state of the node; taken up again'
          : 'a pod runs that did not come through the plugin; taken up',
        {
          pod: name,
          namespace,
          netns,
        },
      )
    } catch (error) {
      log.warn('a pod that runs cannot be taken up', { pod: name, namespace, error: messageOf(error) })
    }
  }
  return taken
}

/** Only with an address: before that the runtime is still calling plugins. */
function isUnknown(agent: TakeUpOptions['agent'], pod: Pod): boolean {
  const { phase } = pod.status ?? {}
  const isOver = phase === 'Succeeded' || phase === 'Failed'
  return !isOver && addressesOf(pod).length > 0 && !agent.runners().has(pod.metadata.uid ?? '')
}

function addressesOf(pod: Pod): IpAddress[] {
  const texts = [...(pod.status?.podIPs ?? []).map(({ ip }) => ip), ...(pod.status?.podIP === undefined ? [] : [pod.status.podIP])]
  const ips: IpAddress[] = []
  for (const ip of texts.flatMap((text) => parseIp(text) ?? [])) if (!ips.some((other) => isIpv6(other) === isIpv6(ip))) ips.push(ip)
  return ips
}
