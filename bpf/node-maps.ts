// All of a node's pinned maps that the agent works on, opened together, and the questions that need several of them.
import { readdirSync } from 'node:fs'
import { AF_INET, AF_INET6 } from '../linux/sockaddr.ts'
import type { MapOf } from './map.ts'
import { openMap } from './map.ts'
import type { MapName } from './spec.ts'
import { PROTOCOLS, PROXY_PORTS, SLOTS } from './spec.ts'

/** Every map by name; `close` closes the fds. */
export class NodeMaps implements Disposable {
  readonly directory: string
  readonly #open = new Map<MapName, { [Symbol.dispose](): void }>()

  constructor(directory: string) {
    this.directory = directory
  }

  /** Opens on first use. @throws MeshError PIN_MISSING, PIN_UNREADABLE */
  get<Name extends MapName>(name: Name): MapOf<Name> {
    const known = this.#open.get(name)
    if (known !== undefined) return known as MapOf<Name>
    const map = openMap(this.directory, name)
    this.#open.set(name, map)
    return map
  }

  [Symbol.dispose](): void {
    for (const map of this.#open.values()) map[Symbol.dispose]()
    this.#open.clear()
  }

  /**
   * The proxy's ports of a namespace with a live registered listener in every family that the proxy serves there,
   * ascending. (One dual-stack listener, or one of each family: a family counts once any port has it.)
   */
  listeners(netns: bigint): number[] {
    const map = this.get('listeners')
    const isAlive = (port: number, protocol: number, family: number): boolean => {
      for (let slot = 0; slot < SLOTS; slot++) if (map.get({ netns, family, port, protocol, slot }) !== undefined) return true
      return false
    }
    const { dns } = PROXY_PORTS
    const ports = Object.values(PROXY_PORTS)
    const families = [AF_INET, AF_INET6].filter((family) => ports.some((port) => isAlive(port, PROTOCOLS.TCP, family)))
    const isServed = (port: number, protocol: number): boolean => families.every((family) => isAlive(port, protocol, family))
    if (families.length === 0) return []
    return ports.filter((port) => isServed(port, PROTOCOLS.TCP) && (port !== dns || isServed(dns, PROTOCOLS.UDP))) // DNS is both or nothing
  }

  /** Removes every tuple of a namespace: permitted, in flight, half-open. */
  forgetTuples(netns: bigint): void {
    this.#deleteWhere('permitted', netns)
    this.#deleteWhere('in_flight', netns)
    this.#deleteWhere('dialled', netns)
  }

  /** Removes the connects that were under way when a guard went on. */
  forgetInFlight(netns: bigint): void {
    this.#deleteWhere('in_flight', netns)
  }

  /** Removes the addresses that lead to a namespace; an address that another pod has taken over stays. */
  forgetAddresses(netns: bigint): void {
    const map = this.get('pod_ips')
    for (const [key, cookie] of map.entries()) if (cookie === netns) map.delete(key)
  }

  #deleteWhere(name: 'permitted' | 'in_flight' | 'dialled', netns: bigint): void {
    const map = this.get(name) as unknown as { entries(): [{ netns: bigint }, unknown][]; delete(key: { netns: bigint }): boolean }
    for (const [key] of map.entries()) if (key.netns === netns) map.delete(key)
  }
}

/** Numbers in the names of pins with a prefix, e.g. the cookies of `steer_COOKIE`. */
export function pinnedNumbers(directory: string, prefix: string): bigint[] {
  return readdirSync(directory).flatMap((name) => {
    const match = name.startsWith(prefix) ? /^\d+$/.exec(name.slice(prefix.length)) : null
    return match === null ? [] : [BigInt(match[0])]
  })
}
