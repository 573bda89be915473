// Sockets that Node cannot open itself: in another network namespace, transparent, marked, or connected from a given
// address. Every fd is O_CLOEXEC and non-blocking and belongs to the caller, who adopts it (`new net.Socket({ fd })`,
// `server.listen({ fd })`, `dgram bind({ fd })`) or closes it.
import { closeSync } from 'node:fs'
import type { Endpoint, IpAddress } from '../model/address.ts'
import { check, lastErrno, library, linuxFailure } from './ffi.ts'
import { inNetns } from './netns.ts'
import { AF_INET6, decodeSockaddr, encodeSockaddr, familyOf, SOCKADDR_BYTES } from './sockaddr.ts'

/** Where a listener is opened; `netnsFd` absent = this process's namespace. */
export interface ListenOptions {
  readonly netnsFd?: number
  readonly ip: IpAddress
  /** 0 = the kernel chooses; see localAddress. */
  readonly port: number
  /** Default 4096, cut by net.core.somaxconn. */
  readonly backlog?: number
  readonly reusePort?: boolean
  /** Accepts addresses that are not local (needs CAP_NET_ADMIN). */
  readonly transparent?: boolean
  /** IPv6 only: default true; false = a dual-stack listener. */
  readonly v6Only?: boolean
}

/** How an upstream connection is opened. */
export interface ConnectOptions {
  readonly netnsFd?: number
  readonly to: Endpoint
  /** Source; port 0 = chosen at connect. A port may serve many destinations; EADDRINUSE or EADDRNOTAVAIL when not this one. */
  readonly from?: Endpoint
  /** `from` need not be a local address (needs CAP_NET_ADMIN). */
  readonly transparent?: boolean
  /** SO_MARK, for routing and rules of nftables: in bpf/ it exempts nothing. */
  readonly mark?: number
  /** Called with the fd after all options and before connect(); what it throws is passed on. */
  readonly prepare?: (fd: number) => void
}

/** What udpBind takes. */
export type UdpOptions = Pick<ListenOptions, 'netnsFd' | 'ip' | 'port' | 'reusePort' | 'transparent' | 'v6Only'>

/** @returns a listening fd. @throws MeshError SYSCALL_FAILED (`errno` EADDRINUSE, EACCES, …) */
export function tcpListen(options: ListenOptions): number {
  return openSocket(options.netnsFd, options.ip, SOCK_STREAM, (fd) => {
    setOption(fd, SOL_SOCKET, SO_REUSEADDR, 1)
    bindTo(fd, options)
    check(libc().listen(fd, options.backlog ?? 4096), 'listen')
  })
}

/**
 * Starts a connect and does not wait for it.
 * @returns a connecting (or connected) fd
 * @throws MeshError SYSCALL_FAILED when the kernel refuses at once (`errno` ENETUNREACH, EADDRNOTAVAIL, EPERM, …)
 */
export function tcpConnect(options: ConnectOptions): number {
  return openSocket(options.netnsFd, options.to.ip, SOCK_STREAM, (fd) => {
    setNoDelay(fd) // what proxies send is complete
    if (options.mark !== undefined) setOption(fd, SOL_SOCKET, SO_MARK, options.mark)
    if (options.transparent === true) setTransparent(fd, options.to.ip)
    if (options.from !== undefined) {
      if (options.from.port === 0) setOption(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1)
      else setOption(fd, SOL_SOCKET, SO_REUSEADDR, 1)
      bindAddress(fd, options.from)
    }
    options.prepare?.(fd)
    const address = encodeSockaddr(options.to)
    const result = libc().connect(fd, address, address.length)
    if (result < 0 && lastErrno() !== EINPROGRESS) check(result, 'connect')
  })
}

/** @returns a bound datagram fd. @throws MeshError SYSCALL_FAILED */
export function udpBind(options: UdpOptions): number {
  return openSocket(options.netnsFd, options.ip, SOCK_DGRAM, (fd) => bindTo(fd, options))
}

