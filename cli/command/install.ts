// weft install, upgrade, uninstall: the mesh into a cluster and out again, over the chart in deploy/chart and with helm, so that
// whoever prefers helm alone finds the same release. What helm does not do is here: checks before, progress, order when removing.
import type { Command } from 'commander'
import { systemClock } from '../../kit/clock.ts'
import type { ClusterAccess } from '../cluster/access.ts'
import { AnyObjects, KIND } from '../cluster/any-objects.ts'
import { type ClusterTarget, findTarget, openAccess, tellCluster } from '../connect.ts'
import { checkCluster, checkRights } from '../install/checks.ts'
import { installFailure } from '../install/errors.ts'
import { Helm, NAMESPACE, type ValueFlags } from '../install/helm.ts'
import { agentsGone, podsGone, removeLeftovers } from '../install/leftovers.ts'
import { namespaceObject } from '../install/namespace.ts'
import { markedNodes, releaseNodes, unmark } from '../install/nodes.ts'
import { patience } from '../install/patience.ts'
import { readRendered, type Rendered } from '../install/rights.ts'
import { waitReady, WORKLOADS } from '../install/wait.ts'
import { countFrom } from '../options.ts'
import { formatValue, print, printNote, sentenceOf } from '../output.ts'

interface Flags extends ValueFlags {
  readonly kubeconfig?: string
  readonly context?: string
  readonly dryRun?: boolean
  readonly wait?: boolean
  readonly timeout: number
  readonly besideIstio?: boolean
  readonly force?: boolean
}

const NEXT = `
Put a namespace into the mesh; no pod is restarted:
  kubectl label namespace NAMESPACE istio.io/dataplane-mode=ambient
See who is in it, and what it knows:
  weft status
  weft ztunnel-config workloads
Take everything out again:
  weft uninstall`

/** Registers the three commands. */
export function registerInstall(program: Command): void {
  const command = (name: string, description: string): Command =>
    program
      .command(name)
      .description(description)
      .option('--kubeconfig <FILE>', 'the cluster, by its kubeconfig (default: $KUBECONFIG, ~/.kube/config)')
      .option('--context <NAME>', 'a context of the kubeconfig')
      .option('--dry-run', 'print what would be done, change nothing')
      .option('--timeout <SECONDS>', 'how long to wait', countFrom(1, 7200), 300)
  const withValues = (one: Command): Command =>
    one
      .option('--set <KEY=VALUE>', 'a value of the chart, see docs/kubernetes.md; may be given several times', collect, [])
      .option('-f, --values <FILE>', 'a YAML file of values; may be given several times', collect, [])
      .option('--image <IMAGE>', 'image of all components; the same as --set image.name=IMAGE')
      .option('--no-wait', 'do not wait until everything is ready')
  withValues(command('install', 'install the mesh into a Kubernetes cluster'))
    .option('--beside-istio', 'although Istio is installed: on the nodes that nodeSelector chooses, see docs/migrate.md')
    .action(install)
  withValues(command('upgrade', 'bring the mesh of a cluster to this version, or change its values; the others stay as they are')).action(
    upgrade,
  )
  command('uninstall', 'take the mesh out of a cluster: pods are given back first, then everything is removed')
    .option('--force', 'also when some nodes cannot give their pods back')
    .action(uninstall)
}

/** What a command works with; disposed of when it ends. */
interface Tools extends Disposable {
  readonly target: ClusterTarget
  readonly helm: Helm
  /** Opened at the first use: a dry run needs no cluster. */
  cluster(): AnyObjects
}

async function toolsFor({ kubeconfig, context }: Flags): Promise<Tools> {
  const flags = { ...(kubeconfig === undefined ? {} : { kubeconfig }), ...(context === undefined ? {} : { context }) }
  const target = findTarget(flags, 'read', 'cluster')
  const patiently = patience({ clock: systemClock, tell: (line) => printNote(`weft: ${line}`) })
  const helm = await Helm.find(process.env.PATH ?? '', { ...target, patiently })
  let access: ClusterAccess | undefined
  return {
    target,
    helm,
    cluster: () => {
      access ??= openAccess(target, patiently)
      return new AnyObjects(access)
    },
    [Symbol.dispose]: () => access?.[Symbol.dispose](),
  }
}

