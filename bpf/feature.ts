// What this kernel can do beyond the floor (5.15), asked by loading trial programs, and what is missing for BPF at all.
import { readFileSync, statfsSync } from 'node:fs'
import { codeOf, messageOf } from '../kit/error.ts'
import { libbpf } from './libbpf.ts'

/** Optional abilities. */
export interface Features {
  /** A refused connect gives ECONNREFUSED or ENETUNREACH instead of EPERM (5.18). */
  readonly setRetval: boolean
  /** Subflows of MPTCP find the socket that the app connected (5.19). */
  readonly mptcp: boolean
}

/** @returns what the running kernel has. @throws MeshError LIBRARY_MISSING */
export function detectFeatures(): Features {
  const has = (programType: number, helper: number): boolean => libbpf().probeHelper(programType, helper, null) === 1
  return { setRetval: has(TYPE_CGROUP_SOCK_ADDR, HELPER_SET_RETVAL), mptcp: has(TYPE_SOCK_OPS, HELPER_SKC_TO_MPTCP_SOCK) }
}

/** `enum feature` of include/features.h as the programs' constant. */
export function featureBits(features: Features): bigint {
  return (features.setRetval ? 1n : 0n) | (features.mptcp ? 2n : 0n)
}

/** Whether a directory is on a BPF file system. */
export function isBpffs(directory: string): boolean {
  try {
    return statfsSync(directory).type === BPF_FS_MAGIC
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false
    throw error
  }
}

/**
 * @param release as in /proc/sys/kernel/osrelease; default: the running kernel's
 * @returns whether it is at least the documented floor, 5.15
 */
export function isSupportedKernel(release: string = readFileSync('/proc/sys/kernel/osrelease', 'utf8')): boolean {
  const [major = 0, minor = 0] = release.split('.').map((part) => Number.parseInt(part, 10))
  return major > 5 || (major === 5 && minor >= 15)
}

/**
 * What keeps the programs from running here, as one clause; undefined = nothing that can be seen without loading them.
 * @param cgroupPath where they are to be attached
 */
export function ebpfObstacle(cgroupPath: string): string | undefined {
  const release = readFileSync('/proc/sys/kernel/osrelease', 'utf8').trim()
  if (!isSupportedKernel(release)) return `Linux ${release} is older than 5.15`
  try {
    const missing = Object.entries(PROGRAM_TYPES).filter(([, type]) => libbpf().probeProgramType(type, null) !== 1)
    if (missing.length > 0) return `the kernel loads no BPF programs of type ${missing.map(([name]) => name).join(', ')}`
  } catch (error) {
    if (codeOf(error) !== 'LIBRARY_MISSING') throw error
    return messageOf(error)
  }
  return isCgroup2(cgroupPath) ? undefined : `${cgroupPath} is not a group of cgroup v2`
}

function isCgroup2(path: string): boolean {
  try {
    return statfsSync(path).type === CGROUP2_MAGIC
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false
    throw error
  }
}

const TYPE_SOCK_OPS = 13
const TYPE_CGROUP_SOCK_ADDR = 18
/** `enum bpf_prog_type` of everything in src/. */
const PROGRAM_TYPES = {
  sched_cls: 3,
  cgroup_skb: 8,
  sock_ops: TYPE_SOCK_OPS,
  cgroup_sock_addr: TYPE_CGROUP_SOCK_ADDR,
  cgroup_sockopt: 25,
  sk_lookup: 30,
} as const
const CGROUP2_MAGIC = 0x63677270
const HELPER_SET_RETVAL = 187
const HELPER_SKC_TO_MPTCP_SOCK = 196
const BPF_FS_MAGIC = 0xcafe4a11
