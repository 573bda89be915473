// One pinned BPF map with typed keys and values. The agent and ztunnel open maps by pin; only load.ts creates them.
import { closeSync, existsSync } from 'node:fs'
import { bpfFailure } from './errors.ts'
import type { Layout } from './layout.ts'
import { bpfErrno, Errno, libbpf } from './libbpf.ts'
import type { MapName } from './spec.ts'
import { MAPS, pins, STATS } from './spec.ts'

/** The map type of a name, e.g. `MapOf<'pods'>`. */
export type MapOf<Name extends MapName> = (typeof MAPS)[Name] extends { key: Layout<infer K>; value: Layout<infer V> }
  ? BpfMap<K, V>
  : never

/**
 * @param directory the node's pins
 * @throws MeshError PIN_MISSING, PIN_UNREADABLE
 */
export function openMap<Name extends MapName>(directory: string, name: Name): MapOf<Name> {
  const { key, value } = MAPS[name]
  return new BpfMap(name, openPin(pins.map(directory, name)), key as Layout<unknown>, value as Layout<unknown>) as MapOf<Name>
}

/** @returns an fd. @throws MeshError PIN_MISSING, PIN_UNREADABLE */
export function openPin(path: string): number {
  const fd = libbpf().get(path)
  if (fd >= 0) return fd
  const errno = bpfErrno()
  throw bpfFailure(errno === Errno.ENOENT || !existsSync(path) ? 'PIN_MISSING' : 'PIN_UNREADABLE', { path, errno })
}

/** A map of the kernel; disposing closes the fd and leaves the map. */
export class BpfMap<K, V> implements Disposable {
  readonly name: string
  readonly fd: number
  readonly #key: Layout<K>
  readonly #value: Layout<V>
  #isOpen = true

  constructor(name: string, fd: number, key: Layout<K>, value: Layout<V>) {
    this.name = name
    this.fd = fd
    this.#key = key
    this.#value = value
  }

  /** @throws MeshError MAP_FAILED */
  get(key: K): V | undefined {
    const out = Buffer.alloc(this.#value.bytes)
    if (libbpf().lookup(this.fd, this.#key.encode(key), out) >= 0) return this.#value.decode(out)
    if (bpfErrno() === Errno.ENOENT) return undefined
    throw this.#failed('lookup')
  }

  /**
   * @param mode `new` = only when the key is absent
   * @returns false when `new` found the key
   * @throws MeshError MAP_FULL, MAP_FAILED
   */
  set(key: K, value: V, mode: 'any' | 'new' = 'any'): boolean {
    const result = libbpf().update(this.fd, this.#key.encode(key), this.#value.encode(value), mode === 'new' ? BPF_NOEXIST : BPF_ANY)
    if (result >= 0) return true
    const errno = bpfErrno()
    if (errno === Errno.EEXIST && mode === 'new') return false
    if (errno === Errno.E2BIG) throw bpfFailure('MAP_FULL', { map: this.name })
    throw this.#failed('update', errno)
  }

  /** @returns whether the key was there. @throws MeshError MAP_FAILED */
  delete(key: K): boolean {
    if (libbpf().remove(this.fd, this.#key.encode(key)) >= 0) return true
    if (bpfErrno() === Errno.ENOENT) return false
    throw this.#failed('delete')
  }

  /** Every entry; one that changes meanwhile may be old or missing. Hash maps only. @throws MeshError MAP_FAILED */
  entries(): [K, V][] {
    const found: [K, V][] = []
    this.#batches((keys, values, count) => {
      for (let i = 0; i < count; i++) {
        const key = this.#key.read(keys, i * this.#key.bytes)
        found.push([key, this.#value.read(values, i * this.#value.bytes)])
      }
    })
    return found
  }

  /** Number of entries. Hash maps only. @throws MeshError MAP_FAILED */
  count(): number {
    let total = 0
    this.#batches((_keys, _values, count) => {
      total += count
    })
    return total
  }

  [Symbol.dispose](): void {
    if (this.#isOpen) closeSync(this.fd)
    this.#isOpen = false
  }

  #batches(take: (keys: Buffer, values: Buffer, count: number) => void): void {
    let size = FIRST_BATCH
    let keys = Buffer.alloc(size * this.#key.bytes)
    let values = Buffer.alloc(size * this.#value.bytes)
    let from: Buffer | null = null
    for (;;) {
      const to = Buffer.alloc(Math.max(4, this.#key.bytes))
      const count = [size]
      const result = libbpf().lookupBatch(this.fd, from, to, keys, values, count, null)
      const errno = result < 0 ? bpfErrno() : 0
      if (errno === Errno.ENOSPC && size < LARGEST_BATCH) {
        size *= 4 // one bucket holds more than fits
        keys = Buffer.alloc(size * this.#key.bytes)
        values = Buffer.alloc(size * this.#value.bytes)
        continue
      }
      if (errno !== 0 && errno !== Errno.ENOENT) throw this.#failed('lookup batch', errno)
      take(keys, values, count[0] ?? 0)
      if (errno === Errno.ENOENT) return // the end
      from = to
    }
  }

  #failed(call: string, errno: number = bpfErrno()): Error {
    return bpfFailure('MAP_FAILED', { map: this.name, call, errno })
  }
}

/**
 * The node's counters, summed over all CPUs.
 * @throws MeshError PIN_MISSING, MAP_FAILED
 */
export function readStats(directory: string): Record<(typeof STATS)[number], bigint> {
  const fd = openPin(pins.map(directory, 'stats'))
  try {
    const key = Buffer.alloc(4)
    const perCpu = Buffer.alloc(8 * libbpf().cpus())
    const totals = STATS.map((name, i) => {
      key.writeUInt32LE(i)
      if (libbpf().lookup(fd, key, perCpu) < 0) throw bpfFailure('MAP_FAILED', { map: 'stats', call: 'lookup', errno: bpfErrno() })
      let total = 0n
      for (let at = 0; at < perCpu.length; at += 8) total += perCpu.readBigUInt64LE(at)
      return [name, total] as const
    })
    return Object.fromEntries(totals) as Record<(typeof STATS)[number], bigint>
  } finally {
    closeSync(fd)
  }
}

const BPF_ANY = 0
const BPF_NOEXIST = 1
const FIRST_BATCH = 1024
const LARGEST_BATCH = 65536
