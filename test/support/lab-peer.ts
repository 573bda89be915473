// A process of the lab inside one namespace and cgroup: serves lines and runs clients on command. JSON lines on
// standard input ({ id, op, args }) and output ({ id, result | error }).
import dgram from 'node:dgram'
import net from 'node:net'
import { createInterface } from 'node:readline'
import { openSocketRegistry } from '../../bpf/registry.ts'
import { openNetns } from '../../linux/netns.ts'
import { localAddress, originalDst, peerAddress, tcpConnect, tcpListen, udpBind } from '../../linux/socket.ts'
import { SOURCE_MARK } from '../../linux/source-routing.ts'
import type { IpAddress } from '../../model/address.ts'
import { formatEndpoint } from '../../model/address.ts'
import type { CallOptions } from './blocking-socket.ts'
import { ask, call, countSyns, openSniffer, rawSyn, startConnect } from './blocking-socket.ts'

const open: (() => void)[] = []

/** What a peer can do; every result is plain JSON. */
export const OPERATIONS = {
  /** Listens; each connection gets `NAME PORT local=… peer=… orig=…`. */
  listen(o: { name: string; ports: number[]; families?: (4 | 6 | 46)[]; reusePort?: boolean }): string {
    for (const port of o.ports)
      for (const family of o.families ?? [4, 6]) {
        const ip = (family === 4 ? '0.0.0.0' : '::') as IpAddress
        serve(o.name, port, tcpListen({ ip, port, reusePort: o.reusePort ?? true, v6Only: family !== 46 }))
      }
    return 'listening'
  },
  /** Listens on a port of every IPv4 address and sends back what comes. */
  echo(o: { port: number }): string {
    const fd = tcpListen({ ip: '0.0.0.0' as IpAddress, port: o.port })
    const server = net.createServer((socket) => socket.pipe(socket)).listen({ fd })
    open.push(() => server.close())
    return 'echoing'
  },
  /** A listener of a process that the agent does not know as the proxy, registered by fd (twice). */
  listenRegistered(o: { name: string; port: number; directory: string; cookie: string }): string {
    const fd = tcpListen({ ip: '0.0.0.0' as IpAddress, port: o.port, reusePort: true })
    using registry = openSocketRegistry(o.directory)
    const listener = { fd, cookie: BigInt(o.cookie), family: 4, port: o.port } as const
    registry.registerTcp(listener)
    registry.registerTcp(listener)
    serve(o.name, o.port, fd)
    return 'registered'
  },
  /** The proxy's way to an app: linux/socket.ts, exempted by fd, from the client's address. */
  async keptSource(o: { netns: string; ip: string; port: number; from: string; directory: string }): Promise<string> {
    using registry = openSocketRegistry(o.directory)
    using netns = openNetns(o.netns)
    const fd = tcpConnect({
      netnsFd: netns.fd,
      to: { ip: o.ip as IpAddress, port: o.port },
      from: { ip: o.from as IpAddress, port: 0 },
      transparent: true,
      mark: SOURCE_MARK,
      prepare: (socket) => registry.exempt(socket),
    })
    return (await new net.Socket({ fd }).setEncoding('utf8').toArray()).join('')
  },
  /** Answers `NAME DATA` to datagrams; with a registry the socket becomes the pod's DNS. */
  answer(o: { name: string; ip: string; port: number; registry?: { directory: string; cookie: string } }): string {
    const family = o.ip.includes(':') ? 6 : 4
    const fd = udpBind({ ip: o.ip as IpAddress, port: o.port })
    if (o.registry !== undefined) {
      using registry = openSocketRegistry(o.registry.directory)
      registry.registerDns({ fd, cookie: BigInt(o.registry.cookie), family })
      registry.registerDns({ fd, cookie: BigInt(o.registry.cookie), family })
    }
    const socket = dgram.createSocket(family === 4 ? 'udp4' : 'udp6')
    socket.bind({ fd })
    socket.on('message', (data, from) => socket.send(`${o.name} ${data}`, from.port, from.address))
    open.push(() => socket.close())
    return 'answering'
  },
  call: (o: CallOptions): string => call(o),
  /** A connect whose socket is exempted through its fd. */
  callExempt(o: CallOptions & { directory: string }): string {
    using registry = openSocketRegistry(o.directory)
    return call({ ...o, prepare: (fd) => registry.exempt(fd) })
  },
  calls(o: CallOptions & { count: number }): Record<string, number> {
    const tally: Record<string, number> = {}
    for (let i = 0; i < o.count; i++) {
      const word = call(o).split(' ')[0] ?? ''
      tally[word] = (tally[word] ?? 0) + 1
    }
    return tally
  },
  /** `count` connects, 64 at a time, each to a port of its own: how many answers name the port that was dialled? */
  async storm(o: { ip: string; count: number }): Promise<number> {
    let good = 0
    let next = 20_000
    const worker = async (): Promise<void> => {
      while (next < 20_000 + o.count) {
        const port = next++
        const text = (await net.connect(port, o.ip).setEncoding('utf8').toArray()).join('')
        if (text.trim().endsWith(`orig=${o.ip}:${port}`)) good++
      }
    }
    await Promise.all(Array.from({ length: 64 }, worker))
    return good
  },
  ask: (o: Parameters<typeof ask>[0]): string => ask(o),
  raw: (o: Parameters<typeof rawSyn>[0]): string => rawSyn(o),
  sniff: (o: { ifindex: number }): number => openSniffer(o.ifindex),
  counted: (o: { fd: number; sourcePort: number; ms: number; enough?: number }): number => countSyns(o.fd, o.sourcePort, o.ms, o.enough),
  startConnect: (o: Parameters<typeof startConnect>[0]): number => startConnect(o),
  closeAll(): string {
    for (const close of open.splice(0)) close()
    return 'closed'
  },
} as const

/** The operations by name. */
export type Operations = typeof OPERATIONS

function serve(name: string, port: number, listener: number): void {
  const server = net.createServer((socket) => {
    const { fd } = (socket as unknown as { _handle: { fd: number } })._handle
    const [local, peer] = [localAddress(fd), peerAddress(fd)]
    const original = originalDst(fd, 4) ?? originalDst(fd, 6)
    const orig = original === undefined ? 'none' : formatEndpoint(original)
    socket.on('error', () => socket.destroy())
    socket.end(`${name} ${port} local=${formatEndpoint(local)} peer=${formatEndpoint(peer)} orig=${orig}\n`)
    socket.resume()
  })
  server.listen({ fd: listener, backlog: 1024 })
  open.push(() => server.close())
}

if (import.meta.main) {
  process.stdout.write('"ready"\n')
  const lines = createInterface({ input: process.stdin })
  lines.on('close', () => process.exit()) // the test has ended, however it did
  lines.on('line', (line) => {
    const { id, op, args } = JSON.parse(line) as { id: number; op: keyof Operations; args: never }
    void (async () => {
      try {
        const run = OPERATIONS[op] as (args: never) => unknown
        process.stdout.write(`${JSON.stringify({ id, result: await run(args) })}\n`)
      } catch (error) {
        process.stdout.write(`${JSON.stringify({ id, error: String(error) })}\n`)
      }
    })()
  })
}
