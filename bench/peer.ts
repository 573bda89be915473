// The two ends of a measurement: blocking sockets by koffi, so that the peer's own event loop and garbage do not show in
// the numbers. One process per end, started by bench/mesh.ts inside a pod; prints one JSON line.
//   echo IP PORT                         sends back what it reads, one connection after another
//   ping IP PORT SIZE SECONDS WARM-UP    one connection, SIZE bytes there and back: percentiles in microseconds
//   connect IP PORT,… AT-ONCE SECONDS WARM-UP   connect, a byte there and back, close: connections per second
import { isIpv6, parseIp } from '../model/address.ts'
import type { IpAddress } from '../model/address.ts'
import { encodeSockaddr } from '../linux/sockaddr.ts'
import { check, library } from '../linux/ffi.ts'

const SOCK_STREAM = 1
const SOL_SOCKET = 1
const SO_REUSEADDR = 2
const SO_RCVTIMEO = 20
const IPPROTO_TCP = 6
const TCP_NODELAY = 1
const MSG_NOSIGNAL = 0x4000
const READ_TIMEOUT_SECONDS = 5n

const c = library('libc.so.6')
const libc = {
  socket: c.func('int socket(int family, int type, int protocol)'),
  bind: c.func('int bind(int fd, const void *addr, uint32_t len)'),
  listen: c.func('int listen(int fd, int backlog)'),
  accept: c.func('int accept(int fd, void *addr, void *len)'),
  connect: c.func('int connect(int fd, const void *addr, uint32_t len)'),
  send: c.func('int64_t send(int fd, const void *data, size_t len, int flags)'),
  recv: c.func('int64_t recv(int fd, _Out_ void *data, size_t len, int flags)'),
  close: c.func('int close(int fd)'),
  setsockopt: c.func('int setsockopt(int fd, int level, int name, const void *value, uint32_t len)'),
}

function open(ip: IpAddress): number {
  const fd = check(libc.socket(isIpv6(ip) ? 10 : 2, SOCK_STREAM, 0), 'socket')
  const one = Buffer.from([1, 0, 0, 0])
  check(libc.setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, one, 4), 'SO_REUSEADDR')
  check(libc.setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, one, 4), 'TCP_NODELAY')
  return fd
}

function dial(ip: IpAddress, port: number): number {
  const fd = open(ip)
  const timeout = Buffer.alloc(16)
  timeout.writeBigInt64LE(READ_TIMEOUT_SECONDS, 0)
  check(libc.setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, timeout, 16), 'SO_RCVTIMEO')
  const address = encodeSockaddr({ ip, port })
  check(libc.connect(fd, address, address.length), 'connect')
  return fd
}

function echo(ip: IpAddress, port: number): void {
  const listener = open(ip)
  const address = encodeSockaddr({ ip, port })
  check(libc.bind(listener, address, address.length), 'bind')
  check(libc.listen(listener, 512), 'listen')
  print({ ready: true })
  const data = Buffer.alloc(65536)
  for (;;) {
    const fd = check(libc.accept(listener, null, null), 'accept')
    check(libc.setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, Buffer.from([1, 0, 0, 0]), 4), 'TCP_NODELAY')
    for (let n = Number(libc.recv(fd, data, data.length, 0)); n > 0; n = Number(libc.recv(fd, data, data.length, 0))) {
      if (Number(libc.send(fd, data, n, MSG_NOSIGNAL)) < 0) break
    }
    libc.close(fd)
  }
}

function roundTrip(fd: number, data: Buffer): void {
  check(libc.send(fd, data, data.length, MSG_NOSIGNAL), 'send')
  for (let got = 0; got < data.length; ) {
    const n = Number(check(libc.recv(fd, data, data.length - got, 0), 'recv'))
    if (n === 0) throw new Error('the peer closed the connection')
    got += n
  }
}

function ping(ip: IpAddress, port: number, size: number, seconds: number, warmUpSeconds: number): void {
  const fd = dial(ip, port)
  const data = Buffer.alloc(size, 0x61)
  for (const end = performance.now() + warmUpSeconds * 1000; performance.now() < end; ) roundTrip(fd, data)
  const samples: number[] = []
  for (const end = performance.now() + seconds * 1000; performance.now() < end; ) {
    const start = performance.now()
    roundTrip(fd, data)
    samples.push((performance.now() - start) * 1000)
  }
  libc.close(fd)
  samples.sort((a, b) => a - b)
  const at = (share: number): number =>
    Math.round((samples[Math.min(samples.length - 1, Math.floor(samples.length * share))] ?? 0) * 10) / 10
  print({ p50: at(0.5), p99: at(0.99), p999: at(0.999), perSecond: Math.round(samples.length / seconds) })
}

/** The ports take turns: one alone would run out of source ports within seconds (TIME_WAIT). */
function connects(ip: IpAddress, ports: readonly number[], atOnce: number, seconds: number, warmUpSeconds: number): void {
  // An app serves one connection after the other: a second one on its port would wait for the first to be closed.
  if (atOnce > ports.length) throw new Error(`connect: ${atOnce} at once need as many ports`)
  const data = Buffer.alloc(1, 0x61)
  let next = 0
  const batch = (): void => {
    const fds = Array.from({ length: atOnce }, () => dial(ip, ports[next++ % ports.length] ?? 0))
    for (const fd of fds) check(libc.send(fd, data, 1, MSG_NOSIGNAL), 'send')
    for (const fd of fds) {
      if (Number(check(libc.recv(fd, data, 1, 0), 'recv')) === 0) throw new Error('the peer closed the connection')
      libc.close(fd)
    }
  }
  for (const end = performance.now() + warmUpSeconds * 1000; performance.now() < end; ) batch()
  next = 0
  const start = performance.now()
  for (const end = start + seconds * 1000; performance.now() < end; ) batch()
  print({ perSecond: Math.round((next * 1000) / (performance.now() - start)) })
}

function print(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`)
}

function main(args: readonly string[]): void {
  const [command, address = '', port = '', ...rest] = args
  const ip = parseIp(address)
  if (ip === undefined) throw new Error(`usage: peer.ts echo|ping|connect IP PORT …; ${JSON.stringify(address)} is no IP address`)
  const [first = 0, second = 0, third = 0] = rest.map(Number)
  const ports = port.split(',').map(Number)
  if (command === 'echo') echo(ip, Number(port))
  else if (command === 'ping') ping(ip, Number(port), first, second, third)
  else if (command === 'connect') connects(ip, ports, first, second, third)
  else throw new Error(`usage: peer.ts echo|ping|connect IP PORT …; there is no command ${JSON.stringify(command)}`)
}

main(process.argv.slice(2))
