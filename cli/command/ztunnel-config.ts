// weft ztunnel-config: what the proxies of the nodes know and do, from their /config_dump; istioctl's columns.
import { type Command, InvalidArgumentError } from 'commander'
import { systemClock } from '../../kit/clock.ts'
import { withSystemNamespace } from '../cluster/components.ts'
import { findTarget, type TargetFlags, withTarget } from '../connect.ts'
import { parseFormat } from '../options.ts'
import { type Format, formatTable, formatValue, print, printNote, sentenceOf } from '../output.ts'
import { VIEWS, type View, type ZtunnelDump } from '../ztunnel-views.ts'
import { readZtunnels } from '../ztunnels.ts'

interface Flags extends TargetFlags {
  readonly node?: string
  readonly output: Format
  readonly systemNamespace: string
}

/** Registers the command. */
export function registerZtunnelConfig(program: Command): void {
  withSystemNamespace(withTarget(program.command('ztunnel-config')))
    .alias('zc')
    .description('what the proxies know and do')
    .argument('<WHAT>', Object.keys(VIEWS).join(', '), parseView)
    .option('--node <NODE>', 'one node only')
    .option('-o, --output <FORMAT>', 'table, json or yaml', parseFormat, 'table')
    .action(async (view: View, flags: Flags) => {
      const format = flags.output
      const dumps = await goodDumps(flags)
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

/** What failed is said; with nothing left the last failure is thrown. */
async function goodDumps(flags: Flags): Promise<[node: string, dump: ZtunnelDump][]> {
  const all = await readZtunnels(findTarget(flags, 'read'), flags.systemNamespace, flags.node)
  const good: [string, ZtunnelDump][] = []
  let failure: unknown
  for (const one of all) {
    if ('dump' in one) good.push([one.node, one.dump])
    else {
      failure = one.failure
      printNote(`weft: ${one.node}: ${sentenceOf(one.failure)}`)
      process.exitCode = 1
    }
  }
  if (good.length === 0) throw failure
  return good
}

function parseView(text: string): View {
  const name = Object.keys(VIEWS).find((one) => one === text || one === `${text}s` || one === text.replace(/y$/, 'ies'))
  const view = name === undefined ? undefined : VIEWS[name]
  if (view === undefined) throw new InvalidArgumentError(`use one of ${Object.keys(VIEWS).join(', ')}.`)
  return view
}
