// One execution of the plugin as it reaches the agent: CNI_* as headers, stdin as the body, into checked values.
// Follows the CNI specification 1.1 (containernetworking/cni:SPEC.md); conf lists of 0.3.0 to 1.1.0 look the same here.
import { faults, messageOf, type Result, success } from '../../kit/error.ts'
import { type IpAddress, isIpv6, parseCidr } from '../../model/address.ts'
import { isUid, nameOf } from '../pods.ts'

/** What the runtime asks; VERSION never reaches the agent. */
export type CniCommand = 'ADD' | 'DEL' | 'CHECK' | 'GC' | 'STATUS'

/** Which pod a call is about; a container of something else than Kubernetes has none. */
export interface CniPod {
  readonly namespace: string
  readonly name: string
  /** Old runtimes do not say it. */
  readonly uid: string | undefined
}

/** What the plugins before us made. */
export interface CniNetwork {
  /** Passed on as it is. */
  readonly prevResult: Readonly<Record<string, unknown>>
  /** Addresses of the pod's interface, the first of each family; none = the plugin before us does not know them yet. */
  readonly ips: readonly IpAddress[]
}

/** A call; fields that its command does not use are empty. */
export interface CniCall {
  readonly command: CniCommand
  /** Version of the conf list, in which the answer is. */
  readonly cniVersion: string
  /** The sandbox. */
  readonly containerId: string
  /** Path of the pod's network namespace as the host sees it. */
  readonly netns: string
  /** The pod's interface. */
  readonly interfaceName: string
  readonly pod: CniPod | undefined
  /** ADD and CHECK: present. */
  readonly network: CniNetwork | undefined
  /** GC: sandboxes that live; undefined = the runtime did not say. */
  readonly liveContainers: readonly string[] | undefined
}

type Fields = Readonly<Record<string, unknown>>

/** Every fault at once. @param headers lower-case names. @param text stdin */
export function parseCniCall(headers: Readonly<Record<string, string | string[] | undefined>>, text: string): Result<CniCall> {
  const errors: string[] = []
  const header = (name: string): string => {
    const value = headers[`x-cni-${name}`]
    return typeof value === 'string' ? value : ''
  }
  const command = COMMANDS.find((each) => each === header('command'))
  if (command === undefined) return faults(`CNI_COMMAND: ${JSON.stringify(header('command').slice(0, 20))} is not known`)
  const config = configOf(text, errors)
  const isOfPod = command === 'ADD' || command === 'CHECK' || command === 'DEL'
  const call: CniCall = {
    command,
    cniVersion: versionOf(config.cniVersion, errors),
    containerId: isOfPod ? checked('CNI_CONTAINERID', header('containerid'), CONTAINER_ID, errors) : '',
    netns: command === 'ADD' || command === 'CHECK' ? checked('CNI_NETNS', header('netns'), NETNS, errors) : '',
    interfaceName: isOfPod ? checked('CNI_IFNAME', header('ifname'), INTERFACE, errors) : '',
    pod: isOfPod ? podOf(header('args'), errors) : undefined,
    network: command === 'ADD' || command === 'CHECK' ? networkOf(config, header('ifname'), errors) : undefined,
    liveContainers: command === 'GC' ? containersOf(config['cni.dev/valid-attachments'], errors) : undefined,
  }
  return errors.length > 0 ? faults(...errors) : success(call)
}

const COMMANDS: readonly CniCommand[] = ['ADD', 'DEL', 'CHECK', 'GC', 'STATUS']
const CONTAINER_ID = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/
const INTERFACE = /^[\x21-\x2e\x30-\x39\x3b-\x7e]{1,15}$/
const NETNS = /^(?!.*\/\.\.(\/|$))\/[\x21-\x7e]{1,1022}$/
const VERSIONS = ['0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0']
const MAX_ATTACHMENTS = 8192

function configOf(text: string, errors: string[]): Fields {
  try {
    const config = fieldsOf(JSON.parse(text))
    if (config !== undefined) return config
    errors.push('stdin: not a JSON object')
  } catch (error) {
    errors.push(`stdin: not JSON: ${messageOf(error)}`)
  }
  return {}
}

function versionOf(raw: unknown, errors: string[]): string {
  if (typeof raw === 'string' && VERSIONS.includes(raw)) return raw
  errors.push(`cniVersion: one of ${VERSIONS.join(', ')} is needed`)
  return '1.1.0'
}

function checked(name: string, value: string, form: RegExp, errors: string[]): string {
  if (form.test(value)) return value
  errors.push(`${name}: ${value === '' ? 'missing' : 'not usable'}`)
  return ''
}

/** `K8S_POD_NAME=…;K8S_POD_NAMESPACE=…;K8S_POD_UID=…;IgnoreUnknown=1` */
function podOf(args: string, errors: string[]): CniPod | undefined {
  const given = new Map(args.split(';').map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)] as const))
  const rawName = given.get('K8S_POD_NAME')
  if (rawName === undefined) return undefined
  const name = nameOf(rawName)
  const namespace = nameOf(given.get('K8S_POD_NAMESPACE'))
  const uid = given.get('K8S_POD_UID') || undefined
  if (name === undefined) errors.push('CNI_ARGS: K8S_POD_NAME is not a name')
  if (namespace === undefined) errors.push('CNI_ARGS: K8S_POD_NAMESPACE is not a name')
  if (uid !== undefined && !isUid(uid)) errors.push('CNI_ARGS: K8S_POD_UID is not a uid')
  return name === undefined || namespace === undefined ? undefined : { namespace, name, uid }
}

function networkOf(config: Fields, interfaceName: string, errors: string[]): CniNetwork | undefined {
  const prevResult = fieldsOf(config.prevResult)
  if (prevResult === undefined) {
    errors.push('prevResult: missing; this plugin only works behind others, as the last of a conf list')
    return undefined
  }
  const interfaces = Array.isArray(prevResult.interfaces) ? prevResult.interfaces.map(fieldsOf) : []
  const ips: IpAddress[] = []
  for (const raw of Array.isArray(prevResult.ips) ? prevResult.ips : []) {
    const entry = fieldsOf(raw)
    const ip = typeof entry?.address === 'string' ? parseCidr(entry.address)?.ip : undefined
    if (ip === undefined) errors.push('prevResult.ips: an address is not usable')
    else if (isOfInterface(entry?.interface, interfaces, interfaceName) && !ips.some((other) => isIpv6(other) === isIpv6(ip))) ips.push(ip)
  }
  return { prevResult, ips }
}

/** An address that names no interface is the pod's; some plugins name one that is not listed. */
function isOfInterface(index: unknown, interfaces: readonly (Fields | undefined)[], interfaceName: string): boolean {
  const named = typeof index === 'number' ? interfaces[index] : undefined
  return named === undefined || named.name === interfaceName
}

function containersOf(raw: unknown, errors: string[]): readonly string[] | undefined {
  if (raw === undefined) return undefined
  const ids = Array.isArray(raw) ? raw.map((entry) => fieldsOf(entry)?.containerID) : undefined
  if (ids !== undefined && ids.length <= MAX_ATTACHMENTS && ids.every((id) => typeof id === 'string')) return ids as string[]
  errors.push('cni.dev/valid-attachments: not a list of { containerID, ifname }')
  return undefined
}

function fieldsOf(raw: unknown): Fields | undefined {
  return typeof raw === 'object' && raw !== null && !Array.isArray(raw) ? (raw as Fields) : undefined
}
