// Gives the pods of all nodes back to the network without the mesh, before anything is removed: the node agents are restarted with
// --uninstall, release their pods, take their plugin out of the node's CNI configuration, and are Ready when nothing is left.
import type { Clock } from '../../kit/clock.ts'
import { installFailure } from './errors.ts'
import { type AnyObject, type InstallCluster, KIND } from './cluster.ts'
import { waitReady } from './wait.ts'

interface AgentSet extends AnyObject {
  readonly spec?: {
    readonly template?: {
      readonly spec?: { readonly containers?: readonly { readonly name: string; readonly args?: readonly string[] }[] }
    }
  }
}

const AGENT = 'cni'
/** Argument of the agent. */
export const RELEASE_ARGUMENT = '--uninstall'

/** What to work on. */
export interface ReleaseOptions {
  readonly cluster: Pick<InstallCluster, 'get' | 'list' | 'patch'>
  readonly namespace: string
  readonly timeoutMs: number
  readonly clock: Clock
  readonly tell?: (line: string) => void
}

/**
 * Resolves when every agent says that its node is released; at once when there is no agent.
 * @throws NODES_NOT_RELEASED naming what holds it up; FORBIDDEN
 */
export async function releaseNodes(options: ReleaseOptions): Promise<void> {
  const { cluster, namespace } = options
  const agents = await cluster.get<AgentSet>(KIND.daemonsets, namespace, AGENT)
  if (agents === undefined) return
  const args = agents.spec?.template?.spec?.containers?.find(({ name }) => name === AGENT)?.args ?? []
  if (!args.includes(RELEASE_ARGUMENT)) {
    const container = { name: AGENT, args: [...args, RELEASE_ARGUMENT] }
    const rollingUpdate = { maxSurge: 0, maxUnavailable: '100%' } // nodes do not wait for each other
    await cluster.patch(KIND.daemonsets, namespace, AGENT, {
      spec: { updateStrategy: { rollingUpdate }, template: { spec: { containers: [container] } } },
    })
  }
  const { isReady, reasons } = await waitReady({ ...options, names: [AGENT] })
  if (!isReady) throw installFailure('NODES_NOT_RELEASED', { what: `some nodes have not given their pods back: ${reasons.join('; ')}` })
}
