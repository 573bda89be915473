// Blocking sockets for test clients: every option that an app may use (mapped, MPTCP, Fast Open, bound, marked, raw),
// with time-outs. Only in child processes of the lab.
import { closeSync } from 'node:fs'
import { check, lastErrno, library } from '../../linux/ffi.ts'
import { decodeSockaddr } from '../../linux/sockaddr.ts'
import { localAddress, peerAddress } from '../../linux/socket.ts'
import type { IpAddress } from '../../model/address.ts'
import { formatEndpoint, ipToBytes, isIpv6, parseIp } from '../../model/address.ts'

/** How a client connects. `ip` may be `::ffff:a.b.c.d`, which opens an AF_INET6 socket. */
export interface CallOptions {
  ip: string
  port: number
  bind?: string
  bindPort?: number
  mark?: number
  isTransparent?: boolean
  isMptcp?: boolean
  isFastOpen?: boolean
  isNonBlocking?: boolean
  /** How long one call may wait; 2 unless given, for calls that wait for nothing. */
  limitS?: number
  /** Device of a link-local address. */
  scope?: string
  prepare?: (fd: number) => void
}

const c = library('libc.so.6')
const sys = {
  socket: c.func('int socket(int family, int type, int protocol)'),
  bind: c.func('int bind(int fd, const void *a, uint32_t n)'),
  connect: c.func('int connect(int fd, const void *a, uint32_t n)'),
  setsockopt: c.func('int setsockopt(int fd, int level, int name, const void *v, uint32_t n)'),
  getsockopt: c.func('int getsockopt(int fd, int level, int name, _Out_ void *v, _Inout_ uint32_t *n)'),
  sendto: c.func('int64 sendto(int fd, const void *b, size_t n, int flags, const void *a, uint32_t alen)'),
  recvfrom: c.func('int64 recvfrom(int fd, _Out_ void *b, size_t n, int flags, _Out_ void *a, _Inout_ uint32_t *alen)'),
  poll: c.func('int poll(_Inout_ void *fds, unsigned long n, int timeout)'),
  ifIndex: c.func('uint32_t if_nametoindex(const char *name)'),
  fcntl: c.func('int fcntl(int fd, int cmd, int arg)'),
}
const SOCK_CLOEXEC = 0o2000000
const MSG_FASTOPEN = 0x20000000
const IPPROTO_MPTCP = 262
const EINPROGRESS = 115

/** Connects, reads one line, says what the app is told about its socket: `LINE | name=… peername=…` or `error ERRNO`. */
export function call(options: CallOptions): string {
  const isSix = options.ip.includes(':')
  const fd = check(sys.socket(isSix ? 10 : 2, 1 | SOCK_CLOEXEC, options.isMptcp === true ? IPPROTO_MPTCP : 0), 'socket') as number
  try {
    setUp(fd, isSix, options)
    options.prepare?.(fd)
    connectTo(fd, options)
    const line = receive(fd).data.toString().trim()
    return `${line} | name=${formatEndpoint(localAddress(fd))} peername=${formatEndpoint(peerAddress(fd))}`
  } catch (error) {
    return `error ${errnoOf(error)}`
  } finally {
    closeSync(fd)
  }
}

/** Asks a datagram question: `ANSWER from=IP:PORT` or `error ERRNO`. */
export function ask(options: { ip: string; port: number; isConnected: boolean; also?: { ip: string; port: number } }): string {
  const isSix = options.ip.includes(':')
  const fd = check(sys.socket(isSix ? 10 : 2, 2 | SOCK_CLOEXEC, 0), 'socket') as number
  try {
    timeouts(fd)
    const address = sockaddr(options.ip, options.port)
    const said: string[] = []
    if (options.isConnected) {
      check(sys.connect(fd, address, address.length), 'connect')
      check(sys.sendto(fd, Buffer.from('q'), 1, 0, null, 0), 'send')
    } else {
      check(sys.sendto(fd, Buffer.from('q'), 1, 0, address, address.length), 'sendto')
    }
    if (options.also !== undefined) {
      const other = sockaddr(options.also.ip, options.also.port)
      check(sys.sendto(fd, Buffer.from('q'), 1, 0, other, other.length), 'sendto')
    }
    for (let n = options.also === undefined ? 1 : 2; n > 0; n--) {
      const { data, from } = receive(fd)
      const peer = options.isConnected ? ` peername=${formatEndpoint(peerAddress(fd))}` : ''
      said.push(`${data.toString()} from=${from === undefined ? '?' : formatEndpoint(from)}${peer}`)
    }
    return said.sort().join('; ')
  } catch (error) {
    return `error ${errnoOf(error)}`
  } finally {
    closeSync(fd)
  }
}

