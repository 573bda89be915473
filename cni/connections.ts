// Counts the app connections that ztunnel still carries for a pod, from the kernel's tables, so that a stock ztunnel is
// counted too: sockets in the pod's namespace that belong to ztunnel's process. Its idle pooled connections do not count,
// those that it has not accepted yet do: to close a listener resets them.
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { endianness } from 'node:os'
import { codeOf } from '../kit/error.ts'
import { inNetns } from '../linux/netns.ts'
import { type Endpoint, ipFromBytes } from '../model/address.ts'

/** One row of /proc/net/tcp: a connection, not a listener, that a process holds or will accept. */
export interface SocketRow {
  readonly local: Endpoint
  readonly remote: Endpoint
  /** `0`: nobody has accepted it yet. */
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

/** Sockets of ztunnel in the pod that belong to an app's connection: all but those of HBONE, which may be idle. */
export function countCarried(rows: readonly SocketRow[], owned: ReadonlySet<string>): number {
  return rows.filter((row) => owned.has(row.inode) && row.local.port !== HBONE_PORT && row.remote.port !== HBONE_PORT).length
}

/** Connections to the pod that no process has accepted. Whether ztunnel or the app will is not to be seen. */
export function countWaiting(rows: readonly SocketRow[]): number {
  return rows.filter((row) => row.inode === UNACCEPTED).length
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
      const isOver = state === LISTEN || (inode === UNACCEPTED && !WAITING.has(state)) // orphans are done with
      return from === undefined || to === undefined || isOver ? [] : [{ local: from, remote: to, inode }]
    })
}

const HBONE_PORT = 15_008
const LISTEN = '0A'
const UNACCEPTED = '0'
const WAITING: ReadonlySet<string> = new Set(['01', '03', '08']) // ESTABLISHED, SYN_RECV, CLOSE_WAIT

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
