// The connects of a namespace whose SYN is under way, read from its /proc/net/tcp: the guard lets their retries pass.
import { readFileSync } from 'node:fs'
import { endianness } from 'node:os'
import { inNetns } from '../linux/netns.ts'
import type { Endpoint } from '../model/address.ts'
import { ipFromBytes } from '../model/address.ts'

/** One half-open connect. */
export interface InFlight {
  readonly from: Endpoint
  readonly to: Endpoint
}

/** @returns every TCP socket of the namespace in SYN_SENT. @throws MeshError SYSCALL_FAILED */
export function connectsInFlight(netnsFd: number): InFlight[] {
  return inNetns(netnsFd, () => ['tcp', 'tcp6'].flatMap((table) => parseTcpTable(readFileSync(`/proc/thread-self/net/${table}`, 'utf8'))))
}

/** @param text of /proc/net/tcp or tcp6; @returns its rows in SYN_SENT */
export function parseTcpTable(text: string): InFlight[] {
  const rows = text.split('\n').slice(1)
  return rows.flatMap((row) => {
    const [, local = '', remote = '', state] = row.trim().split(/\s+/)
    const from = parseHexEndpoint(local)
    const to = parseHexEndpoint(remote)
    return state === SYN_SENT && from !== undefined && to !== undefined ? [{ from, to }] : []
  })
}

const SYN_SENT = '02'

/** `0200A8C0:1F90`: 32-bit words in host order, port as a number. */
function parseHexEndpoint(text: string): Endpoint | undefined {
  const [address = '', port = ''] = text.split(':')
  const bytes = Buffer.from(address, 'hex')
  if (bytes.length !== 4 && bytes.length !== 16) return undefined
  const ip = ipFromBytes(endianness() === 'LE' ? bytes.swap32() : bytes)
  return ip === undefined ? undefined : { ip, port: Number.parseInt(port, 16) }
}
