// weft check: what this machine, or a cluster, must have, and the way out where something is missing.
import type { Command } from 'commander'
import type { ObjectApi } from '../../objects/api.ts'
import { checkMachine, type Finding } from '../check.ts'
import { checkCluster } from '../cluster/check.ts'
import { AnyObjects } from '../cluster/any-objects.ts'
import { withSystemNamespace } from '../cluster/components.ts'
import { findTarget, openAccess, openApi, type TargetFlags } from '../connect.ts'
import { parseFormat } from '../options.ts'
import { type Format, formatTable, formatValue, print } from '../output.ts'

interface Flags extends TargetFlags {
  readonly cluster?: boolean
  readonly output: Format
  readonly systemNamespace: string
}

const LAST_LINES = 2000

/** Registers the command. */
export function registerCheck(program: Command): void {
  withSystemNamespace(program.command('check'))
    .description('what this machine must have for weft up, or with --cluster a cluster; status 1 when something is missing')
    .option('--cluster', 'look at the cluster of the kubeconfig')
    .option('--kubeconfig <FILE>', 'look at a cluster, by its kubeconfig (default: $KUBECONFIG, ~/.kube/config)')
    .option('--context <NAME>', 'look at a cluster, by a context of the kubeconfig')
    .option('-o, --output <FORMAT>', 'table, json or yaml', parseFormat, 'table')
    .action(async (flags: Flags) => {
      const { cluster, kubeconfig, context } = flags
      const isCluster = cluster === true || kubeconfig !== undefined || context !== undefined
      show(isCluster ? await lookAtCluster(flags) : checkMachine(), flags.output)
    })
}

async function lookAtCluster({ kubeconfig, context, systemNamespace }: Flags): Promise<Finding[]> {
  const flags = { ...(kubeconfig === undefined ? {} : { kubeconfig }), ...(context === undefined ? {} : { context }) }
  const target = findTarget(flags, 'read', 'cluster')
  using api = openApi(target)
  using access = openAccess(target)
  const cluster = new AnyObjects(access)
  const lastLines = (namespace: string, pod: string): Promise<string> => readLines(api, namespace, pod)
  return await checkCluster({ access, cluster, systemNamespace, lastLines })
}

async function readLines(api: ObjectApi, namespace: string, pod: string): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of api.logs(namespace, pod, { tail: LAST_LINES })) chunks.push(chunk)
  return Buffer.concat(chunks).toString('utf8')
}

function show(findings: readonly Finding[], format: Format): void {
  const rows = findings.map((one) => [
    one.isGood ? 'ok' : one.isNeeded ? 'MISSING' : 'warning',
    one.what,
    one.seen,
    one.isGood ? '' : one.wayOut,
  ])
  print(format === 'table' ? formatTable(['', 'WHAT', 'SEEN', 'WAY OUT'], rows) : formatValue(findings, format))
  if (findings.some((one) => !one.isGood && one.isNeeded)) process.exitCode = 1
}
