// What a hostile process tries inside a pod: each export is one attempt and says in one word or line how it ended. Run in the
// pod by `attempt`; uses only what the pod's own capabilities give it.
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import net from 'node:net'
import { library } from '../../linux/ffi.ts'
import { deviceIndex } from '../../linux/device.ts'
import { tcpListen } from '../../linux/socket.ts'
import type { IpAddress } from '../../model/address.ts'
import { call, rawSyn, sendFrame } from './blocking-socket.ts'
import type { TestPod } from './mesh.ts'

/** Runs one attempt in a pod. @returns what it says */
export async function attempt<K extends keyof Attempts>(pod: TestPod, name: K, args: Parameters<Attempts[K]>[0]): Promise<string> {
  const script = `import { ATTEMPTS } from '${import.meta.url}'; process.stdout.write(String(await ATTEMPTS.${name}(${JSON.stringify(args)})))`
  const { stdout, stderr, status } = await pod.script(script, { timeoutMs: 20_000 })
  return status === 0 ? stdout : `failed: ${stderr.slice(-600)}`
}

/** An address with a port. */
export interface Target {
  readonly ip: string
  readonly port: number
}

/** A target of a connection that the pod's own kernel does not open; `own` is the pod's address. */
export interface RawTarget extends Target {
  readonly own: string
  readonly gateway: string
  readonly sourcePort: number
}

const SYN = 2
const SYS_BPF = 321 // x86-64

/** Every attempt by name. */
export const ATTEMPTS = {
  /** As every socket; what the server says first. */
  plain: (target: Target): string => call({ ...target, limitS: 15 }),
  /** With the proxy's mark. */
  mark: (target: Target): string => call({ ...target, mark: 0x539 }),
  /** With the mark, transparent, and bound to the pod's address. */
  transparent: (target: RawTarget): string =>
    call({ ip: target.ip, port: target.port, mark: 0x539, isTransparent: true, bind: target.own }),
  /** A SYN from a raw IP socket. */
  raw: (target: RawTarget): string => rawSyn({ source: target.own, ip: target.ip, port: target.port, sourcePort: target.sourcePort }),
  /** A SYN as an Ethernet frame: what a TCP stack in user space sends. */
  frame: (target: RawTarget): string => sendFrame(deviceIndex('eth0'), tcpFrame(target, SYN)),
  /** A SYN with other flags, and with data. */
  decorated: (target: RawTarget): string => sendFrame(deviceIndex('eth0'), tcpFrame(target, SYN | 0xe8, Buffer.from('hello'))),
  /** The same inside of IPIP, to a host that would unpack it. */
  tunnelled(target: RawTarget): string {
    const inner = tcpFrame(target, SYN).subarray(14)
    return sendFrame(deviceIndex('eth0'), ipFrame(target, 4, inner))
  },
  /** A connection of a network namespace nested in the pod, over a device of its own on eth0 with the pod's address. */
  nested: (target: RawTarget): Promise<string> =>
    shell(`
      unshare -Urn sleep 20 & pid=$!
      own=$(readlink /proc/self/ns/net)
      for i in $(seq 100); do inner=$(readlink /proc/$pid/ns/net); [ -n "$inner" ] && [ "$inner" != "$own" ] && break; sleep 0.02; done
      ip link add link eth0 name inner0 netns $pid type macvlan mode bridge
      nsenter -t $pid -U -n --preserve-credentials sh -ec '
        ip addr add ${target.own}/24 dev inner0; ip link set inner0 up; ip route add default via ${target.gateway}
        exec timeout 3 ${process.execPath} -e "require(\\"net\\").connect(${target.port}, \\"${target.ip}\\").on(\\"data\\", (d) => console.log(String(d))).on(\\"error\\", (e) => console.log(e.code))"' || true
      kill $pid
    `),
  /** Listens on ports and answers `stolen` to whoever comes; runs until its standard input ends. */
  steal({ ports, reusePort }: { ports: readonly number[]; reusePort: boolean }): Promise<string> {
    for (const port of ports) {
      for (const ip of ['0.0.0.0', '::'] as IpAddress[]) {
        const fd = tcpListen({ ip, port, reusePort, v6Only: true })
        net.createServer((socket) => socket.on('error', () => undefined).end('stolen\n')).listen({ fd })
      }
    }
    process.stdout.write('listening\n')
    process.stdin.resume().on('end', () => process.exit(0))
    return new Promise(() => undefined)
  },
  /** Says GET to a port: `refused`, `silent`, `closed`, or `data:…`. */
  visit({ ip, port }: Target): Promise<string> {
    return new Promise((resolve) => {
      const socket = net.connect({ host: ip, port, timeout: 7000 }, () => socket.write('GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n'))
      socket.on('data', (data) => resolve(`data: ${String(data).slice(0, 40)}`))
      socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'ECONNRESET' ? 'closed' : 'refused'))
      socket.on('timeout', () => {
        resolve('silent')
        socket.destroy()
      })
      socket.on('close', () => resolve('closed'))
    })
  },
  /** A bpf() call whose first attribute is an id: GET_NEXT_ID, GET_FD_BY_ID. @returns `granted` or `refused` */
  bpf({ command, id }: { command: number; id: number }): string {
    const syscall = library('libc.so.6').func('long syscall(long number, long command, _Inout_ void *attributes, long size)')
    const attributes = Buffer.alloc(64)
    attributes.writeUInt32LE(id, 0)
    return syscall(SYS_BPF, command, attributes, attributes.length) >= 0 ? 'granted' : 'refused'
  },
} as const