/**
 * Where a captured connection was going, as the kernel (or bpf/) tells the proxy.
 * @param family of the destination: 4 also on an AF_INET6 socket that carries IPv4
 * @returns undefined = none is known: the connection was not captured; refuse it
 * @throws MeshError SYSCALL_FAILED only for a bad fd
 */
export function originalDst(fd: number, family: 4 | 6): Endpoint | undefined {
  const result = libc().getsockopt(
    fd,
    family === 4 ? SOL_IP : SOL_IPV6,
    SO_ORIGINAL_DST,
    answer,
    lengthOf(family === 4 ? 16 : SOCKADDR_BYTES),
  )
  if (result === 0) return decodeSockaddr(family === 4 ? answer.subarray(0, 16) : answer)
  const errno = lastErrno()
  if (errno === EBADF || errno === ENOTSOCK) check(result, 'getsockopt SO_ORIGINAL_DST')
  return undefined
}

/** @returns the socket's own address. @throws MeshError SYSCALL_FAILED, NOT_AN_IP_SOCKET */
export function localAddress(fd: number): Endpoint {
  return askAddress(fd, 'getsockname')
}

/** @returns the peer's address. @throws MeshError SYSCALL_FAILED (`errno` ENOTCONN while connecting), NOT_AN_IP_SOCKET */
export function peerAddress(fd: number): Endpoint {
  return askAddress(fd, 'getpeername')
}

/** Whether a connect has succeeded already, as one to an address of the same namespace has before `connect` returns. */
export function isConnected(fd: number): boolean {
  return libc().getpeername(fd, answer, lengthOf(SOCKADDR_BYTES)) === 0
}

/** The kernel's number of a socket, never used twice; also its value in a socket map. @throws MeshError SYSCALL_FAILED */
export function socketCookie(fd: number): bigint {
  const value = Buffer.alloc(8)
  check(libc().getsockopt(fd, SOL_SOCKET, SO_COOKIE, value, lengthOf(value.length)), 'getsockopt SO_COOKIE')
  return value.readBigUInt64LE()
}

/** First probe after `idleS` of silence, then every `intervalS`; dead after `count` unanswered ones. @throws MeshError SYSCALL_FAILED */
export function setKeepalive(fd: number, options: { readonly idleS: number; readonly intervalS: number; readonly count: number }): void {
  setOption(fd, SOL_TCP, TCP_KEEPIDLE, options.idleS)
  setOption(fd, SOL_TCP, TCP_KEEPINTVL, options.intervalS)
  setOption(fd, SOL_TCP, TCP_KEEPCNT, options.count)
  setOption(fd, SOL_SOCKET, SO_KEEPALIVE, 1)
}

/** Small writes go out at once; what a listener accepts inherits it. @throws MeshError SYSCALL_FAILED */
export function setNoDelay(fd: number): void {
  setOption(fd, SOL_TCP, TCP_NODELAY, 1)
}

/** Unacknowledged data kills the connection after `ms` (0 = the system's default). @throws MeshError SYSCALL_FAILED */
export function setUserTimeout(fd: number, ms: number): void {
  setOption(fd, SOL_TCP, TCP_USER_TIMEOUT, ms)
}

const SOCK_STREAM = 1
const SOCK_DGRAM = 2
const SOCK_NONBLOCK = 0o4000
const SOCK_CLOEXEC = 0o2000000
const SOL_IP = 0
const SOL_SOCKET = 1
const SOL_TCP = 6
const SOL_IPV6 = 41
const SO_REUSEADDR = 2
const SO_KEEPALIVE = 9
const SO_REUSEPORT = 15
const SO_MARK = 36
const SO_COOKIE = 57
const SO_ORIGINAL_DST = 80 // also IP6T_SO_ORIGINAL_DST
const IP_TRANSPARENT = 19
const IP_BIND_ADDRESS_NO_PORT = 24
const IPV6_V6ONLY = 26
const IPV6_TRANSPARENT = 75
const TCP_NODELAY = 1
const TCP_KEEPIDLE = 4
const TCP_KEEPINTVL = 5
const TCP_KEEPCNT = 6
const TCP_USER_TIMEOUT = 18
const EBADF = 9
const ENOTSOCK = 88
const EINPROGRESS = 115

