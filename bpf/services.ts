// Virtual addresses of services in the kernel: the wanted table is compared with what the maps hold, and each changed
// service is replaced in one step (new backends under a new id, then the record, then the old backends go).
import { codeOf } from '../kit/error.ts'
import type { Endpoint, IpAddress } from '../model/address.ts'
import { isIpv6 } from '../model/address.ts'
import type { MapOf } from './map.ts'
import { PROTOCOLS } from './spec.ts'

/** One port of a service's virtual address; without backends its connects are refused. */
export interface VipService {
  readonly vip: IpAddress
  readonly port: number
  readonly protocol: 'TCP' | 'UDP'
  /** Those of the vip's family count; the kernel picks at random. */
  readonly backends: readonly Endpoint[]
}

interface Known {
  readonly key: { readonly ip: IpAddress; readonly port: number; readonly protocol: number }
  readonly id: number
  readonly backends: readonly Endpoint[]
}

/** Keeps `services` and `backends` equal to what setAll was told; adopts what an earlier process wrote. */
export class ServiceTable {
  readonly #services: MapOf<'services'>
  readonly #backends: MapOf<'backends'>
  /** What the kernel holds, by `protocol ip port`; read from the maps when the table is made. */
  readonly #known = new Map<string, Known>()
  #lastId = 0

  constructor(services: MapOf<'services'>, backends: MapOf<'backends'>) {
    this.#services = services
    this.#backends = backends
    this.#adopt()
  }

  /**
   * @param wanted the whole table; of two rows with one vip, port and protocol the last counts
   * @throws MeshError MAP_FULL after everything that fits was written (a service that did not fit keeps its old backends)
   */
  setAll(wanted: readonly VipService[]): void {
    const rows = new Map(wanted.map((row) => [keyText(PROTOCOLS[row.protocol], row), row]))
    for (const [text, known] of this.#known) if (!rows.has(text)) this.#remove(text, known)
    let full: unknown
    for (const [text, row] of rows) {
      try {
        this.#put(text, row)
      } catch (error) {
        if (codeOf(error) !== 'MAP_FULL') throw error
        full = error
      }
    }
    if (full !== undefined) throw full
  }

  #put(text: string, row: VipService): void {
    const backends = row.backends.filter((backend) => isIpv6(backend.ip) === isIpv6(row.vip))
    const known = this.#known.get(text)
    if (known !== undefined && isSameSet(known.backends, backends)) return
    const key = { ip: row.vip, port: row.port, protocol: PROTOCOLS[row.protocol] }
    const id = this.#nextId()
    try {
      for (const [index, backend] of backends.entries()) this.#backends.set({ id, index }, backend)
      this.#services.set(key, { id, count: backends.length })
    } catch (error) {
      this.#drop(id, backends.length)
      throw error
    }
    this.#known.set(text, { key, id, backends })
    if (known !== undefined) this.#drop(known.id, known.backends.length)
  }

  #remove(text: string, known: Known): void {
    this.#services.delete(known.key)
    this.#drop(known.id, known.backends.length)
    this.#known.delete(text)
  }

  #drop(id: number, count: number): void {
    for (let index = 0; index < count; index++) this.#backends.delete({ id, index })
  }

  #nextId(): number {
    this.#lastId = this.#lastId >= 0xffffffff ? 1 : this.#lastId + 1 // 0 means "unused" to the programs
    return this.#lastId
  }

  #adopt(): void {
    const sets = new Map<number, Endpoint[]>()
    for (const [key, backend] of this.#backends.entries()) {
      const set = sets.get(key.id) ?? []
      set[key.index] = backend
      sets.set(key.id, set)
      this.#lastId = Math.max(this.#lastId, key.id)
    }
    const used = new Set<number>()
    for (const [key, { id, count }] of this.#services.entries()) {
      this.#lastId = Math.max(this.#lastId, id)
      this.#known.set(keyText(key.protocol, { vip: key.ip, port: key.port }), { key, id, backends: (sets.get(id) ?? []).slice(0, count) })
      used.add(id)
    }
    for (const [id, set] of sets) if (!used.has(id)) this.#drop(id, set.length) // a process died between two steps
  }
}

function keyText(protocol: number, row: { readonly vip: IpAddress; readonly port: number }): string {
  return `${protocol} ${row.vip} ${row.port}`
}

function isSameSet(a: readonly Endpoint[], b: readonly Endpoint[]): boolean {
  const text = (list: readonly Endpoint[]): string =>
    list
      .map((backend) => `${backend.ip} ${backend.port}`)
      .sort()
      .join()
  return a.length === b.length && text(a) === text(b)
}
