// weft waypoint: makes, shows and deletes waypoints, as `istioctl waypoint` does. They are Gateways; the control plane does the rest.
import { type Command, InvalidArgumentError } from 'commander'
import { pause, systemClock } from '../../kit/clock.ts'
import { codeOf } from '../../kit/error.ts'
import type { MeshObject } from '../../model/object.ts'
import type { ObjectApi } from '../../objects/api.ts'
import { objectFailure } from '../../objects/errors.ts'
import { findTarget, openApi, type TargetFlags, withTarget } from '../connect.ts'
import { countFrom, parseFormat } from '../options.ts'
import { type Format, formatTable, formatValue, print, printNote } from '../output.ts'
import {
  DEFAULT_WAYPOINT,
  isProgrammed,
  isWaypoint,
  LIST_HEADER,
  listRow,
  STATUS_HEADER,
  statusRows,
  TRAFFIC,
  TRAFFIC_LABEL,
  type Traffic,
  USE_WAYPOINT,
  waypointGateway,
} from '../waypoint-view.ts'

interface Flags extends TargetFlags {
  readonly namespace: string
  readonly for?: Traffic
  readonly enrollNamespace?: boolean
  readonly overwrite?: boolean
  readonly wait?: boolean
  readonly timeout: number
  readonly all?: boolean
  readonly allNamespaces?: boolean
  readonly output: Format
}

const POLL_MS = 200
const MODE = 'istio.io/dataplane-mode'

/** Registers the command. */
export function registerWaypoint(program: Command): void {
  const waypoint = program.command('waypoint').description('make, show and delete waypoints, the proxies for HTTP')
  const command = (name: string, description: string): Command =>
    withTarget(waypoint.command(name)).description(description).option('-n, --namespace <NS>', 'namespace', 'default')
  command('apply', 'make a waypoint, or change what it takes')
    .argument('[WAYPOINT]', 'its name', DEFAULT_WAYPOINT)
    .option('--for <TRAFFIC>', `what it takes: ${TRAFFIC.join(', ')}; default service`, parseTraffic)
    .option('--enroll-namespace', 'send the traffic of all services of the namespace through it; with --wait once it serves')
    .option('--overwrite', 'also when the namespace uses another one')
    .option('-w, --wait', 'until it serves')
    .option('--timeout <SECONDS>', 'how long to wait', countFrom(1, 3600), 90)
    .action(apply)
  command('generate', 'print the Gateway that apply makes, as YAML')
    .argument('[WAYPOINT]', 'its name', DEFAULT_WAYPOINT)
    .option('--for <TRAFFIC>', `what it takes: ${TRAFFIC.join(', ')}; default service`, parseTraffic)
    .action(generate)
  command('list', 'show waypoints')
    .option('-A, --all-namespaces', 'of all namespaces')
    .option('-o, --output <FORMAT>', 'table, json or yaml', parseFormat, 'table')
    .action(list)
  command('status', 'show what the control plane says of waypoints; status 1 when one does not serve')
    .argument('[WAYPOINT]', 'one of the namespace; default all')
    .option('-w, --wait', 'until they serve')
    .option('--timeout <SECONDS>', 'how long to wait', countFrom(1, 3600), 90)
    .action(status)
  command('delete', 'delete waypoints; what still uses one is unreachable until its label is taken off')
    .argument('[WAYPOINTS...]', 'their names')
    .option('--all', 'every waypoint of the namespace')
    .action(remove)
}

async function apply(name: string, flags: Flags): Promise<void> {
  using client = openApi(findTarget(flags, 'change'))
  const { namespace } = flags
  const old = await find(client, namespace, name)
  if (old !== undefined && !isWaypoint(old)) throw objectFailure('CONFLICT', { what: `gateway ${namespace}/${name} is no waypoint` })
  if (flags.enrollNamespace === true) await checkEnrolment(client, name, flags)
  if (old === undefined) await client.apply(waypointGateway(namespace, name, flags.for))
  else if (flags.for !== undefined)
    await client.patch('gateways', namespace, name, { metadata: { labels: { [TRAFFIC_LABEL]: flags.for } } }) // listeners stay as they are
  print(`waypoint ${namespace}/${name} applied`)
  // Before the namespace uses it: services are refused while their waypoint is not there.
  if (flags.wait === true && !(await waitFor(client, namespace, [name], flags.timeout))) {
    printNote(`weft: waypoint ${namespace}/${name} does not serve after ${flags.timeout} s; see weft waypoint status -n ${namespace}`)
    process.exitCode = 1
    return
  }
  if (flags.enrollNamespace !== true) return
  await client.patch('namespaces', undefined, namespace, { metadata: { labels: { [USE_WAYPOINT]: name } } })
  print(`namespace ${namespace} uses waypoint ${name}`)
}

