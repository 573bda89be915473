// The name server of each enrolled pod: sockets on port 15053 in the pod's namespace, registered with the kernel state, served
// by dns/server.ts. Made by data.ts, started by pod.ts.
import dgram from 'node:dgram'
import { closeSync, readFileSync } from 'node:fs'
import net from 'node:net'
import type { Registry } from 'prom-client'
import type { SocketRegistry } from '../bpf/registry.ts'
import type { Clock } from '../kit/clock.ts'
import { netnsCookie } from '../linux/netns.ts'
import { tcpListen, udpBind } from '../linux/socket.ts'
import { isIpv6, parseEndpoint, parseIp } from '../model/address.ts'
import type { Endpoint, IpAddress } from '../model/address.ts'
import { makeCounter } from '../telemetry/metrics.ts'
import { DnsServer } from './dns/server.ts'
import { UpstreamDns } from './dns/upstream.ts'
import { hasNoIpv6 } from './listener.ts'
import type { PodContext } from './proxy/context.ts'
import { random } from './replica.ts'
import type { Replica } from './replica.ts'
import type { ZtunnelSettings } from './settings.ts'

/** Something that runs in a pod beside its proxy. */
export interface PodService extends Disposable {
  /** Tells the kernel state about its sockets (again). @throws MeshError MAP_FULL, MAP_FAILED */
  register(registry: SocketRegistry): void
}

/** Makes the name servers of a data thread's pods. */
export class PodDns {
  readonly #settings: ZtunnelSettings
  readonly #clock: Clock
  readonly #replica: Replica
  readonly #upstream: UpstreamDns
  readonly #count: (what: 'answered' | 'forwarded' | 'failed') => void

  constructor(options: { settings: ZtunnelSettings; clock: Clock; replica: Replica; metrics: Registry }) {
    const { settings, clock, metrics } = options
    this.#settings = settings
    this.#clock = clock
    this.#replica = options.replica
    this.#upstream = new UpstreamDns({ servers: upstreamServers(settings.dnsUpstreams), clock })
    const requests = makeCounter(metrics, 'istio_dns_requests_total')
    const forwarded = makeCounter(metrics, 'istio_dns_upstream_requests_total')
    const failed = makeCounter(metrics, 'istio_dns_upstream_failures_total')
    this.#count = (what) => {
      if (what !== 'failed') requests.inc()
      if (what === 'forwarded') forwarded.inc()
      if (what === 'failed') failed.inc()
    }
  }

  /** Serves one pod. @throws MeshError SYSCALL_FAILED (EADDRINUSE, …) */
  async start(pod: PodContext, netnsFd: number): Promise<PodService> {
    const opened: { fd: number; ip: IpAddress; kind: 'udp' | 'tcp' }[] = []
    try {
      for (const ip of this.#settings.isIpv6Enabled ? [ANY4, ANY6] : [ANY4]) openBoth(ip, netnsFd, this.#settings.reusesPort, opened)
    } catch (error) {
      for (const { fd } of opened) closeSync(fd)
      throw error
    }
    const datagrams = await Promise.all(opened.filter(({ kind }) => kind === 'udp').map(({ fd, ip }) => adoptUdp(fd, ip)))
    const listeners = await Promise.all(opened.filter(({ kind }) => kind === 'tcp').map(({ fd }) => adoptTcp(fd)))
    const server = new DnsServer(
      {
        clusterDomain: this.#settings.clusterDomain,
        random,
        view: this.#replica.state,
        upstream: this.#upstream,
        clock: this.#clock,
        client: () => this.#replica.podWorkload(this.#settings.clusterId, pod.name, pod.identity),
        onQuery: this.#count,
      },
      { datagrams, listeners },
    )
    const cookie = netnsCookie(netnsFd)
    return {
      register: (registry) => {
        for (const { fd, ip, kind } of opened) {
          const listener = { fd, cookie, family: isIpv6(ip) ? 6 : 4 } as const
          if (kind === 'udp') registry.registerDns(listener)
          else registry.registerTcp({ ...listener, port: DNS_PORT })
        }
      },
      [Symbol.dispose]: () => server[Symbol.dispose](),
    }
  }
}

const DNS_PORT = 15053
const ANY4 = '0.0.0.0' as IpAddress
const ANY6 = '::' as IpAddress

function openBoth(ip: IpAddress, netnsFd: number, reusePort: boolean, opened: { fd: number; ip: IpAddress; kind: 'udp' | 'tcp' }[]): void {
  try {
    opened.push({ fd: udpBind({ netnsFd, ip, port: DNS_PORT, reusePort }), ip, kind: 'udp' })
    opened.push({ fd: tcpListen({ netnsFd, ip, port: DNS_PORT, reusePort }), ip, kind: 'tcp' })
  } catch (error) {
    if (ip === ANY4 || !hasNoIpv6(error)) throw error
  }
}

function adoptUdp(fd: number, ip: IpAddress): Promise<dgram.Socket> {
  const socket = dgram.createSocket(isIpv6(ip) ? 'udp6' : 'udp4')
  return new Promise((resolve, reject) => {
    socket.once('error', reject)
    socket.bind({ fd }, () => {
      socket.off('error', reject)
      resolve(socket)
    })
  })
}

function adoptTcp(fd: number): Promise<net.Server> {
  const server = net.createServer()
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ fd }, () => {
      server.off('error', reject)
      resolve(server)
    })
  })
}

/** The cluster's resolvers: the setting, else those of this process. */
export function upstreamServers(setting: string): Endpoint[] {
  if (setting !== '') return setting.split(',').flatMap((text) => parseEndpoint(text.trim()) ?? [])
  try {
    const lines = readFileSync('/etc/resolv.conf', 'utf8').matchAll(/^nameserver\s+(\S+)/gm)
    return [...lines].flatMap(([, text = '']) => {
      const ip = parseIp(text)
      return ip === undefined ? [] : [{ ip, port: 53 }]
    })
  } catch {
    return [] // no resolver: names outside the mesh are answered with SERVFAIL
  }
}
