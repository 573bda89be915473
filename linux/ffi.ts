// The door to native libraries: koffi handles, loaded on first use, and one way to turn errno into an error.
// Every file of linux/ and bpf/ declares the functions it needs from here; nobody else calls koffi.
import koffi from 'koffi'
import { failures } from '../kit/error.ts'

/** A loaded shared library; `func` declares one C function by its prototype. */
export type NativeLibrary = ReturnType<typeof koffi.load>

const loaded = new Map<string, NativeLibrary>()

/**
 * @param name soname, e.g. `libc.so.6`
 * @throws MeshError LIBRARY_MISSING naming the library and the Debian package that brings it
 */
export function library(name: string): NativeLibrary {
  let lib = loaded.get(name)
  if (lib === undefined) {
    try {
      lib = koffi.load(name)
    } catch (cause) {
      throw linuxFailure('LIBRARY_MISSING', { library: name }, cause)
    }
    loaded.set(name, lib)
  }
  return lib
}

/** errno of the last native call on this thread; read it at once. */
export function lastErrno(): number {
  return koffi.errno()
}

/**
 * @param result what the call returned: negative or null means failure
 * @param call name for the message, e.g. `setns`
 * @returns result, unchanged
 * @throws MeshError SYSCALL_FAILED with `call` and `errno` (number) in its detail
 */
export function check<T extends number | bigint | object | null>(result: T, call: string): NonNullable<T> {
  const isFailure = result === null || (typeof result !== 'object' && Number(result) < 0)
  if (isFailure) {
    const errno = koffi.errno()
    throw linuxFailure('SYSCALL_FAILED', { call, errno, name: errnoName(errno) })
  }
  return result as NonNullable<T>
}

/** Errors of linux/ and bpf/. */
export const LINUX_ERRORS = {
  LIBRARY_MISSING: {
    source: 'internal',
    retry: 'no',
    message: 'a shared library cannot be loaded',
    hint: 'on Debian libbpf.so.1 comes with the package iproute2 or libbpf1',
  },
  SYSCALL_FAILED: { source: 'internal', retry: 'no', message: 'a system call failed' },
  NOT_A_NETNS: { source: 'downstream', retry: 'no', message: 'a file is not a network namespace' },
  NOT_AN_IP_SOCKET: { source: 'internal', retry: 'no', message: 'a socket is neither IPv4 nor IPv6' },
  CGROUP2_MISSING: {
    source: 'internal',
    retry: 'no',
    message: 'no cgroup v2 hierarchy is mounted',
    hint: 'mount one: mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified',
  },
  CGROUP_NOT_EMPTY: { source: 'internal', retry: 'yes', message: 'processes of a cgroup did not die' },
  RTNETLINK_REFUSED: { source: 'internal', retry: 'no', message: 'the kernel refused a rule or route', hint: 'is lo up in the namespace?' },
} as const

/** Builds (does not throw) an error of LINUX_ERRORS. */
export const linuxFailure = failures(LINUX_ERRORS)

function errnoName(errno: number): string {
  return Object.entries(koffi.os.errno).find(([, value]) => value === errno)?.[0] ?? String(errno)
}
