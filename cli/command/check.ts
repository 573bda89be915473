// weft check: what this machine, or a cluster, must have, and the way out where something is missing; and how a running mesh redirects.
import type { Command } from 'commander'
import { codeOf, messageOf } from '../../kit/error.ts'
import type { ObjectApi } from '../../objects/api.ts'
import { checkMachine, type Finding } from '../check.ts'
import { checkCluster } from '../cluster/check.ts'
import { AnyObjects } from '../cluster/any-objects.ts'
import { withSystemNamespace } from '../cluster/components.ts'
import { connectMesh, DEFAULT_NAME, describeCluster, findCluster, findTarget, openAccess, openApi, type TargetFlags } from '../connect.ts'
import { cliFailure } from '../errors.ts'
import { parseFormat, parseMeshName } from '../options.ts'
import { type Format, formatTable, formatValue, print, printNote } from '../output.ts'
import { readRedirections, redirectionFindings } from '../redirects.ts'

interface Flags extends TargetFlags {
  readonly cluster?: boolean
  readonly output: Format
  readonly systemNamespace: string
}

const LAST_LINES = 2000
/** A cluster that nobody asked for is not waited for. */
const GLANCE_MS = 3000

/** Registers the command. */
export function registerCheck(program: Command): void {
  withSystemNamespace(program.command('check'))
    .description('what this machine must have for weft up, or with --cluster a cluster; status 1 when something is missing')
    .option('--cluster', 'look at the cluster of the kubeconfig')
    .option('--kubeconfig <FILE>', 'look at a cluster, by its kubeconfig (default: $KUBECONFIG, ~/.kube/config)')
    .option('--context <NAME>', 'look at a cluster, by a context of the kubeconfig')
    .option('--name <NAME>', `look at this machine and the mesh of that name (default: ${DEFAULT_NAME} if it runs)`, parseMeshName)
    .option('-o, --output <FORMAT>', 'table, json or yaml', parseFormat, 'table')
    .action(async (flags: Flags) => {
      const { cluster, kubeconfig, context, name } = flags
      const isCluster = cluster === true || kubeconfig !== undefined || context !== undefined
      if (isCluster && name !== undefined) throw cliFailure('TARGET_UNCLEAR')
      if (isCluster) return show(await lookAtCluster(flags), flags.output)
      show([...checkMachine(), ...(await lookAtMesh(name))], flags.output)
      if (flags.output === 'table') await mentionCluster()
    })
}

/** How its nodes redirect; nothing where no mesh runs. @param name given by the user: then it must run */
async function lookAtMesh(name: string | undefined): Promise<Finding[]> {
  const target = { kind: 'local', name: name ?? DEFAULT_NAME } as const
  try {
    using _mesh = connectMesh(target.name)
    return redirectionFindings(await readRedirections(target, ''))
  } catch (error) {
    if (name === undefined && (codeOf(error) === 'MESH_MISSING' || codeOf(error) === 'NOT_ROOT')) return []
    throw error
  }
}

/** Whoever has a cluster may have meant that one: it is named, with the command that looks at it, and never counts. */
async function mentionCluster(): Promise<void> {
  const target = findCluster()
  if (target === undefined) return
  const where = describeCluster(target)
  try {
    using access = openAccess(target)
    const request = { verb: 'get', resource: 'version', method: 'GET', path: '/version', signal: AbortSignal.timeout(GLANCE_MS) } as const
    const { gitVersion } = (await access.call(request)) as { readonly gitVersion?: string }
    printNote(`weft: ${where} answers (${gitVersion ?? '?'}); it was not looked at: weft check --cluster`)
  } catch (error) {
    printNote(`weft: ${where} was not looked at, and does not answer now: ${messageOf(error)}`)
  }
}

async function lookAtCluster({ kubeconfig, context, systemNamespace }: Flags): Promise<Finding[]> {
  const flags = { ...(kubeconfig === undefined ? {} : { kubeconfig }), ...(context === undefined ? {} : { context }) }
  const target = findTarget(flags, 'read', 'cluster')
  using api = openApi(target)
  using access = openAccess(target)
  const cluster = new AnyObjects(access)
  const lastLines = (namespace: string, pod: string): Promise<string> => readLines(api, namespace, pod)
  const redirections = (): ReturnType<typeof readRedirections> => readRedirections(target, systemNamespace)
  return await checkCluster({ access, cluster, systemNamespace, lastLines, redirections })
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
