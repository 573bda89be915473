// Where the mesh's own pods are in a cluster: in one namespace, told apart by the service account that they run as.
import type { Command } from 'commander'
import type { Pod } from '../../model/object.ts'
import type { ObjectApi } from '../../objects/api.ts'
import { SYSTEM_NAMESPACE } from '../../runtime/layout.ts'

/** The mesh's own parts, as their service accounts are called. */
export const COMPONENTS = ['controlplane', 'cni', 'ztunnel'] as const

/** One of COMPONENTS. */
export type ComponentName = (typeof COMPONENTS)[number]

/** Adds `--system-namespace`. */
export function withSystemNamespace(command: Command): Command {
  return command.option('--system-namespace <NS>', 'namespace that weft is installed in', SYSTEM_NAMESPACE)
}

/** Which part a pod of the system namespace is; undefined = none. */
export function componentOf(pod: Pod): ComponentName | undefined {
  return COMPONENTS.find((name) => name === pod.spec?.serviceAccountName)
}

/** Pods of a part that are not going away, ordered by node and name. */
export async function componentPods(api: ObjectApi, namespace: string, component: ComponentName): Promise<Pod[]> {
  const pods = (await api.list('pods', namespace)).items as readonly Pod[]
  const key = (pod: Pod): string => `${pod.spec?.nodeName ?? ''}/${pod.metadata.name}`
  return pods
    .filter((pod) => componentOf(pod) === component && pod.metadata.deletionTimestamp === undefined)
    .sort((a, b) => key(a).localeCompare(key(b)))
}