/** Sends one SYN from a raw socket, as CAP_NET_RAW allows: the header is ours, the source too. */
export function rawSyn(options: { source: string; ip: string; port: number; sourcePort: number }): string {
  const source = Buffer.from(ipToBytes(options.source as IpAddress))
  const to = Buffer.from(ipToBytes(options.ip as IpAddress))
  const isSix = isIpv6(options.ip as IpAddress)
  const tcp = Buffer.alloc(20)
  tcp.writeUInt16BE(options.sourcePort, 0)
  tcp.writeUInt16BE(options.port, 2)
  tcp.writeUInt32BE(1, 4)
  tcp[12] = 5 << 4
  tcp[13] = 2
  tcp.writeUInt16BE(1024, 14)
  const pseudo = isSix
    ? Buffer.concat([source, to, Buffer.from([0, 0, 0, 20, 0, 0, 0, 6])])
    : Buffer.concat([source, to, Buffer.from([0, 6, 0, 20])])
  tcp.writeUInt16BE(checksum(Buffer.concat([pseudo, tcp])), 16)
  const head = isSix
    ? Buffer.concat([Buffer.from([0x60, 0, 0, 0, 0, 20, 6, 64]), source, to])
    : Buffer.concat([Buffer.from([0x45, 0, 0, 0, 0, 7, 0, 0, 64, 6, 0, 0]), source, to])
  const fd = check(sys.socket(isSix ? 10 : 2, 3 | SOCK_CLOEXEC, 255), 'socket raw') as number
  try {
    const packet = Buffer.concat([head, tcp])
    const address = sockaddr(options.ip, 0)
    check(sys.sendto(fd, packet, packet.length, 0, address, address.length), 'sendto raw')
    return 'sent'
  } catch (error) {
    return `error ${errnoOf(error)}`
  } finally {
    closeSync(fd)
  }
}

/** Opens an AF_PACKET socket on eth0 that sees every frame. */
export function openSniffer(ifindex: number): number {
  const ETH_P_ALL = 0x0300 // network order
  const fd = check(sys.socket(17, 3 | SOCK_CLOEXEC, ETH_P_ALL), 'socket packet') as number
  const address = Buffer.alloc(20)
  address.writeUInt16LE(17, 0)
  address.writeUInt16LE(ETH_P_ALL, 2)
  address.writeInt32LE(ifindex, 4)
  check(sys.bind(fd, address, address.length), 'bind packet')
  return fd
}

/** Sends one Ethernet frame, past everything that the kernel does for sockets of IP. */
export function sendFrame(ifindex: number, frame: Buffer): string {
  const fd = openSniffer(ifindex)
  const address = Buffer.alloc(20)
  address.writeUInt16LE(17, 0)
  address.writeUInt16BE(0x0800, 2)
  address.writeInt32LE(ifindex, 4)
  address[11] = 6
  frame.copy(address, 12, 0, 6)
  try {
    check(sys.sendto(fd, frame, frame.length, 0, address, address.length), 'sendto packet')
    return 'sent'
  } catch (error) {
    return `error ${errnoOf(error)}`
  } finally {
    closeSync(fd)
  }
}

/** Reads until `ms` of silence, or enough; counts SYNs (without ACK) from a source port. Closes the sniffer. */
export function countSyns(fd: number, sourcePort: number, ms: number, enough = Number.POSITIVE_INFINITY): number {
  let seen = 0
  while (seen < enough) {
    const poll = Buffer.alloc(8)
    poll.writeInt32LE(fd, 0)
    poll.writeInt16LE(1, 4)
    if (sys.poll(poll, 1, ms) <= 0) break
    const frame = Buffer.alloc(2048)
    sys.recvfrom(fd, frame, frame.length, 0, Buffer.alloc(28), [28])
    const type = frame.readUInt16BE(12)
    const l4 = type === 0x0800 && frame[23] === 6 ? 34 : type === 0x86dd && frame[20] === 6 ? 54 : 0
    if (l4 !== 0 && frame.readUInt16BE(l4) === sourcePort && ((frame[l4 + 13] ?? 0) & 0x12) === 2) seen++
  }
  closeSync(fd)
  return seen
}