type Attempts = typeof ATTEMPTS

function shell(script: string): Promise<string> {
  return new Promise((resolve) => {
    const child = spawn('sh', ['-c', `exec 2>&1\n${script}`], { stdio: ['ignore', 'pipe', 'inherit'] })
    const out: Buffer[] = []
    child.stdout.on('data', (chunk: Buffer) => out.push(chunk))
    child.once('close', () => resolve(Buffer.concat(out).toString().trim()))
  })
}

function tcpFrame(target: RawTarget, flags: number, data: Buffer = Buffer.alloc(0)): Buffer {
  const tcp = Buffer.alloc(20)
  tcp.writeUInt16BE(target.sourcePort, 0)
  tcp.writeUInt16BE(target.port, 2)
  tcp.writeUInt32BE(1, 4)
  tcp[12] = 5 << 4
  tcp[13] = flags
  tcp.writeUInt16BE(1024, 14)
  const segment = Buffer.concat([tcp, data])
  const length = Buffer.from([0, 6, 0, segment.length])
  segment.writeUInt16BE(checksum(Buffer.concat([bytesOf(target.own), bytesOf(target.ip), length, segment])), 16)
  return ipFrame(target, 6, segment)
}

function ipFrame(target: RawTarget, protocol: number, payload: Buffer): Buffer {
  const head = Buffer.from([0x45, 0, 0, 0, 0, 7, 0, 0, 64, protocol, 0, 0, ...bytesOf(target.own), ...bytesOf(target.ip)])
  head.writeUInt16BE(head.length + payload.length, 2)
  head.writeUInt16BE(checksum(head), 10)
  const macOf = (text: string): Buffer => Buffer.from(text.trim().replaceAll(':', ''), 'hex')
  const gateway = readFileSync('/proc/net/arp', 'utf8')
    .split('\n')
    .find((line) => line.startsWith(`${target.gateway} `))
  if (gateway === undefined) throw new Error('the gateway is not in the neighbour table yet')
  const own = macOf(readFileSync('/sys/class/net/eth0/address', 'utf8'))
  return Buffer.concat([macOf(gateway.split(/\s+/)[3] ?? ''), own, Buffer.from([8, 0]), head, payload])
}

function bytesOf(ip: string): Buffer {
  return Buffer.from(ip.split('.').map(Number))
}

function checksum(data: Buffer): number {
  const even = data.length % 2 === 0 ? data : Buffer.concat([data, Buffer.alloc(1)])
  let total = 0
  for (let i = 0; i < even.length; i += 2) total += even.readUInt16BE(i)
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16)
  return ~total & 0xffff
}
