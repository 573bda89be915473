// The `forwarded` header (RFC 7239) as Istio's proxies write it: `for="ip:port";host=name`. Believed only from a
// workload's own waypoint, which the caller decides. Hostile text: parsing never throws.
import { type Endpoint, formatEndpoint, parseEndpoint, parseIp } from '../model/address.ts'

/** The original client and, if it dialled a service, that service's host name. */
export interface Forwarded {
  /** Port 0 = the header names none. */
  readonly for: Endpoint
  readonly host?: string
}

const MAX_FORWARDED_CHARACTERS = 1024
const HOST = /^[A-Za-z0-9._-]{1,253}$/
const PAIR = /^\s*([A-Za-z]+)=(?:"([^"\\]*)"|([^\s";,=]*))\s*$/

/** @returns the header's value; `host` is left out when it is no host name. */
export function formatForwarded(forwarded: Forwarded): string {
  const host = forwarded.host !== undefined && HOST.test(forwarded.host) ? `;host=${forwarded.host}` : ''
  return `for="${formatNode(forwarded.for)}"${host}`
}

/** @returns the one hop that the header names; undefined when it is malformed, names several, or repeats a parameter. */
export function parseForwarded(text: string): Forwarded | undefined {
  if (text.length > MAX_FORWARDED_CHARACTERS || text.includes(',')) return undefined
  const pairs = new Map<string, string>()
  for (const part of text.split(';')) {
    const match = PAIR.exec(part)
    const key = match?.[1]?.toLowerCase()
    if (match === null || key === undefined || pairs.has(key)) return undefined
    pairs.set(key, match[2] ?? match[3] ?? '')
  }
  const client = parseNode(pairs.get('for') ?? '')
  const host = pairs.get('host')
  if (client === undefined || (host !== undefined && !HOST.test(host))) return undefined
  return host === undefined ? { for: client } : { for: client, host }
}

function formatNode(node: Endpoint): string {
  if (node.port !== 0) return formatEndpoint(node)
  return node.ip.includes(':') ? `[${node.ip}]` : node.ip
}

function parseNode(text: string): Endpoint | undefined {
  const endpoint = parseEndpoint(text)
  if (endpoint !== undefined) return endpoint
  const ip = parseIp(text.startsWith('[') && text.endsWith(']') ? text.slice(1, -1) : text)
  return ip === undefined ? undefined : { ip, port: 0 }
}
