// ztunnel's view of the node's kernel state: pinned maps only. Exempts its own sockets and registers listeners that the
// kernel cannot register by itself.
import { existsSync } from 'node:fs'
import { AF_INET, AF_INET6 } from '../linux/sockaddr.ts'
import { socketCookie } from '../linux/socket.ts'
import { bpfFailure } from './errors.ts'
import { openMap } from './map.ts'
import type { MapOf } from './map.ts'
import { pins, PROTOCOLS, PROXY_PORTS, SLOTS } from './spec.ts'

/** A listener to register; the fd must be bound (UDP) or listening (TCP). */
export interface RegisteredListener {
  readonly fd: number
  /** Cookie of the pod's namespace. */
  readonly cookie: bigint
  readonly family: 4 | 6
}

/** Disposing closes the maps; what was registered stays until its socket closes. */
export interface SocketRegistry extends Disposable {
  /**
   * Makes a socket the proxy's: its connect is neither captured nor dropped. Call it before connect().
   * @throws MeshError MAP_FAILED
   */
  exempt(fd: number): void
  /** Registers a datagram socket for the pod's DNS; twice is fine. @throws MeshError MAP_FULL (no slot left), MAP_FAILED */
  registerDns(listener: RegisteredListener): void
  /**
   * Registers a TCP listener that began to listen before the agent knew the proxy's cgroup, or whose maps were made
   * anew; twice is fine. (Otherwise listen() itself registers.) @throws MeshError MAP_FULL (no slot left), MAP_FAILED
   */
  registerTcp(listener: RegisteredListener & { readonly port: number }): void
}

/** Whether a node's agent has made maps in this directory: it has none where it redirects by nftables. */
export function hasSocketRegistry(bpffsDir: string): boolean {
  return existsSync(pins.map(bpffsDir, 'exempt_sk'))
}

/**
 * @param bpffsDir the node's directory of pins
 * @throws MeshError PIN_MISSING while the agent has not made the maps: try again later
 */
export function openSocketRegistry(bpffsDir: string): SocketRegistry {
  const exempt = openMap(bpffsDir, 'exempt_sk')
  const listeners = openMap(bpffsDir, 'listeners')
  return {
    exempt: (fd) => void exempt.set(fd, 1),
    registerDns: (listener) => register(listeners, listener, PROXY_PORTS.dns, PROTOCOLS.UDP),
    registerTcp(listener) {
      exempt.set(listener.fd, 1) // the seal takes it for the proxy's, whatever its cgroup
      register(listeners, listener, listener.port, PROTOCOLS.TCP)
    },
    [Symbol.dispose]() {
      exempt[Symbol.dispose]()
      listeners[Symbol.dispose]()
    },
  }
}

function register(map: MapOf<'listeners'>, listener: RegisteredListener, port: number, protocol: number): void {
  const family = listener.family === 4 ? AF_INET : AF_INET6
  const own = socketCookie(listener.fd) // the map's value when read
  const key = { netns: listener.cookie, family, port, protocol }
  for (let slot = 0; slot < SLOTS; slot++) if (map.get({ ...key, slot }) === own) return
  for (let slot = 0; slot < SLOTS; slot++) if (map.set({ ...key, slot }, BigInt(listener.fd), 'new')) return
  throw bpfFailure('MAP_FULL', { map: 'listeners', port, slots: SLOTS })
}
