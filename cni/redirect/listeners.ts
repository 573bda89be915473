// Which of ztunnel's ports somebody listens on inside a pod, from the kernel's tables of sockets. Without BPF nothing says whose
// listener it is: ztunnel's ack came before, and docs/redirect.md names the difference.
import { readFileSync } from 'node:fs'
import { inNetns } from '../../linux/netns.ts'

/** @returns ports with a listener; 15053 only with both TCP and UDP. @throws MeshError SYSCALL_FAILED */
export function listeningPorts(netnsFd: number): number[] {
  const read = (table: string): string => readFileSync(`/proc/thread-self/net/${table}`, 'utf8')
  const [tcp, udp] = inNetns(netnsFd, () => [
    ['tcp', 'tcp6'].map(read).flatMap((text) => portsIn(text, TCP_LISTEN)),
    ['udp', 'udp6'].map(read).flatMap((text) => portsIn(text, UDP_BOUND)),
  ]) as [number[], number[]]
  return PROXY_PORTS.filter((port) => tcp.includes(port) && (port !== DNS_PORT || udp.includes(port)))
}

/** Local ports of the rows of /proc/net/tcp, tcp6, udp or udp6 in a state. */
export function portsIn(text: string, state: string): number[] {
  return text
    .split('\n')
    .slice(1)
    .flatMap((line) => {
      const [, local = '', , seen] = line.trim().split(/\s+/)
      const match = /^(?:[0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4})$/.exec(local)
      return match?.[1] === undefined || seen !== state ? [] : [Number.parseInt(match[1], 16)]
    })
}

const TCP_LISTEN = '0A'
const UDP_BOUND = '07'
const DNS_PORT = 15_053
const PROXY_PORTS = [15_001, 15_006, 15_008, DNS_PORT]
