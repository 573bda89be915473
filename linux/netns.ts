// Network namespaces: opening them, checking a foreign fd, and running syscalls inside one.
// A thread enters only for the length of one synchronous function; used by ztunnel (sockets in pods) and bpf/ (links).
import { closeSync, fstatSync, openSync } from 'node:fs'
import { check, library, linuxFailure } from './ffi.ts'

/** An open network namespace; the fd is O_CLOEXEC and keeps the namespace alive until disposed (twice is fine). */
export interface Netns extends Disposable {
  readonly fd: number
  /** Inode of the namespace: the same number for every fd of it; reused by the kernel after its death. */
  readonly inode: bigint
}

/**
 * @param path `/run/netns/NAME` or `/proc/PID/ns/net`
 * @throws MeshError NOT_A_NETNS (the file is something else); a system error (`ENOENT`, …) when it cannot be opened
 */
export function openNetns(path: string): Netns {
  return netnsOfFd(openSync(path, 'r')) // libuv opens everything O_CLOEXEC
}

/**
 * Takes ownership of a received fd; it is closed when this throws.
 * @throws MeshError NOT_A_NETNS when it is no network namespace
 */
export function netnsOfFd(fd: number): Netns {
  try {
    if (libc().ioctl(fd, NS_GET_NSTYPE) !== CLONE_NEWNET) throw linuxFailure('NOT_A_NETNS', { fd })
    return new OpenNetns(fd, fstatSync(fd, { bigint: true }).ino)
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

/**
 * Runs `work` on this thread inside the namespace and comes back; if there is no way back the process aborts, because
 * every later socket of this thread would be opened in the wrong pod.
 * @param fd a network namespace; @param work synchronous: no await, no new thread, no process
 * @returns what `work` returned
 * @throws MeshError SYSCALL_FAILED when the namespace cannot be entered; TypeError when `work` returned a promise
 */
export function inNetns<T>(fd: number, work: () => T): T {
  const { setns } = libc()
  home ??= openSync('/proc/thread-self/ns/net', 'r')
  const back = current ?? home
  check(setns(fd, CLONE_NEWNET), 'setns')
  const outer = current
  current = fd
  let result: T
  try {
    result = work()
  } finally {
    if (setns(back, CLONE_NEWNET) < 0) process.abort()
    current = outer
  }
  if (result instanceof Promise) throw new TypeError('inNetns: work must be synchronous')
  return result
}

/** Where this thread belongs: opened once, as every thread has this module of its own and only this file moves the thread. */
let home: number | undefined
/** Where the thread is while `inNetns` runs: a call inside a call comes back here. */
let current: number | undefined

/**
 * The kernel's name of a namespace in BPF maps: never 0, never used twice while the machine runs.
 * @throws MeshError SYSCALL_FAILED
 */
export function netnsCookie(fd: number): bigint {
  const { socket, getsockopt } = libc()
  const probe = inNetns(fd, () => check(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), 'socket'))
  try {
    const cookie = Buffer.alloc(8)
    check(getsockopt(probe, SOL_SOCKET, SO_NETNS_COOKIE, cookie, [cookie.length]), 'getsockopt SO_NETNS_COOKIE')
    return cookie.readBigUInt64LE()
  } finally {
    closeSync(probe)
  }
}

const CLONE_NEWNET = 0x40000000
const NS_GET_NSTYPE = 0xb703 // _IO(0xb7, 3), linux/nsfs.h
const AF_INET = 2
const SOCK_DGRAM = 2
const SOCK_CLOEXEC = 0o2000000
const SOL_SOCKET = 1
const SO_NETNS_COOKIE = 71

class OpenNetns implements Netns {
  readonly fd: number
  readonly inode: bigint
  #isOpen = true

  constructor(fd: number, inode: bigint) {
    this.fd = fd
    this.inode = inode
  }

  [Symbol.dispose](): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    closeSync(this.fd)
  }
}

interface NetnsCalls {
  setns(fd: number, kind: number): number
  ioctl(fd: number, request: number): number
  socket(family: number, type: number, protocol: number): number
  getsockopt(fd: number, level: number, name: number, value: Buffer, length: number[]): number
}

let calls: NetnsCalls | undefined

function libc(): NetnsCalls {
  if (calls === undefined) {
    const c = library('libc.so.6')
    calls = {
      setns: c.func('int setns(int fd, int kind)'),
      ioctl: c.func('int ioctl(int fd, unsigned long request)'),
      socket: c.func('int socket(int family, int type, int protocol)'),
      getsockopt: c.func('int getsockopt(int fd, int level, int name, _Out_ void *value, _Inout_ uint32_t *length)'),
    }
  }
  return calls
}
