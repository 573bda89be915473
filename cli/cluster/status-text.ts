// The status of a cluster as text.
import { formatBytes, formatTable } from '../output.ts'
import { describeRedirection } from '../redirects.ts'
import type { ClusterStatus } from './status.ts'

const MOST_PODS = 100

/** @param flags that lead to the cluster again, for the commands that are shown */
export function formatClusterStatus(status: ClusterStatus, flags: string): string {
  const components = status.components.map((one) => [
    one.component,
    one.node,
    one.name,
    one.version,
    one.isReady ? 'ready' : 'NOT ready',
    String(one.restarts),
    formatBytes(one.memoryBytes),
    one.remark || '-',
  ])
  const nodes = status.nodes.map((node) => [
    node.name,
    node.kernel,
    String(node.pods),
    String(node.enrolled),
    String(node.pending),
    node.certificates === undefined ? '-' : `${node.certificates.valid}/${node.certificates.total}`,
    node.certificates?.nextExpiry ?? '-',
    describeRedirection(node.redirection),
  ])
  const pods = status.pods
    .toSorted((a, b) => Number(a.enrolment === 'enabled') - Number(b.enrolment === 'enabled'))
    .map((pod) => [`${pod.namespace}/${pod.name}`, pod.node, pod.ip, pod.isReady ? 'yes' : 'no', pod.enrolment])
  return [
    ...releasedLines(status, flags),
    `cluster ${status.server} (${status.version}): the mesh is ${status.isReady ? 'ready' : 'NOT ready'}`,
    ...status.missing.map((sentence) => `  ${sentence}`),
    ...status.unknown.map((sentence) => `  not known: ${sentence}`),
    '',
    formatTable(['COMPONENT', 'NODE', 'POD', 'VERSION', 'STATE', 'RESTARTS', 'MEMORY', 'REMARK'], components),
    '',
    formatTable(['NODE', 'KERNEL', 'PODS', 'ENROLLED', 'PENDING', 'CERTIFICATES', 'FIRST EXPIRY', 'REDIRECTION'], nodes),
    '',
    pods.length === 0 ? 'no pods in the mesh' : formatTable(['POD', 'NODE', 'IP', 'READY', 'MESH'], pods.slice(0, MOST_PODS)),
    ...(pods.length > MOST_PODS ? [`and ${pods.length - MOST_PODS} more; all of them with -o json`] : []),
  ].join('\n')
}

function releasedLines({ released }: ClusterStatus, flags: string): string[] {
  if (released.length === 0) return []
  const lines = released.map(({ what, since }) => {
    const [kind, name] = what.split(' ')
    return `!! ${what} since ${since}; take it back with: weft release --resume ${kind === 'node' ? '--node' : '-n'} ${name}${flags}`
  })
  return ['!!!!!! RELEASED: these pods are NOT protected by the mesh, their traffic is plaintext', ...lines, '']
}
