// Counts the app connections that ztunnel still carries for a pod, from the kernel's tables, so that a stock ztunnel is
// counted too: sockets in the pod's namespace that belong to ztunnel's process. Its idle pooled connections do not count.
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { endianness } from 'node:os'
import { codeOf } from '../kit/error.ts'
import { inNetns } from '../linux/netns.ts'
import { type Endpoint, type IpAddress, ipFromBytes, isLocal } from '../model/address.ts'

/** One row of /proc/net/tcp: a connection, not a listener, that a process holds. */
export interface SocketRow {
  readonly local: Endpoint
  readonly remote: Endpoint
  readonly inode: string
}

/** Inodes of all sockets of some processes; a process that is gone has none. */
export function socketInodes(pids: Iterable<number>): Set<string> {
  const inodes = new Set<string>()
  for (const pid of pids) {
    for (const fd of listed(pid)) {
      const match = /^socket:\[(\d+)\]$/.exec(linkOf(`/proc/${pid}/fd/${fd}`))
      if (match?.[1] !== undefined) inodes.add(match[1])
    }
  }
  return inodes
}

/** @throws MeshError SYSCALL_FAILED when the namespace cannot be entered */
export function socketsIn(netnsFd: number): SocketRow[] {
  const read = (table: string): string => readFileSync(`/proc/thread-self/net/${table}`, 'utf8')
  return inNetns(netnsFd, () => ['tcp', 'tcp6'].map(read)).flatMap(parseSockets)
}

/**
 * Each carried connection has one of: ztunnel's end of a captured connect (local port 15001), or ztunnel's connect to the
 * app (toward the pod's own address).
 */
export function countCarried(rows: readonly SocketRow[], owned: ReadonlySet<string>, ips: readonly IpAddress[]): number {
  const isCarried = (row: SocketRow): boolean => row.local.port === OUTBOUND_PORT || isLocal(row.remote.ip) || ips.includes(row.remote.ip)
  return rows.filter((row) => owned.has(row.inode) && isCarried(row)).length
}

/** @param text of /proc/net/tcp or tcp6 */
export function parseSockets(text: string): SocketRow[] {
  return text
    .split('\n')
    .slice(1)
    .flatMap((line) => {
      const [, local = '', remote = '', state = '', , , , , , inode = '0'] = line.trim().split(/\s+/)
      const from = parseHexEndpoint(local)
      const to = parseHexEndpoint(remote)
      return from === undefined || to === undefined || state === LISTEN || inode === '0' ? [] : [{ local: from, remote: to, inode }]
    })
}

const OUTBOUND_PORT = 15_001
const LISTEN = '0A'

/** `0200A8C0:1F90`: 32-bit words in host order, port as a number. */
function parseHexEndpoint(text: string): Endpoint | undefined {
  const match = /^([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4})$/.exec(text)
  if (match === null) return undefined
  const bytes = Buffer.from(match[1] ?? '', 'hex')
  const ip = ipFromBytes(endianness() === 'LE' ? bytes.swap32() : bytes)
  return ip === undefined ? undefined : { ip, port: Number.parseInt(match[2] ?? '', 16) }
}

function listed(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`)
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes(codeOf(error))) return []
    throw error
  }
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return '' // closed meanwhile
    throw error
  }
}
