// weft ztunnel-config: what the proxies of the nodes know and do, from their /config_dump; istioctl's columns.
import { type Command, InvalidArgumentError } from 'commander'
import { systemClock } from '../../kit/clock.ts'
import { objectFailure } from '../../objects/errors.ts'
import { getInNetns } from '../../runtime/node-http.ts'
import { meshLayout, type NodeLayout } from '../../runtime/layout.ts'
import { readRecord } from '../../runtime/state.ts'
import { runtimeFailure } from '../../runtime/errors.ts'
import { parseFormat, parseMeshName } from '../options.ts'
import { type Format, formatTable, formatValue, print, printNote, sentenceOf } from '../output.ts'
import { VIEWS, type View, type ZtunnelDump } from '../ztunnel-views.ts'

const ADMIN_PORT = 15000

/** Registers the command. */
export function registerZtunnelConfig(program: Command, defaultName: string): void {
  program
    .command('ztunnel-config')
    .alias('zc')
    .description('what the proxies know and do')
    .argument('<WHAT>', Object.keys(VIEWS).join(', '), parseView)
    .option('--node <NODE>', 'one node only')
    .option('-o, --output <FORMAT>', 'table, json or yaml', parseFormat, 'table')
    .option('--name <NAME>', 'name of the mesh', parseMeshName, defaultName)
    .action(async (view: View, flags: { node?: string; output: Format; name: string }) => {
      if (process.getuid?.() !== 0) throw runtimeFailure('NOT_ROOT')
      const format = flags.output
      const dumps = await readDumps(flags.name, flags.node)
      if (format !== 'table') return print(formatValue(Object.fromEntries(dumps.map(([node, dump]) => [node, view.values(dump)])), format))
      const rows = new Map<string, readonly string[]>()
      // Every node knows the same mesh: equal rows are shown once, unless the view is about the node itself.
      for (const [node, dump] of dumps)
        for (const row of view.rows(dump, systemClock.nowMs())) {
          const cells = view.isOfNode ? [node, ...row] : row
          rows.set(cells.join('\0'), cells)
        }
      print(formatTable(view.isOfNode ? ['NODE', ...view.header] : view.header, [...rows.values()]))
    })
}

/** @throws MeshError MESH_MISSING | NOT_FOUND | NODE_UNREACHABLE (every node is) */
async function readDumps(name: string, wanted: string | undefined): Promise<[node: string, dump: ZtunnelDump][]> {
  const record = readRecord(name)
  if (record === undefined) throw runtimeFailure('MESH_MISSING', { name })
  const mesh = meshLayout(name)
  const nodes = record.nodes.map((_, index) => mesh.node(index + 1)).filter((node) => wanted === undefined || node.name === wanted)
  if (nodes.length === 0) throw objectFailure('NOT_FOUND', { node: wanted })
  const dumps: [string, ZtunnelDump][] = []
  let failure: unknown
  for (const node of nodes) {
    try {
      dumps.push([node.name, await readDump(node)])
    } catch (error) {
      failure = error
      printNote(`weft: ${node.name}: ${sentenceOf(error)}`)
      process.exitCode = 1
    }
  }
  if (dumps.length === 0) throw failure
  return dumps
}

async function readDump(node: NodeLayout): Promise<ZtunnelDump> {
  const { status, body } = await getInNetns(node.netns, '127.0.0.1', ADMIN_PORT, '/config_dump')
  if (status !== 200) throw runtimeFailure('NODE_UNREACHABLE', { status })
  return JSON.parse(body) as ZtunnelDump
}

function parseView(text: string): View {
  const name = Object.keys(VIEWS).find((one) => one === text || one === `${text}s` || one === text.replace(/y$/, 'ies'))
  const view = name === undefined ? undefined : VIEWS[name]
  if (view === undefined) throw new InvalidArgumentError(`use one of ${Object.keys(VIEWS).join(', ')}.`)
  return view
}