/** A connect that is started and left in SYN_SENT. */
export function startConnect(options: { ip: string; port: number; sourcePort: number; bind: string }): number {
  const fd = check(sys.socket(2, 1 | SOCK_CLOEXEC | 0o4000, 0), 'socket') as number
  const from = sockaddr(options.bind, options.sourcePort)
  check(sys.bind(fd, from, from.length), 'bind')
  const address = sockaddr(options.ip, options.port)
  if (sys.connect(fd, address, address.length) < 0 && lastErrno() !== EINPROGRESS) check(-1, 'connect')
  return fd
}

function setUp(fd: number, isSix: boolean, options: CallOptions): void {
  timeouts(fd, options.limitS)
  if (options.mark !== undefined) setOption(fd, 1, 36, options.mark)
  if (options.isTransparent === true) setOption(fd, isSix ? 41 : 0, isSix ? 75 : 19, 1)
  if (options.bind !== undefined) {
    const from = sockaddr(options.bind, options.bindPort ?? 0)
    check(sys.bind(fd, from, from.length), 'bind')
  }
}

function connectTo(fd: number, options: CallOptions): void {
  const address = sockaddr(options.ip, options.port)
  if (options.scope !== undefined) address.writeUInt32LE(sys.ifIndex(options.scope), 24)
  if (options.isFastOpen === true) {
    check(sys.sendto(fd, Buffer.from('tfo'), 3, MSG_FASTOPEN, address, address.length), 'sendto')
    return
  }
  if (options.isNonBlocking !== true) {
    check(sys.connect(fd, address, address.length), 'connect')
    return
  }
  check(sys.fcntl(fd, 4, 0o4000), 'fcntl')
  if (sys.connect(fd, address, address.length) < 0 && lastErrno() !== EINPROGRESS) check(-1, 'connect')
  const poll = Buffer.alloc(8)
  poll.writeInt32LE(fd, 0)
  poll.writeInt16LE(4, 4)
  check(sys.poll(poll, 1, 2000), 'poll')
  const error = Buffer.alloc(4)
  check(sys.getsockopt(fd, 1, 4, error, [4]), 'SO_ERROR')
  if (error.readInt32LE() !== 0) throw Object.assign(new Error('connect'), { errno: error.readInt32LE() })
  check(sys.fcntl(fd, 4, 0), 'fcntl')
}

function receive(fd: number): { data: Buffer; from: ReturnType<typeof decodeSockaddr> } {
  const data = Buffer.alloc(2048)
  const from = Buffer.alloc(28)
  const length = Number(check(sys.recvfrom(fd, data, data.length, 0, from, [from.length]), 'recvfrom'))
  return { data: data.subarray(0, length), from: decodeSockaddr(from) }
}

/** struct sockaddr; a mapped address keeps its IPv6 form (unlike encodeSockaddr). */
function sockaddr(ip: string, port: number): Buffer {
  const out = Buffer.alloc(ip.includes(':') ? 28 : 16)
  out.writeUInt16LE(ip.includes(':') ? 10 : 2, 0)
  out.writeUInt16BE(port, 2)
  const parsed = parseIp(ip)
  if (parsed === undefined) throw new RangeError(ip)
  if (!ip.includes(':')) out.set(ipToBytes(parsed), 4)
  else if (isIpv6(parsed)) out.set(ipToBytes(parsed), 8)
  else {
    out.writeUInt16BE(0xffff, 18)
    out.set(ipToBytes(parsed), 20)
  }
  return out
}

function timeouts(fd: number, limitS = 2): void {
  const time = Buffer.alloc(16)
  time.writeBigInt64LE(BigInt(limitS), 0)
  check(sys.setsockopt(fd, 1, 20, time, 16), 'SO_RCVTIMEO')
  check(sys.setsockopt(fd, 1, 21, time, 16), 'SO_SNDTIMEO')
}

function setOption(fd: number, level: number, name: number, value: number): void {
  const word = Buffer.alloc(4)
  word.writeUInt32LE(value)
  check(sys.setsockopt(fd, level, name, word, 4), 'setsockopt')
}

function checksum(data: Buffer): number {
  let total = 0
  for (let i = 0; i < data.length; i += 2) total += data.readUInt16BE(i)
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16)
  return ~total & 0xffff
}

function errnoOf(error: unknown): string {
  if (typeof error !== 'object' || error === null) return String(error)
  const detail = 'detail' in error ? (error.detail as { name?: string }) : undefined
  return detail?.name ?? ('errno' in error ? String(error.errno) : String(error))
}