/** Before anything is changed. @throws MeshError NOT_FOUND | CONFLICT */
async function checkEnrolment(client: ObjectApi, name: string, flags: Flags): Promise<void> {
  const labels = (await client.get('namespaces', undefined, flags.namespace)).metadata.labels ?? {}
  const used = labels[USE_WAYPOINT]
  if (used !== undefined && used !== name && flags.overwrite !== true)
    throw objectFailure('CONFLICT', { what: `namespace ${flags.namespace} uses waypoint ${used}; --overwrite changes that` })
  if (labels[MODE] !== 'ambient')
    printNote(`namespace ${flags.namespace} is not in the mesh: weft label namespace ${flags.namespace} ${MODE}=ambient`)
}

function generate(name: string, flags: Flags): void {
  print(formatValue(waypointGateway(flags.namespace, name, flags.for), 'yaml'))
}

async function list(flags: Flags): Promise<void> {
  using client = openApi(findTarget(flags, 'read'))
  const { output } = flags
  const found = await all(client, flags.allNamespaces === true ? undefined : flags.namespace)
  if (output !== 'table') return print(formatValue({ apiVersion: 'v1', kind: 'List', items: found }, output))
  print(found.length === 0 ? 'no waypoints' : formatTable(LIST_HEADER, found.map(listRow)))
}

async function status(name: string | undefined, flags: Flags): Promise<void> {
  using client = openApi(findTarget(flags, 'read'))
  const { namespace } = flags
  const chosen = async (): Promise<readonly MeshObject[]> =>
    name === undefined ? all(client, namespace) : [await getWaypoint(client, namespace, name)]
  const names = (await chosen()).map(({ metadata }) => metadata.name)
  if (names.length === 0) return print('no waypoints')
  if (flags.wait === true) await waitFor(client, namespace, names, flags.timeout)
  const found = await chosen()
  print(formatTable(STATUS_HEADER, found.flatMap(statusRows)))
  if (!found.every(isProgrammed)) process.exitCode = 1
}

async function remove(names: readonly string[], flags: Flags): Promise<void> {
  const { namespace } = flags
  if ((names.length === 0) === (flags.all !== true)) throw new InvalidArgumentError('say which: names, or --all.')
  using client = openApi(findTarget(flags, 'change'))
  const chosen = flags.all === true ? (await all(client, namespace)).map(({ metadata }) => metadata.name) : names
  if (chosen.length === 0) print('no waypoints')
  for (const name of chosen) {
    try {
      await getWaypoint(client, namespace, name)
      await client.delete('gateways', namespace, name)
      print(`waypoint ${namespace}/${name} deleted`)
    } catch (error) {
      if (codeOf(error) !== 'NOT_FOUND') throw error
      printNote(`weft: there is no waypoint ${namespace}/${name}`)
      process.exitCode = 1
    }
  }
}

/** @returns whether all of them serve */
async function waitFor(client: ObjectApi, namespace: string, names: readonly string[], seconds: number): Promise<boolean> {
  const endMs = systemClock.monotonicMs() + seconds * 1000
  for (;;) {
    const found = await Promise.all(names.map((name) => find(client, namespace, name)))
    if (found.every((one) => one !== undefined && isProgrammed(one))) return true
    if (systemClock.monotonicMs() > endMs) return false
    await pause(systemClock, POLL_MS)
  }
}

async function all(client: ObjectApi, namespace: string | undefined): Promise<readonly MeshObject[]> {
  return (await client.list('gateways', namespace)).items.filter(isWaypoint)
}

async function find(client: ObjectApi, namespace: string, name: string): Promise<MeshObject | undefined> {
  try {
    return await client.get('gateways', namespace, name)
  } catch (error) {
    if (codeOf(error) === 'NOT_FOUND') return undefined
    throw error
  }
}

/** @throws MeshError NOT_FOUND also when there is a Gateway that is no waypoint */
async function getWaypoint(client: ObjectApi, namespace: string, name: string): Promise<MeshObject> {
  const found = await find(client, namespace, name)
  if (found === undefined || !isWaypoint(found)) throw objectFailure('NOT_FOUND', { what: `there is no waypoint ${namespace}/${name}` })
  return found
}

function parseTraffic(text: string): Traffic {
  const found = TRAFFIC.find((one) => one === text)
  if (found === undefined) throw new InvalidArgumentError(`Use one of ${TRAFFIC.join(', ')}.`)
  return found
}
