// Other people's programs at the hooks where capture works: a load balancer on sockets that rewrites a service's address in
// connect() hides from the mesh which service an app dialled. Asked by the agent before it takes part, and by `weft check`.
import { closeSync, existsSync, openSync } from 'node:fs'
import { bpfFailure } from './errors.ts'
import { bpfErrno, libbpf } from './libbpf.ts'
import { openPin } from './map.ts'
import { CGROUP_PROGRAMS, pins } from './spec.ts'

/** A program of somebody else. */
export interface ForeignProgram {
  readonly hook: 'connect4' | 'connect6'
  readonly id: number
  /** As its owner called it, up to 15 characters; `cil_sock4_connect` is Cilium's, cut. */
  readonly name: string
}

/**
 * @param cgroup path; programs on groups above it count too, because they see its connects
 * @param bpffsDir our pins, by which our own programs are known
 * @returns what others attached; empty also where the kernel cannot say
 * @throws MeshError QUERY_FAILED; ENOENT when there is no such cgroup
 */
export function foreignConnectPrograms(cgroup: string, bpffsDir: string): ForeignProgram[] {
  const fd = openSync(cgroup, 'r')
  try {
    return (['connect4', 'connect6'] as const).flatMap((hook) => {
      const own = ownProgram(pins.cgroupLink(bpffsDir, hook))
      return effectivePrograms(fd, CGROUP_PROGRAMS[hook].attach)
        .filter((id) => id !== own)
        .flatMap((id) => {
          const name = programName(id)
          return name === undefined ? [] : [{ hook, id, name }]
        })
    })
  } finally {
    closeSync(fd)
  }
}

const BPF_F_QUERY_EFFECTIVE = 1
const MAX_PROGRAMS = 64 // BPF_CGROUP_MAX_PROGS
const PROGRAM_INFO_BYTES = 80 // struct bpf_prog_info up to `name`
const PROGRAM_NAME_AT = 64
const LINK_INFO_BYTES = 16 // struct bpf_link_info: type, id, prog_id
const LINK_PROGRAM_AT = 8

function effectivePrograms(cgroupFd: number, attach: number): number[] {
  const ids = Buffer.alloc(MAX_PROGRAMS * 4)
  const count = [MAX_PROGRAMS]
  if (libbpf().queryPrograms(cgroupFd, attach, BPF_F_QUERY_EFFECTIVE, [0], ids, count) < 0)
    throw bpfFailure('QUERY_FAILED', { errno: bpfErrno() })
  return Array.from({ length: count[0] ?? 0 }, (_, index) => ids.readUInt32LE(index * 4))
}

function ownProgram(pin: string): number | undefined {
  if (!existsSync(pin)) return undefined
  const link = openPin(pin)
  try {
    const info = Buffer.alloc(LINK_INFO_BYTES)
    return libbpf().info(link, info, [info.length]) < 0 ? undefined : info.readUInt32LE(LINK_PROGRAM_AT)
  } finally {
    closeSync(link)
  }
}

/** undefined = it has gone meanwhile. */
function programName(id: number): string | undefined {
  const fd = libbpf().programById(id)
  if (fd < 0) return undefined
  try {
    const info = Buffer.alloc(PROGRAM_INFO_BYTES)
    if (libbpf().info(fd, info, [info.length]) < 0) throw bpfFailure('QUERY_FAILED', { errno: bpfErrno() })
    return info.toString('latin1', PROGRAM_NAME_AT).replace(/\0.*$/s, '')
  } finally {
    closeSync(fd)
  }
}
