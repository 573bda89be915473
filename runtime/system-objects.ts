// Objects that a mesh has before the user's: namespaces, nodes, address ranges, cluster DNS, and the mesh's own pods, so
// that the certificate authority asks the same questions here as on Kubernetes.
import type { EndpointSlice, MeshObject, Node, Pod, Service } from '../model/object.ts'
import { SERVICE_NAME_LABEL } from '../model/object.ts'
import { COMPONENT_ANNOTATION, DNS_VIP, type MeshLayout, type NodeLayout, SERVICE_CIDR, SYSTEM_NAMESPACE } from './layout.ts'
import type { ObjectStore } from './store.ts'

/** Namespace of cluster DNS, as on Kubernetes. */
export const DNS_NAMESPACE = 'kube-system'

/** Puts them into the store. */
export function seedSystemObjects(store: ObjectStore, mesh: MeshLayout, nodes: readonly NodeLayout[], nowIso: string): void {
  for (const name of ['default', DNS_NAMESPACE, SYSTEM_NAMESPACE])
    store.put({ apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels: { 'kubernetes.io/metadata.name': name } } })
  const spec = { cidrs: [SERVICE_CIDR.v4, SERVICE_CIDR.v6] }
  store.put({ apiVersion: 'networking.k8s.io/v1', kind: 'ServiceCIDR', metadata: { name: 'kubernetes' }, spec })
  for (const name of ['default', 'ztunnel', 'cni', 'controlplane'])
    store.put({ apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace: SYSTEM_NAMESPACE } })
  for (const object of dnsObjects(mesh)) store.put(object)
  for (const node of nodes) {
    store.put(nodeObject(node, nowIso))
    for (const component of ['ztunnel', 'cni']) store.put(componentPod(component, node, nowIso))
  }
}

/** Name of the pod object of a component on a node. */
export function componentPodName(component: string, node: NodeLayout): string {
  return `${component}-${node.name}`
}

function nodeObject(node: NodeLayout, nowIso: string): Node {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: node.name, labels: { 'kubernetes.io/hostname': node.name, 'kubernetes.io/os': 'linux' } },
    spec: { podCIDR: node.podCidr.v4, podCIDRs: [node.podCidr.v4, node.podCidr.v6] },
    status: {
      addresses: [
        { type: 'InternalIP', address: node.ip.v4 },
        { type: 'InternalIP', address: node.ip.v6 },
        { type: 'Hostname', address: node.name },
      ],
      conditions: [{ type: 'Ready', status: 'True', lastTransitionTime: nowIso }],
    },
  }
}

function componentPod(component: string, node: NodeLayout, nowIso: string): Pod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: componentPodName(component, node),
      namespace: SYSTEM_NAMESPACE,
      labels: { app: component },
      annotations: { [COMPONENT_ANNOTATION]: component },
    },
    spec: { serviceAccountName: component, hostNetwork: true, nodeName: node.name, containers: [{ name: component }] },
    status: {
      phase: 'Running',
      hostIP: node.ip.v4,
      podIP: node.ip.v4,
      podIPs: [{ ip: node.ip.v4 }, { ip: node.ip.v6 }],
      startTime: nowIso,
      conditions: [{ type: 'Ready', status: 'True', lastTransitionTime: nowIso }],
    },
  }
}

/** A service without a selector: its backend is the process in the control namespace. */
function dnsObjects(mesh: MeshLayout): MeshObject[] {
  const ports = [
    { name: 'dns', port: 53, protocol: 'UDP' as const },
    { name: 'dns-tcp', port: 53, protocol: 'TCP' as const },
  ]
  const service: Service = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'kube-dns', namespace: DNS_NAMESPACE, labels: { 'k8s-app': 'kube-dns' } },
    spec: {
      type: 'ClusterIP',
      clusterIP: DNS_VIP.v4,
      clusterIPs: [DNS_VIP.v4, DNS_VIP.v6],
      ipFamilies: ['IPv4', 'IPv6'],
      ipFamilyPolicy: 'PreferDualStack',
      ports,
    },
  }
  const slice = (family: 'IPv4' | 'IPv6', address: string): EndpointSlice => ({
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: `kube-dns-${family.toLowerCase()}`, namespace: DNS_NAMESPACE, labels: { [SERVICE_NAME_LABEL]: 'kube-dns' } },
    addressType: family,
    endpoints: [{ addresses: [address], conditions: { ready: true, serving: true, terminating: false } }],
    ports,
  })
  return [service, slice('IPv4', mesh.controlIp.v4), slice('IPv6', mesh.controlIp.v6)]
}
