// The body of /cmdadd and /cmddel as Istio's plugin sends it (plus PodUID and HostInterface): foreign JSON into checked values.
import { faults, messageOf, type Result, success } from '../kit/error.ts'
import { type IpAddress, parseCidr } from '../model/address.ts'
import { ipsOf, isUid, nameOf } from './pods.ts'

/** What a plugin or kubelet says about a pod. */
export interface PluginRequest {
  /** Absolute path of the network namespace. */
  readonly netns: string
  readonly namespace: string
  readonly name: string
  /** Istio's plugin does not know it. */
  readonly uid: string | undefined
  readonly ips: readonly IpAddress[]
  /** Host side of the pod's veth. */
  readonly hostInterface: string | undefined
}

/** Every fault at once. @param isAdd only then namespace path and addresses are needed */
export function parsePluginRequest(text: string, isAdd: boolean): Result<PluginRequest> {
  let raw: unknown
  try {
    raw = JSON.parse(text)
  } catch (error) {
    return faults(`not JSON: ${messageOf(error)}`)
  }
  if (typeof raw !== 'object' || raw === null) return faults('not a JSON object')
  const fields = raw as Readonly<Record<string, unknown>>
  const errors: string[] = []
  const fault = (text: string): undefined => {
    errors.push(text)
    return undefined
  }
  const namespace = nameOf(fields.PodNamespace) ?? fault('PodNamespace: not a name')
  const name = nameOf(fields.PodName) ?? fault('PodName: not a name')
  const uid = fields.PodUID === undefined || fields.PodUID === '' ? undefined : (uidOf(fields.PodUID) ?? fault('PodUID: not a uid'))
  const netns = pathOf(fields.Netns) ?? (isAdd ? fault('Netns: not an absolute path') : '')
  const ips = addressesOf(fields.IPs) ?? (isAdd ? fault('IPs: one or two of { Address: "ip/len" }, at most one per family') : [])
  const given = fields.HostInterface === undefined || fields.HostInterface === ''
  const hostInterface = given ? undefined : (interfaceOf(fields.HostInterface) ?? fault('HostInterface: not a device name'))
  if (errors.length > 0 || namespace === undefined || name === undefined || netns === undefined || ips === undefined)
    return faults(...errors)
  return success({ netns, namespace, name, uid, ips, hostInterface })
}

function uidOf(raw: unknown): string | undefined {
  return typeof raw === 'string' && isUid(raw) ? raw : undefined
}

function pathOf(raw: unknown): string | undefined {
  const isPath = typeof raw === 'string' && raw.length < 1024 && /^\/[\x21-\x7e]*$/.test(raw) && !raw.split('/').includes('..')
  return isPath ? raw : undefined
}

function interfaceOf(raw: unknown): string | undefined {
  return typeof raw === 'string' && /^[\x21-\x2e\x30-\x7e]{1,15}$/.test(raw) ? raw : undefined
}

function addressesOf(raw: unknown): readonly IpAddress[] | undefined {
  if (!Array.isArray(raw)) return undefined
  const texts = raw.map((entry: unknown) => {
    const address = typeof entry === 'object' && entry !== null && 'Address' in entry ? entry.Address : undefined
    return typeof address === 'string' ? parseCidr(address)?.ip : undefined
  })
  return ipsOf(texts)
}
