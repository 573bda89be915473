// weft status: nodes, components with memory, pods with enrolment, last events or certificates, and loudly what was released.
import type { Command } from 'commander'
import { systemClock } from '../../kit/clock.ts'
import { codeOf } from '../../kit/error.ts'
import { meshLayout } from '../../runtime/layout.ts'
import { type ReleaseMark, readReleases } from '../../runtime/release.ts'
import type { MeshStatus } from '../../runtime/status.ts'
import { withSystemNamespace } from '../cluster/components.ts'
import { gatherFacts, statusOfCluster } from '../cluster/status.ts'
import { formatClusterStatus } from '../cluster/status-text.ts'
import { connectMesh, findTarget, openAccess, openApi, type TargetFlags, targetWords, withTarget, type ClusterTarget } from '../connect.ts'
import { parseFormat } from '../options.ts'
import { type Format, formatBytes, formatTable, formatValue, print, printNote } from '../output.ts'
import { describeRedirection, readRedirections, type Redirection } from '../redirects.ts'
import { readZtunnels } from '../ztunnels.ts'

interface Flags extends TargetFlags {
  readonly output: Format
  readonly systemNamespace: string
}

/** Registers the command. */
export function registerStatus(program: Command): void {
  withSystemNamespace(withTarget(program.command('status')))
    .description('nodes, components, pods with enrolment, certificates or last events; status 1 when the mesh is not whole')
    .option('-o, --output <FORMAT>', 'table, json or yaml', parseFormat, 'table')
    .action((flags: Flags) => {
      const target = findTarget(flags, 'read')
      return target.kind === 'local' ? showLocal(target.name, flags.output) : showCluster(target, flags)
    })
}

async function showLocal(name: string, format: Format): Promise<void> {
  using client = connectMesh(name)
  let status: LocalStatus
  try {
    status = await withRedirections((await client.read('/status')) as MeshStatus)
  } catch (error) {
    // `up` is dead; what was released is a file.
    if (codeOf(error) === 'API_UNREACHABLE') for (const line of releaseLines(readReleases(meshLayout(name)), name)) printNote(line)
    throw error
  }
  print(format === 'table' ? formatStatus(status) : formatValue(status, format))
  if (!status.isReady || status.released.length > 0) process.exitCode = 1
}

/** The mesh's own status, and how each node leads connections to ztunnel; undefined = its agent could not be asked. */
export type LocalStatus = Omit<MeshStatus, 'nodes'> & {
  readonly nodes: readonly (MeshStatus['nodes'][number] & { readonly redirection: Redirection | undefined })[]
}

async function withRedirections(status: MeshStatus): Promise<LocalStatus> {
  const all = status.hasMesh ? await readRedirections({ kind: 'local', name: status.name }, '') : undefined
  const nodes = status.nodes.map((node) => {
    const redirection = all?.get(node.name)
    return { ...node, redirection: typeof redirection === 'string' ? undefined : redirection }
  })
  return { ...status, nodes }
}

async function showCluster(target: ClusterTarget, { output, systemNamespace }: Flags): Promise<void> {
  using api = openApi(target)
  using access = openAccess(target)
  const facts = await gatherFacts(api, access, {
    systemNamespace,
    nowMs: systemClock.nowMs(),
    dumps: () => readZtunnels(target, systemNamespace),
    redirections: () => readRedirections(target, systemNamespace),
  })
  const status = statusOfCluster(facts)
  print(output === 'table' ? formatClusterStatus(status, targetWords(target)) : formatValue(status, output))
  if (!status.isReady) process.exitCode = 1
}

/** The status as text. */
export function formatStatus(status: LocalStatus): string {
  const components = status.components.map((one) => [
    one.name,
    one.node ?? '-',
    String(one.pid ?? '-'),
    one.unready === undefined ? one.state : 'not ready',
    String(one.restarts),
    formatBytes(one.rssBytes),
    formatBytes(one.pssBytes),
    one.unready ?? one.lastExit ?? '-',
  ])
  const pods = status.pods.map((pod) => [
    `${pod.namespace}/${pod.name}`,
    pod.node ?? '-',
    pod.ip ?? '-',
    pod.phase,
    pod.ready ? 'yes' : 'no',
    String(pod.restarts),
    pod.enrolment,
  ])
  const events = status.events.map((event) => [
    event.at.slice(11, 19),
    event.type,
    event.object,
    event.reason,
    `${event.message}${event.count > 1 ? ` (${event.count}×)` : ''}`,
  ])
  return [
    ...releaseLines(status.released, status.name),
    `mesh ${status.name}: ${status.isReady ? 'ready' : 'NOT ready'}${status.hasMesh ? '' : ' (no proxies)'}`,
    '',
    formatTable(
      ['NODE', 'ADDRESS', 'PODS', 'REDIRECTION'],
      status.nodes.map((node) => [node.name, node.ip, String(node.pods), describeRedirection(node.redirection)]),
    ),
    '',
    formatTable(['COMPONENT', 'NODE', 'PID', 'STATE', 'RESTARTS', 'RSS', 'PSS', 'WAITS FOR / LAST EXIT'], components),
    '',
    pods.length === 0 ? 'no pods' : formatTable(['POD', 'NODE', 'IP', 'PHASE', 'READY', 'RESTARTS', 'MESH'], pods),
    ...(events.length === 0 ? [] : ['', formatTable(['LAST EVENTS', 'TYPE', 'OBJECT', 'REASON', 'MESSAGE'], events)]),
  ].join('\n')
}

function releaseLines(marks: readonly ReleaseMark[], name: string): string[] {
  if (marks.length === 0) return []
  const lines = marks.map((mark) => {
    const what = mark.node === undefined ? `namespace ${mark.namespace}` : `node ${mark.node}`
    const flag = mark.node === undefined ? `-n ${mark.namespace}` : `--node ${mark.node}`
    return `!! ${what} since ${mark.at}; take it back with: weft release --resume ${flag} --name ${name}`
  })
  return ['!!!!!! RELEASED: these pods are NOT protected by the mesh, their traffic is plaintext', ...lines, '']
}
