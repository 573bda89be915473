// One enrolled pod on one data thread: its listeners in its own namespace, its certificate, its pool, its live connections.
// Made and removed by data.ts. Follows istio/ztunnel:src/inpod/workloadmanager.rs (one proxy per pod).
import type net from 'node:net'
import type { SocketRegistry } from '../bpf/registry.ts'
import { HbonePool } from '../hbone/pool.ts'
import { messageOf } from '../kit/error.ts'
import { netnsCookie } from '../linux/netns.ts'
import type { IpAddress } from '../model/address.ts'
import { spiffeIdOf } from '../model/identity.ts'
import { decide as authorize } from '../policy/l4.ts'
import type { PodConnections, PodInfo } from './channel.ts'
import { ztunnelFailure } from './errors.ts'
import { HboneDoor } from './hbone-door.ts'
import { hasNoIpv6, Listener } from './listener.ts'
import type { PodService } from './pod-dns.ts'
import { ConnectionTable } from './proxy/connections.ts'
import type { PodContext, ProxyContext } from './proxy/context.ts'
import { SocketFactory } from './proxy/dial.ts'
import { serveOutbound } from './proxy/outbound.ts'
import { servePlaintext } from './proxy/passthrough.ts'

/** What a pod is served with. */
export interface PodOptions {
  readonly uid: string
  readonly info: PodInfo
  /** Stays open, and the caller's, until `remove` has resolved. */
  readonly netnsFd: number
  readonly inode: bigint
  /** The node's kernel state as it is now; undefined = sockets are exempt by ztunnel's cgroup alone. */
  readonly registry: () => SocketRegistry | undefined
  /** Serves DNS in the pod; disposed of with the pod. */
  startDns(pod: PodContext, netnsFd: number): Promise<PodService>
}

const ANY4 = '0.0.0.0' as IpAddress
const ANY6 = '::' as IpAddress

/** A pod that is served. */
export class EnrolledPod {
  readonly context: PodContext
  readonly inode: bigint
  readonly #options: PodOptions
  readonly #door: HboneDoor
  readonly #resources = new DisposableStack()
  readonly #listeners: Listener[] = []
  #dns: PodService | undefined

  constructor(options: PodOptions, shared: ProxyContext) {
    const { info } = options
    const { settings, clock, credentials, budget } = shared
    const identity = { trustDomain: settings.trustDomain, namespace: info.namespace, serviceAccount: info.serviceAccount }
    const sockets = new SocketFactory({
      netnsFd: options.netnsFd,
      registry: options.registry,
      budget,
      clock,
      timeoutMs: settings.dialTimeoutMs,
    })
    this.#options = options
    this.inode = options.inode
    this.context = {
      ...shared,
      uid: options.uid,
      name: info.name,
      identity,
      id: spiffeIdOf(identity),
      connections: new ConnectionTable(settings.maxPodConnections),
      sockets,
      pool: new HbonePool({
        dial: (key) => sockets.connectHbone(key, credentials),
        maxStreamsPerConnection: settings.poolMaxStreams,
        unusedReleaseMs: settings.poolUnusedMs,
        clock,
      }),
    }
    this.#door = new HboneDoor(this.context)
  }

  /** Opens everything; on failure nothing is left open. @throws MeshError LISTEN_FAILED */
  async start(): Promise<void> {
    const { context } = this
    try {
      this.#resources.use(
        context.credentials.onRenewed((credentials) => {
          if (credentials.id === context.id) this.#door.use(credentials)
        }),
      )
      const current = context.credentials.peek(context.id)
      if (current !== undefined) this.#door.use(current)
      context.credentials.prefetch(context.id)
      await this.#listen(15001, true, (socket) => void serveOutbound(socket, context))
      await this.#listen(15006, true, (socket) => void servePlaintext(socket, context))
      await this.#listen(15008, false, (socket) => void this.#door.enter(socket))
      if (context.settings.isDnsEnabled) this.#dns = this.#resources.use(await this.#options.startDns(context, this.#options.netnsFd))
      this.register()
    } catch (error) {
      this.#stopListening()
      this.#resources.dispose()
      throw ztunnelFailure('LISTEN_FAILED', { pod: `${context.identity.namespace}/${context.name}` }, error)
    }
  }

  /** Tells the kernel state about the listeners again: they may be older than it. @throws MeshError MAP_FULL, MAP_FAILED */
  register(): void {
    const registry = this.#options.registry()
    if (registry === undefined) return
    const cookie = netnsCookie(this.#options.netnsFd)
    for (const { fd, port, family } of this.#listeners) registry.registerTcp({ fd, cookie, port, family })
    this.#dns?.register(registry)
  }

  /** Stops taking connections and tells peers; live ones go on. Resolves when none is left. */
  async drain(): Promise<void> {
    this.#stopListening()
    this.#door.drain()
    await this.context.connections.whenEmpty()
  }

  /** Ends everything now. @returns how many connections were ended */
  remove(code: 'WORKLOAD_REMOVED' | 'DRAINED'): number {
    this.#stopListening()
    const ended = this.context.connections.closeAll(() => ztunnelFailure(code))
    this.#door.close()
    this.context.pool.dropWhere(() => true)
    this.#resources.dispose()
    return ended
  }

  /** Asks policy again about live inbound connections. @returns how many were closed */
  recheck(): number {
    const { mesh, settings, connections } = this.context
    return connections.recheck(
      (connection) => {
        const workload = mesh.workloadByAddress(settings.network, connection.destinationIp)
        // A description that is gone says nothing about policy; the agent says when the pod itself is gone.
        return workload === undefined || authorize(mesh.policiesFor(workload), connection).isAllowed
      },
      (connection) => ztunnelFailure('POLICY_CHANGED', { from: connection.source.ip }),
    )
  }

  /** Drops pooled connections to addresses that have another owner or none now. */
  forgetPeers(addresses: ReadonlySet<IpAddress>): void {
    this.context.pool.dropWhere((key) => addresses.has(key.to.ip))
  }

  get handshakes(): number {
    return this.#door.handshakes
  }

  dump(): PodConnections {
    return { uid: this.#options.uid, ...this.context.connections.dump() }
  }

  async #listen(port: number, allowsHalfOpen: boolean, onAccept: (socket: net.Socket) => void): Promise<void> {
    const { settings, clock, log } = this.context
    const { netnsFd } = this.#options
    for (const ip of settings.isIpv6Enabled ? [ANY4, ANY6] : [ANY4]) {
      try {
        this.#listeners.push(
          await Listener.open({ netnsFd, ip, port, reusesPort: settings.reusesPort, allowsHalfOpen, log, clock, onAccept }),
        )
      } catch (error) {
        if (ip === ANY4 || !hasNoIpv6(error)) throw error
        log.debug('no IPv6 in this pod', { pod: this.context.name, error: messageOf(error) })
      }
    }
  }

  #stopListening(): void {
    for (const listener of this.#listeners.splice(0)) listener.close()
  }
}
