// weft status: nodes, components with memory, pods with enrolment, last events, and loudly what was released.
import type { Command } from 'commander'
import { codeOf } from '../../kit/error.ts'
import { meshLayout } from '../../runtime/layout.ts'
import { type ReleaseMark, readReleases } from '../../runtime/release.ts'
import type { MeshStatus } from '../../runtime/status.ts'
import { connectMesh } from '../connect.ts'
import { parseFormat, parseMeshName } from '../options.ts'
import { type Format, formatBytes, formatTable, formatValue, print, printNote } from '../output.ts'

/** Registers the command. */
export function registerStatus(program: Command, defaultName: string): void {
  program
    .command('status')
    .description('nodes, components with memory, pods with enrolment, last events; status 1 when the mesh is not whole')
    .option('-o, --output <FORMAT>', 'table, json or yaml', parseFormat, 'table')
    .option('--name <NAME>', 'name of the mesh', parseMeshName, defaultName)
    .action(async (flags: { output: Format; name: string }) => {
      using client = connectMesh(flags.name)
      const format = flags.output
      let status: MeshStatus
      try {
        status = (await client.read('/status')) as MeshStatus
      } catch (error) {
        // `up` is dead; what was released is a file.
        if (codeOf(error) === 'API_UNREACHABLE')
          for (const line of releaseLines(readReleases(meshLayout(flags.name)), flags.name)) printNote(line)
        throw error
      }
      print(format === 'table' ? formatStatus(status) : formatValue(status, format))
      if (!status.isReady || status.released.length > 0) process.exitCode = 1
    })
}

/** The status as text. */
export function formatStatus(status: MeshStatus): string {
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
      ['NODE', 'ADDRESS', 'PODS'],
      status.nodes.map((node) => [node.name, node.ip, String(node.pods)]),
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
