// What is in the cluster already: another mesh, nodes on which ours cannot work. Pure; command/install.ts gets the objects.
import type { AnyObject } from '../cluster/any-objects.ts'

/** A DaemonSet or Deployment. */
export interface Workload extends AnyObject {
  readonly spec?: { readonly template?: { readonly spec?: { readonly containers?: readonly { readonly image?: string }[] } } }
}

/** A Node. */
export interface SurveyedNode extends AnyObject {
  readonly status?: {
    readonly nodeInfo?: { readonly kernelVersion?: string; readonly operatingSystem?: string; readonly architecture?: string }
  }
}

/** Labels by which parts of Istio are known, whatever revision or name they have. */
const ISTIO_LABELS: readonly (readonly [key: string, value: string, what: string])[] = [
  ['app', 'istiod', 'istiod'],
  ['k8s-app', 'istio-cni-node', 'istio-cni'],
  ['app.kubernetes.io/name', 'istio-cni', 'istio-cni'],
  ['app', 'ztunnel', 'ztunnel'],
]
/** eBPF capture needs this kernel; older ones get nftables. */
const EBPF_KERNEL: readonly [number, number] = [5, 15]
const ARCHITECTURES = ['amd64', 'arm64']

/** Parts of another mesh, as `DaemonSet istio-system/ztunnel`. @param own namespace of this one */
export function foreignParts(workloads: readonly (Workload & { readonly kind: string })[], own: string): string[] {
  return workloads
    .filter(({ metadata }) => metadata.namespace !== own)
    .filter(({ metadata: { labels = {} } }) => ISTIO_LABELS.some(([key, value]) => labels[key] === value))
    .map(({ kind, metadata }) => `${kind} ${metadata.namespace}/${metadata.name}`)
    .sort()
}

/** `faults`: the mesh cannot work there at all. `notes`: it works, and somebody should know. A sentence each. */
export function surveyNodes(nodes: readonly SurveyedNode[]): { readonly faults: string[]; readonly notes: string[] } {
  const linux = nodes.filter(({ status }) => (status?.nodeInfo?.operatingSystem ?? 'linux') === 'linux')
  const others = linux.filter(({ status }) => !ARCHITECTURES.includes(status?.nodeInfo?.architecture ?? 'amd64'))
  const old = linux.filter(({ status }) => !isKernelNew(status?.nodeInfo?.kernelVersion))
  const faults: string[] = []
  const notes: string[] = []
  if (linux.length === 0) notes.push('the cluster has no Linux node yet: nothing will be ready before it has one')
  if (linux.length > 0 && others.length === linux.length)
    faults.push(`no node is ${ARCHITECTURES.join(' or ')}: the image has programs for these`)
  else if (others.length > 0)
    notes.push(`${namesOf(others)}: the image has no programs for this processor, pods there stay out of the mesh`)
  if (old.length > 0)
    notes.push(
      `${namesOf(old)}: the kernel is older than ${EBPF_KERNEL.join('.')}; the agent falls back to nftables there (docs/redirect.md)`,
    )
  return { faults, notes }
}

function isKernelNew(version: string | undefined): boolean {
  const [, major, minor] = /^(\d+)\.(\d+)/.exec(version ?? '') ?? []
  if (major === undefined) return true // unknown: the agent will see
  const [oldMajor, oldMinor] = EBPF_KERNEL
  return Number(major) > oldMajor || (Number(major) === oldMajor && Number(minor) >= oldMinor)
}

function namesOf(objects: readonly AnyObject[]): string {
  const names = objects.map(({ metadata }) => metadata.name).sort()
  return `${names.length === 1 ? 'node' : 'nodes'} ${names.slice(0, 3).join(', ')}${names.length > 3 ? ` and ${names.length - 3} more` : ''}`
}