function openSocket(netnsFd: number | undefined, ip: IpAddress, type: number, setUp: (fd: number) => void): number {
  const open = (): number => {
    const fd = check(libc().socket(familyOf(ip), type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), 'socket')
    try {
      setUp(fd)
      return fd
    } catch (error) {
      closeSync(fd)
      throw error
    }
  }
  return netnsFd === undefined ? open() : inNetns(netnsFd, open)
}

function bindTo(fd: number, options: UdpOptions): void {
  if (familyOf(options.ip) === AF_INET6) setOption(fd, SOL_IPV6, IPV6_V6ONLY, options.v6Only === false ? 0 : 1)
  if (options.reusePort === true) setOption(fd, SOL_SOCKET, SO_REUSEPORT, 1)
  if (options.transparent === true) setTransparent(fd, options.ip)
  bindAddress(fd, options)
}

function bindAddress(fd: number, endpoint: Endpoint): void {
  const address = encodeSockaddr(endpoint)
  check(libc().bind(fd, address, address.length), 'bind')
}

function setTransparent(fd: number, ip: IpAddress): void {
  if (familyOf(ip) === AF_INET6) setOption(fd, SOL_IPV6, IPV6_TRANSPARENT, 1)
  else setOption(fd, SOL_IP, IP_TRANSPARENT, 1)
}

/** What calls read and write, one at a time: several per connection, and no call waits. */
const word = Buffer.alloc(4)
const answerLength = Buffer.alloc(4)
const answer = Buffer.alloc(SOCKADDR_BYTES)

function lengthOf(bytes: number): Buffer {
  answerLength.writeUInt32LE(bytes)
  return answerLength
}

function setOption(fd: number, level: number, name: number, value: number): void {
  word.writeUInt32LE(value)
  check(libc().setsockopt(fd, level, name, word, word.length), `setsockopt ${level}/${name}`)
}

function askAddress(fd: number, call: 'getsockname' | 'getpeername'): Endpoint {
  check(libc()[call](fd, answer, lengthOf(SOCKADDR_BYTES)), call)
  const endpoint = decodeSockaddr(answer)
  if (endpoint === undefined) throw linuxFailure('NOT_AN_IP_SOCKET', { fd })
  return endpoint
}

interface SocketCalls {
  socket(family: number, type: number, protocol: number): number
  bind(fd: number, address: Buffer, length: number): number
  listen(fd: number, backlog: number): number
  connect(fd: number, address: Buffer, length: number): number
  setsockopt(fd: number, level: number, name: number, value: Buffer, length: number): number
  getsockopt(fd: number, level: number, name: number, value: Buffer, length: Buffer): number
  getsockname(fd: number, address: Buffer, length: Buffer): number
  getpeername(fd: number, address: Buffer, length: Buffer): number
}

let calls: SocketCalls | undefined

function libc(): SocketCalls {
  if (calls === undefined) {
    const c = library('libc.so.6')
    calls = {
      socket: c.func('int socket(int family, int type, int protocol)'),
      bind: c.func('int bind(int fd, const void *address, uint32_t length)'),
      listen: c.func('int listen(int fd, int backlog)'),
      connect: c.func('int connect(int fd, const void *address, uint32_t length)'),
      setsockopt: c.func('int setsockopt(int fd, int level, int name, const void *value, uint32_t length)'),
      getsockopt: c.func('int getsockopt(int fd, int level, int name, void *value, void *length)'),
      getsockname: c.func('int getsockname(int fd, void *address, void *length)'),
      getpeername: c.func('int getpeername(int fd, void *address, void *length)'),
    }
  }
  return calls
}