async function install(flags: Flags): Promise<void> {
  using tools = await toolsFor(flags)
  const { helm } = tools
  const rendered = await helm.template(flags)
  if (flags.dryRun === true) return print(`${formatValue(namespaceObject(true), 'yaml')}\n---\n${rendered}`)
  const cluster = tools.cluster()
  const objects = readRendered(rendered)
  await checkRights(cluster, objects, 'install')
  const old = await helm.status()
  if (old?.state === 'deployed') throw installFailure('ALREADY_INSTALLED', { what: `weft ${old.version} is installed already` })
  if (old !== undefined) throw installFailure('INSTALL_UNFINISHED', { what: `an earlier install is ${old.state}` })
  for (const note of await checkCluster(cluster, objects, flags.besideIstio === true)) printNote(`weft: ${note}`)
  const namespace = await cluster.get(KIND.namespaces, undefined, NAMESPACE)
  if (namespace?.metadata.deletionTimestamp !== undefined)
    throw installFailure('INSTALL_UNFINISHED', { what: `the namespace ${NAMESPACE} is still being deleted: wait a little` })
  const hadNamespace = namespace !== undefined
  tellCluster(tools.target)
  await cluster.apply(KIND.namespaces, namespaceObject(!hadNamespace))
  try {
    await helm.install(flags)
  } catch (error) {
    if (!hadNamespace && (await helm.status()) === undefined) await cluster.delete(KIND.namespaces, undefined, NAMESPACE)
    throw error
  }
  const released = await markedNodes(cluster)
  if (released.length > 0) printNote(`weft: released nodes stay out of the mesh (${released.join(', ')}): weft release --resume`)
  await finish(cluster, flags, 'weft is installed')
}

async function upgrade(flags: Flags): Promise<void> {
  using tools = await toolsFor(flags)
  const { helm } = tools
  const cluster = tools.cluster()
  const old = await helm.status()
  if (old === undefined) throw installFailure('NOTHING_INSTALLED')
  const rendered = await helm.preview(flags)
  if (flags.dryRun === true) return print(rendered)
  await checkRights(cluster, readRendered(rendered), 'install')
  tellCluster(tools.target)
  await helm.upgrade(flags)
  await finish(cluster, flags, 'weft is upgraded')
}

async function finish(cluster: AnyObjects, flags: Flags, done: string): Promise<void> {
  if (flags.wait === false) return print(`${done}; it is ready a little later: weft status`)
  const names = WORKLOADS.map(({ name }) => name)
  const { isReady, reasons } = await waitReady({
    cluster,
    namespace: NAMESPACE,
    names,
    timeoutMs: flags.timeout * 1000,
    clock: systemClock,
  })
  if (!isReady)
    throw installFailure('NOT_READY_IN_TIME', { what: `not everything is ready after ${flags.timeout} s: ${reasons.join('; ')}` })
  print(`${done} and ready\n${NEXT}`)
}

async function uninstall(flags: Flags): Promise<void> {
  using tools = await toolsFor(flags)
  const { helm } = tools
  const cluster = tools.cluster()
  const release = await helm.status()
  const namespace = await cluster.get(KIND.namespaces, undefined, NAMESPACE)
  if (release === undefined && namespace === undefined) throw installFailure('NOTHING_INSTALLED')
  const objects = readRendered(release === undefined ? '' : await helm.manifest())
  if (flags.dryRun === true) return printPlan(objects)
  await checkRights(cluster, objects, 'uninstall')
  tellCluster(tools.target)
  if (release !== undefined) {
    await giveBack(cluster, flags)
    await agentsGone(cluster, systemClock)
    await helm.uninstall()
  }
  await podsGone(cluster, systemClock)
  await unmark(cluster)
  const kept = await removeLeftovers(cluster, systemClock, (line) => printNote(`weft: ${line}`))
  print('weft is removed; labels of namespaces and Gateways are yours and stay')
  for (const sentence of kept) print(`kept: ${sentence}`)
}

async function giveBack(cluster: AnyObjects, flags: Flags): Promise<void> {
  const timeoutMs = flags.timeout * 1000
  try {
    await releaseNodes({ cluster, timeoutMs, clock: systemClock, tell: (line) => printNote(`weft: ${line}`) })
  } catch (error) {
    if (flags.force !== true) throw error
    printNote(`weft: ${sentenceOf(error)}`)
  }
}

function printPlan(objects: readonly Rendered[]): void {
  print('gives the pods of all nodes back, then deletes')
  for (const { kind = '', metadata } of objects)
    print(`  ${kind} ${metadata?.namespace === undefined ? '' : `${metadata.namespace}/`}${metadata?.name ?? ''}`)
  print(`  waypoints, the ConfigMaps of the mesh's roots, definitions that nothing uses, the namespace ${NAMESPACE}`)
}

function collect(text: string, all: readonly string[]): string[] {
  return [...all, text]
}
