// Errors of bpf/. One row per code; see kit/error.ts.
import { failures } from '../kit/error.ts'

/** Code -> what happened and what the operator checks. */
export const BPF_ERRORS = {
  OBJECT_UNREADABLE: { source: 'internal', retry: 'no', message: 'a BPF object cannot be opened', hint: 'is the installation complete?' },
  OBJECT_REFUSED: {
    source: 'internal',
    retry: 'no',
    message: 'the kernel refused a BPF object',
    hint: 'needs Linux 5.15 and CAP_BPF, CAP_NET_ADMIN; if maps of another version are pinned, release the node first',
  },
  PIN_MISSING: {
    source: 'internal',
    retry: 'yes',
    message: 'a BPF map is not pinned',
    hint: 'has the agent of this node started, and is this its directory?',
  },
  PIN_UNREADABLE: { source: 'internal', retry: 'no', message: 'a pinned BPF object cannot be opened' },
  NOT_BPFFS: {
    source: 'internal',
    retry: 'no',
    message: 'a directory for pins is not on a BPF file system',
    hint: 'mount -t bpf bpf DIRECTORY',
  },
  MAP_FULL: { source: 'internal', retry: 'yes', message: 'a BPF map is full' },
  MAP_FAILED: { source: 'internal', retry: 'no', message: 'a BPF map operation failed' },
  ATTACH_FAILED: { source: 'internal', retry: 'no', message: 'a BPF program cannot be attached' },
  QUERY_FAILED: { source: 'internal', retry: 'no', message: 'the kernel does not say which BPF programs a cgroup has' },
  TOO_MANY_ADDRESSES: { source: 'internal', retry: 'no', message: 'a pod has more than one address of a family, or none' },
  NO_HOST_DEVICE: {
    source: 'internal',
    retry: 'no',
    message: 'the pod has no network device on the node to guard',
    hint: 'its network is not made of veth pairs',
  },
} as const

/** Builds (does not throw) an error of BPF_ERRORS. */
export const bpfFailure = failures(BPF_ERRORS)
