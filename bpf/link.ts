// Attaching programs so that they outlive this process, replacing them without a gap, and asking the kernel what is
// attached where. A link whose target has died (namespace, cgroup, device) stays pinned and says so: it is made anew.
import { closeSync, existsSync, rmSync } from 'node:fs'
import { codeOf } from '../kit/error.ts'
import { bpfFailure } from './errors.ts'
import { bpfErrno, Errno, libbpf } from './libbpf.ts'
import { openPin } from './map.ts'

/** What a link is attached to. `target`: cgroup id, namespace inode or ifindex; 0 = it has died. */
export interface LinkInfo {
  readonly kind: 'cgroup' | 'netns' | 'tcx' | 'other'
  readonly target: bigint
  /** enum bpf_attach_type */
  readonly attach: number
}

/**
 * Attaches and pins; an existing link to the same target gets the new program in place (no moment without one).
 * @param options.targetFd cgroup or namespace fd, or an ifindex in this thread's namespace
 * @param options.target as LinkInfo.target
 * @returns whether an existing link was adopted
 * @throws MeshError ATTACH_FAILED with `errno` (EINVAL: this kernel has no such attach type)
 */
export function attachPinned(options: {
  readonly pin: string
  readonly programFd: number
  readonly targetFd: number
  readonly target: bigint
  readonly attach: number
}): boolean {
  const { pin, programFd, attach } = options
  const info = readLink(pin)
  if (info !== undefined && info.target === options.target && info.attach === attach) {
    const link = openPin(pin)
    try {
      if (libbpf().updateLink(link, programFd, null) >= 0) return true
      throw bpfFailure('ATTACH_FAILED', { pin, call: 'update', errno: bpfErrno() })
    } finally {
      closeSync(link)
    }
  }
  detachPinned(pin)
  const link = libbpf().createLink(programFd, options.targetFd, attach, null)
  if (link < 0) throw bpfFailure('ATTACH_FAILED', { pin, call: 'create', errno: bpfErrno() })
  try {
    if (libbpf().pin(link, pin) < 0) throw bpfFailure('ATTACH_FAILED', { pin, call: 'pin', errno: bpfErrno() })
  } finally {
    closeSync(link)
  }
  return false
}

/**
 * Detaches, then removes the pin: when it returns the program sees nothing any more. The kernel lets go of a link whose pin is
 * only removed a while later, by a worker of its own; a link that cannot be detached is left to that.
 * @returns whether there was one
 */
export function detachPinned(pin: string): boolean {
  if (!existsSync(pin)) return false
  try {
    const link = openPin(pin)
    libbpf().detachLink(link)
    closeSync(link)
  } catch (error) {
    if (!['PIN_UNREADABLE', 'PIN_MISSING'].includes(codeOf(error))) throw error
  }
  rmSync(pin, { force: true })
  return true
}

/** @returns undefined when nothing is pinned there. @throws MeshError PIN_UNREADABLE */
export function readLink(pin: string): LinkInfo | undefined {
  if (!existsSync(pin)) return undefined
  const fd = openPin(pin)
  try {
    const info = Buffer.alloc(64) // struct bpf_link_info { u32 type, id, prog_id; union at 16 }
    if (libbpf().info(fd, info, [info.length]) < 0) throw bpfFailure('PIN_UNREADABLE', { path: pin, errno: bpfErrno() })
    const type = info.readUInt32LE(0)
    if (type === LINK_CGROUP) return { kind: 'cgroup', target: info.readBigUInt64LE(16), attach: info.readUInt32LE(24) }
    const target = BigInt(info.readUInt32LE(16))
    return { kind: type === LINK_NETNS ? 'netns' : type === LINK_TCX ? 'tcx' : 'other', target, attach: info.readUInt32LE(20) }
  } finally {
    closeSync(fd)
  }
}

/**
 * The guard by classic tc, for kernels without tcx (before 6.6): no pin, it lives as long as the device.
 * Replaces an older program in place.
 * @param ifindex in this thread's namespace
 * @throws MeshError ATTACH_FAILED
 */
export function attachClsact(ifindex: number, programFd: number): void {
  const hook = tcHook(ifindex)
  if (libbpf().tcHookCreate(hook) < 0 && bpfErrno() !== Errno.EEXIST)
    throw bpfFailure('ATTACH_FAILED', { ifindex, call: 'clsact', errno: bpfErrno() })
  if (libbpf().tcAttach(hook, tcOptions({ programFd, isReplacing: true })) < 0)
    throw bpfFailure('ATTACH_FAILED', { ifindex, call: 'tc', errno: bpfErrno() })
}

/** Removes the guard's filter; a missing one, or a device that is gone, is fine. The clsact hook stays: others may use it. */
export function detachClsact(ifindex: number): void {
  libbpf().tcDetach(tcHook(ifindex), tcOptions({}))
}

/** Whether the guard's filter is on the device. */
export function hasClsact(ifindex: number): boolean {
  return libbpf().tcQuery(tcHook(ifindex), tcOptions({})) >= 0
}

const LINK_CGROUP = 3
const LINK_NETNS = 5
const LINK_TCX = 11
const BPF_TC_INGRESS = 1
const BPF_TC_F_REPLACE = 1
const TC_HANDLE = 0x7765 // ours among filters of that priority
const TC_PRIORITY = 1

/** struct bpf_tc_hook { size_t sz; int ifindex; int attach_point; u32 parent; } */
function tcHook(ifindex: number): Buffer {
  const hook = Buffer.alloc(24)
  hook.writeBigUInt64LE(24n, 0)
  hook.writeInt32LE(ifindex, 8)
  hook.writeInt32LE(BPF_TC_INGRESS, 12)
  return hook
}

/** struct bpf_tc_opts { size_t sz; int prog_fd; u32 flags, prog_id, handle, priority; } */
function tcOptions(options: { readonly programFd?: number; readonly isReplacing?: boolean }): Buffer {
  const out = Buffer.alloc(32)
  out.writeBigUInt64LE(32n, 0)
  out.writeInt32LE(options.programFd ?? 0, 8)
  out.writeUInt32LE(options.isReplacing === true ? BPF_TC_F_REPLACE : 0, 12)
  out.writeUInt32LE(TC_HANDLE, 20)
  out.writeUInt32LE(TC_PRIORITY, 24)
  return out
}
