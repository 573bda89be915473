// Names of network devices. The agent finds the host side of a pod's veth by it, in the node's namespace.
import { library } from './ffi.ts'

/** @returns the index of a device in this thread's namespace; 0 = there is none of that name */
export function deviceIndex(name: string): number {
  call ??= library('libc.so.6').func('unsigned int if_nametoindex(const char *name)')
  return call(name)
}

let call: ((name: string) => number) | undefined
