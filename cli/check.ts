// What this machine must have, each with the way out when it has not. Used by `weft check` and, before it starts, by `weft up`.
import { accessSync, constants, existsSync, readFileSync } from 'node:fs'
import { release } from 'node:os'
import { delimiter, join } from 'node:path'
import { messageOf } from '../kit/error.ts'
import { cgroup2Root } from '../linux/cgroup.ts'
import { library } from '../linux/ffi.ts'

/** One finding. `isNeeded`: `up` refuses to start without it. */
export interface Finding {
  readonly what: string
  readonly isGood: boolean
  readonly isNeeded: boolean
  readonly seen: string
  readonly wayOut: string
}

const TOOLS: readonly (readonly [tool: string, debianPackage: string])[] = [
  ['ip', 'iproute2'],
  ['nsenter', 'util-linux'],
  ['unshare', 'util-linux'],
  ['setpriv', 'util-linux'],
  ['mount', 'mount'],
  ['pivot_root', 'util-linux'],
]
const OLDEST_KERNEL = '5.15'

/** Looks at the machine; changes nothing. */
export function checkMachine(): Finding[] {
  return [
    need('Linux', process.platform === 'linux', process.platform, 'weft runs on Linux only'),
    need('root', process.getuid?.() === 0, `uid ${process.getuid?.() ?? '?'}`, 'run it with sudo'),
    need('kernel', isKernelNew(release()), release(), `Linux ${OLDEST_KERNEL} or newer is needed`),
    attempt('cgroup v2', () => cgroup2Root(), 'mount -t cgroup2 none /sys/fs/cgroup/unified (or boot with cgroup v2)'),
    need('bpf file system', isFileSystem('bpf'), 'in /proc/filesystems', 'the kernel needs CONFIG_BPF_SYSCALL=y'),
    need('overlay file system', isFileSystem('overlay'), 'in /proc/filesystems', 'modprobe overlay (CONFIG_OVERLAY_FS)'),
    need(
      'kernel types (BTF)',
      existsSync('/sys/kernel/btf/vmlinux'),
      '/sys/kernel/btf/vmlinux',
      'the kernel needs CONFIG_DEBUG_INFO_BTF=y',
    ),
    attempt('libbpf', () => (library('libbpf.so.1') === undefined ? '' : 'libbpf.so.1'), 'apt-get install libbpf1'),
    need('network namespaces', existsSync('/proc/self/ns/net'), '/proc/self/ns/net', 'the kernel needs CONFIG_NET_NS=y'),
    need('IPv6', existsSync('/proc/net/if_inet6'), '/proc/net/if_inet6', 'boot without ipv6.disable=1'),
    ...TOOLS.map(([tool, debianPackage]) => {
      const path = which(tool)
      return need(tool, path !== undefined, path ?? 'not in PATH', `apt-get install ${debianPackage}`)
    }),
    bridgeFilter(),
  ]
}

function need(what: string, isGood: boolean, seen: string, wayOut: string): Finding {
  return { what, isGood, isNeeded: true, seen, wayOut }
}

function attempt(what: string, look: () => string, wayOut: string): Finding {
  try {
    return need(what, true, look(), wayOut)
  } catch (error) {
    return need(what, false, messageOf(error), wayOut)
  }
}

/** Docker loads br_netfilter: then the host's iptables rules see (and may drop) what passes the mesh's bridge. */
function bridgeFilter(): Finding {
  const file = '/proc/sys/net/bridge/bridge-nf-call-iptables'
  const isOn = existsSync(file) && readFileSync(file, 'utf8').trim() === '1'
  const wayOut =
    'sysctl net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-ip6tables=0, or let the rules pass 172.30.0.0/24 and 10.244.0.0/16'
  return {
    what: 'bridges pass unfiltered',
    isGood: !isOn,
    isNeeded: false,
    seen: isOn ? 'br_netfilter filters bridges' : 'no br_netfilter',
    wayOut,
  }
}

function isKernelNew(text: string): boolean {
  const [major = 0, minor = 0] = text.split('.').map(Number)
  const [oldMajor = 0, oldMinor = 0] = OLDEST_KERNEL.split('.').map(Number)
  return major > oldMajor || (major === oldMajor && minor >= oldMinor)
}

function isFileSystem(name: string): boolean {
  return readFileSync('/proc/filesystems', 'utf8')
    .split('\n')
    .some((line) => line.trim().split(/\s+/).at(-1) === name)
}

/** Where a program is, looked for in the usual directories; undefined when it is in none. */
export function which(tool: string): string | undefined {
  return `${SEARCH_PATH}`
    .split(delimiter)
    .map((dir) => join(dir, tool))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK)
        return true
      } catch {
        return false // not here: the next directory is tried
      }
    })
}

const SEARCH_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
