// What is looked at before anything is changed: the account's rights, another mesh, the nodes.
import { installFailure } from './errors.ts'
import { type AnyObject, type AnyObjects, KIND } from '../cluster/any-objects.ts'
import { NAMESPACE } from './helm.ts'
import { missingRights, type Rendered, rightsFor } from './rights.ts'
import { foreignParts, type SurveyedNode, surveyNodes } from './survey.ts'

const MOST_NAMED = 5

/** @throws RIGHTS_MISSING naming verbs and resources */
export async function checkRights(
  cluster: Pick<AnyObjects, 'may'>,
  objects: readonly Rendered[],
  does: 'install' | 'uninstall',
): Promise<void> {
  const missing = await missingRights(rightsFor(objects, NAMESPACE, does), (verb, kind, namespace) => cluster.may(verb, kind, namespace))
  if (missing.length === 0) return
  const named = missing.slice(0, MOST_NAMED).join(', ')
  const rest = missing.length > MOST_NAMED ? ` and ${missing.length - MOST_NAMED} more` : ''
  throw installFailure('RIGHTS_MISSING', { what: `the account may not ${named}${rest}` })
}

/**
 * @param mayStandBeside Istio may stay where it is, on other nodes
 * @returns what somebody should know, a sentence each
 * @throws FOREIGN_MESH | CLUSTER_UNFIT
 */
export async function checkCluster(
  cluster: Pick<AnyObjects, 'list'>,
  objects: readonly Rendered[],
  mayStandBeside: boolean,
): Promise<string[]> {
  const [daemonSets, deployments, nodes] = await Promise.all([
    cluster.list(KIND.daemonsets),
    cluster.list(KIND.deployments),
    cluster.list<SurveyedNode>(KIND.nodes),
  ])
  const named = (kind: string, all: readonly AnyObject[]) => all.map((one) => ({ ...one, kind }))
  const foreign = foreignParts([...named('DaemonSet', daemonSets), ...named('Deployment', deployments)], NAMESPACE)
  if (foreign.length > 0 && !mayStandBeside)
    throw installFailure('FOREIGN_MESH', { what: `another mesh is installed: ${foreign.join(', ')}` })
  if (foreign.length > 0 && !isOnChosenNodes(objects))
    throw installFailure('FOREIGN_MESH', {
      what: `two meshes cannot share a node, and ${foreign.join(', ')} run: choose nodes with --set nodeSelector`,
    })
  const { faults, notes } = surveyNodes(nodes)
  if (faults.length > 0) throw installFailure('CLUSTER_UNFIT', { what: faults.join('; ') })
  return notes
}

/** Whether the DaemonSets ask for more than Linux. */
function isOnChosenNodes(objects: readonly Rendered[]): boolean {
  const sets = objects.filter(({ kind }) => kind === 'DaemonSet')
  return sets.every(({ spec }) => {
    const { template } = (spec ?? {}) as { template?: { spec?: { nodeSelector?: object } } }
    return Object.keys(template?.spec?.nodeSelector ?? {}).some((key) => key !== 'kubernetes.io/os')
  })
}
