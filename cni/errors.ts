// Errors of the node agent; codes stand in log lines, in answers to the kubelet and in the reason of Event objects.
import { type ErrorRow, failures } from '../kit/error.ts'

/** Code -> row; `status` is the HTTP status of cni.sock. */
export const CNI_ERRORS = {
  NO_ZTUNNEL: {
    source: 'upstream',
    retry: 'yes',
    message: 'no ztunnel is connected to the agent',
    hint: 'is ztunnel running on this node?',
    status: 503,
  },
  NOT_THE_ZTUNNEL: {
    source: 'downstream',
    retry: 'no',
    message: "a process that is not the node's ztunnel connected to the agent",
    hint: 'its cgroup must be the one of --ztunnel-cgroup',
  },
  LISTENERS_MISSING: {
    source: 'upstream',
    retry: 'yes',
    message: 'ztunnel acknowledged the pod but does not listen in it',
    hint: 'does the app itself use 15001, 15006, 15008 or 15053?',
    status: 503,
  },
  NETNS_GONE: { source: 'downstream', retry: 'no', message: "the pod's network namespace is gone", status: 410 },
  POD_UNKNOWN: { source: 'downstream', retry: 'yes', message: 'the object API does not know this pod', status: 503 },
  NAMESPACE_UNKNOWN: {
    source: 'downstream',
    retry: 'yes',
    message: "the agent does not know the pod's namespace (yet)",
    hint: 'is the API server in reach of this node?',
    status: 503,
  },
  POD_REPLACED: { source: 'downstream', retry: 'no', message: 'the pod was deleted while it was being enrolled', status: 410 },
  ENROL_TIMEOUT: { source: 'internal', retry: 'yes', message: 'the pod was not enrolled in time', status: 504 },
  ENROL_FAILED: { source: 'internal', retry: 'yes', message: 'the pod cannot be enrolled', status: 503 },
  BAD_REQUEST: { source: 'downstream', retry: 'no', message: 'the request cannot be read', status: 400 },
  ADDRESS_UNKNOWN: {
    source: 'downstream',
    retry: 'yes',
    message: 'the pod has no address yet',
    hint: 'the plugins before weft-cni in the conf list must say the address in their result; maybe the address range is used up',
    status: 503,
  },
  CONF_UNREADABLE: {
    source: 'downstream',
    retry: 'yes',
    message: "the runtime's first network configuration cannot be used",
    hint: 'the container runtime cannot use it either; the plugin is put in when it is whole',
  },
  BESIDE_ISTIO: {
    source: 'downstream',
    retry: 'no',
    message: 'an Istio takes the pods of this node already',
    hint: 'move node by node: docs/migrate.md',
  },
  BESIDE_SOCKET_LB: {
    source: 'downstream',
    retry: 'no',
    message: 'a socket load balancer rewrites the addresses of services before the mesh sees them',
    hint: 'restrict it to the host (Cilium: socketLB.hostNamespaceOnly=true, then --beside=socket-lb; Calico: bpfConnectTimeLoadBalancing Disabled): docs/migrate.md',
  },
  BUSY: { source: 'internal', retry: 'yes', message: 'too many requests at once', status: 503 },
  TOO_MANY_PODS: { source: 'internal', retry: 'no', message: 'the agent keeps no more pods', status: 507 },
  STATE_UNREADABLE: {
    source: 'internal',
    retry: 'no',
    message: "a file of the agent's state cannot be read",
    hint: 'it was set aside as *.bad',
  },
  NFT_MISSING: {
    source: 'internal',
    retry: 'no',
    message: 'the program nft is not there',
    hint: 'install the package nftables, or use --redirect=ebpf',
  },
  NFT_REFUSED: {
    source: 'internal',
    retry: 'yes',
    message: 'the kernel refused nftables rules',
    hint: 'the kernel needs nf_tables with NAT (inet family)',
  },
  NFT_FAILED: { source: 'internal', retry: 'yes', message: 'nft was too slow or said too much' },
  SETTINGS_INVALID: { source: 'internal', retry: 'no', message: 'settings are not valid' },
} as const satisfies Record<string, ErrorRow>

/** Builds (does not throw) an error of CNI_ERRORS. */
export const cniFailure = failures(CNI_ERRORS)
