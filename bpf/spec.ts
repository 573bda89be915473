// What bpf/ consists of: objects, programs and where they attach, maps with their types and pins. The C side of the
// names is in src/ and include/; one directory on a bpffs per node holds all pins.
import { join } from 'node:path'
import * as layouts from './layout.ts'

/** Path of a committed object. */
export function objectPath(name: ObjectName): string {
  return join(import.meta.dirname, 'objects', `${name}.bpf.o`)
}

/** A source in src/ and its object. */
export type ObjectName = 'connect' | 'events' | 'original-dst' | 'steer' | 'guard' | 'seal'

/** Programs on the node's cgroup, by name -> object and attach type (enum bpf_attach_type). */
export const CGROUP_PROGRAMS = {
  connect4: { object: 'connect', attach: 10 },
  connect6: { object: 'connect', attach: 11 },
  sendmsg4: { object: 'connect', attach: 14 },
  sendmsg6: { object: 'connect', attach: 15 },
  recvmsg4: { object: 'connect', attach: 19 },
  recvmsg6: { object: 'connect', attach: 20 },
  getpeername4: { object: 'connect', attach: 29 },
  getpeername6: { object: 'connect', attach: 30 },
  tcp_events: { object: 'events', attach: 3 },
  getsockopt: { object: 'original-dst', attach: 21 },
  seal: { object: 'seal', attach: 0 },
} as const satisfies Record<string, { object: ObjectName; attach: number }>

/** Attach types of the programs that belong to one pod. */
export const ATTACH_SK_LOOKUP = 36
export const ATTACH_TCX_INGRESS = 46

/** The ports that belong to the proxy inside an enrolled pod. */
export const PROXY_PORTS = { outbound: 15001, inbound: 15006, hbone: 15008, dns: 15053 } as const

/** IP protocol numbers in map keys. */
export const PROTOCOLS = { TCP: 6, UDP: 17 } as const

/** enum pod_flags */
export const POD_INBOUND = 1
export const POD_OUTBOUND = 2
export const POD_DNS = 4
export const POD_SEALED = 8

/** Listeners of one port that steering knows (SLOTS in layout.h). */
export const SLOTS = 16

const u32 = layouts.plain(layouts.u32)
const u64 = layouts.plain(layouts.u64)

/** Maps that user space reads or writes, by name: key, value, and entries. */
export const MAPS = {
  pods: { key: u64, value: layouts.podRecord, entries: 4096 },
  pod_ips: { key: layouts.podIp, value: u64, entries: 8192 },
  proxy_cgroups: { key: u64, value: u32, entries: 16 },
  probe_cgroups: { key: u64, value: u32, entries: 16 },
  listeners: { key: layouts.listener, value: u64, entries: 65536 },
  dialled: { key: layouts.source, value: layouts.addr, entries: 65536 },
  permitted: { key: layouts.tuple, value: u32, entries: 65536 },
  in_flight: { key: layouts.tuple, value: u64, entries: 4096 },
  services: { key: layouts.serviceKey, value: layouts.service, entries: 16384 },
  backends: { key: layouts.backendKey, value: layouts.addr, entries: 65536 },
  guards: { key: u32, value: layouts.guarded, entries: 4096 },
  pod_drops: { key: u64, value: layouts.drops, entries: 4096 },
  exempt_sk: { key: u32, value: u32, entries: 0 },
} as const

/** A map that user space opens. */
export type MapName = keyof typeof MAPS

/** Counters in the order of enum stat. */
export const STATS = [
  'captured',
  'no_address',
  'storage_refused',
  'dialled_full',
  'permitted_full',
  'no_listener',
  'slots_full',
  'probes',
  'translated',
  'no_backend',
  'guard_source',
  'guard_syn',
  'guard_other',
  'sealed',
] as const

/** Pin paths in a node's directory. (A bpffs takes no dots in names.) */
export const pins = {
  map: (directory: string, name: string): string => join(directory, `map_${name}`),
  cgroupLink: (directory: string, program: string): string => join(directory, `link_${program}`),
  steer: (directory: string, cookie: bigint): string => join(directory, `steer_${cookie}`),
  guard: (directory: string, ifindex: number): string => join(directory, `guard_${ifindex}`),
}
