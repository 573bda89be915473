// Pods of a cluster as commands name them.
import type { Pod } from '../../model/object.ts'
import type { ObjectApi } from '../../objects/api.ts'
import { parseTarget } from '../connect.ts'
import { cliFailure } from '../errors.ts'

const DEFAULT_CONTAINER = 'kubectl.kubernetes.io/default-container'

/** A pod and one of its containers. */
export interface ChosenContainer {
  readonly namespace: string
  readonly pod: string
  readonly container: string
}

/**
 * The pod by full name, else the first (by name, running ones first) whose name begins with it.
 * @param wanted a container; undefined = the pod's default one
 * @throws MeshError POD_NOT_FOUND
 */
export async function findContainer(api: ObjectApi, target: string, wanted: string | undefined): Promise<ChosenContainer> {
  const { namespace, name } = parseTarget(target)
  const pods = (await api.list('pods', namespace)).items as readonly Pod[]
  const isRunning = (pod: Pod): number => (pod.status?.phase === 'Running' && pod.metadata.deletionTimestamp === undefined ? 0 : 1)
  const begun = pods
    .filter((pod) => pod.metadata.name.startsWith(`${name}-`))
    .sort((a, b) => isRunning(a) - isRunning(b) || a.metadata.name.localeCompare(b.metadata.name))
  const found = pods.find((pod) => pod.metadata.name === name) ?? begun[0]
  if (found === undefined) throw cliFailure('POD_NOT_FOUND', { pod: `${namespace}/${name}` })
  const containers = [...(found.spec?.containers ?? []), ...(found.spec?.initContainers ?? [])].map((one) => one.name)
  const container = wanted ?? found.metadata.annotations?.[DEFAULT_CONTAINER] ?? containers[0] ?? ''
  if (!containers.includes(container)) throw cliFailure('POD_NOT_FOUND', { pod: found.metadata.name, container, has: containers.join(',') })
  return { namespace, pod: found.metadata.name, container }
}
