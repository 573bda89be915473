// Addresses of endpoints that are known by a host name only (ServiceEntries with resolution DNS): looked up when they are first needed,
// again when they have expired and are needed still. A name server that is away takes nothing back for a while. Bounded in every direction.
import type { Clock } from '../kit/clock.ts'
import type { IpAddress } from '../model/address.ts'
import { isReachable } from '../model/address.ts'

/** What name servers say. */
export interface NameAnswer {
  readonly addresses: readonly IpAddress[]
  readonly ttlMs: number
}

/** Asks for both families. @returns undefined when nobody answered; no addresses = there is no such name. Never rejects */
export type LookUp = (hostname: string) => Promise<NameAnswer | undefined>

/** What the names work with. */
export interface NamesOptions {
  readonly lookUp: LookUp
  readonly clock: Clock
  /** The addresses of a name are others now. */
  readonly onChange?: (hostname: string) => void
}

interface Entry {
  addresses: readonly IpAddress[]
  /** Monotonic; until then nobody is asked. */
  expiresMs: number
  /** Monotonic; when somebody answered last. */
  answeredMs: number
  /** Set while a look-up is under way. */
  pending: Promise<void> | undefined
}

const SHORTEST_MS = 5_000
const LONGEST_MS = 300_000
/** Addresses of before hold so long while nobody answers. */
const STALE_MS = 600_000
const MOST_NAMES = 4_096
const MOST_LOOKUPS = 64
/** Of one name; more are left out. */
const MOST_ADDRESSES = 64
const NONE: readonly IpAddress[] = []

/** Names of one thread. */
export class Names {
  readonly #options: NamesOptions
  readonly #entries = new Map<string, Entry>()
  #lookups = 0

  constructor(options: NamesOptions) {
    this.#options = options
  }

  /** What is known now; asks in the background when that is nothing or old. The same array while nothing changes. */
  addresses(hostname: string): readonly IpAddress[] {
    const entry = this.#entries.get(hostname)
    if (entry === undefined || entry.expiresMs <= this.#options.clock.monotonicMs()) void this.#ask(hostname, entry)
    return this.#entries.get(hostname)?.addresses ?? NONE
  }

  /** Whether somebody would have to be asked before anything is known. */
  isUnknown(hostname: string): boolean {
    const entry = this.#entries.get(hostname)
    return entry === undefined || (entry.addresses.length === 0 && (entry.pending !== undefined || this.#isDue(entry)))
  }

  /** Resolves when the look-up of each name that is unknown has ended, well or not. */
  async resolve(hostnames: Iterable<string>): Promise<void> {
    const unknown = [...hostnames].filter((hostname) => this.isUnknown(hostname))
    await Promise.all(unknown.map((hostname) => this.#ask(hostname, this.#entries.get(hostname))))
  }

  #isDue({ expiresMs }: Entry): boolean {
    return expiresMs <= this.#options.clock.monotonicMs()
  }

  #ask(hostname: string, known: Entry | undefined): Promise<void> {
    if (known?.pending !== undefined) return known.pending
    if (this.#lookups >= MOST_LOOKUPS) return Promise.resolve()
    const entry = known ?? { addresses: NONE, expiresMs: 0, answeredMs: Number.NEGATIVE_INFINITY, pending: undefined }
    if (known === undefined) this.#add(hostname, entry)
    this.#lookups++
    entry.pending = this.#lookUp(hostname, entry)
    return entry.pending
  }

  async #lookUp(hostname: string, entry: Entry): Promise<void> {
    const { lookUp, clock, onChange } = this.#options
    const answer = await lookUp(hostname)
    this.#lookups--
    entry.pending = undefined
    const nowMs = clock.monotonicMs()
    const before = entry.addresses
    if (answer !== undefined) {
      entry.answeredMs = nowMs
      const found = [...new Set(answer.addresses.filter(isReachable))].sort().slice(0, MOST_ADDRESSES)
      if (found.join() !== before.join()) entry.addresses = found
    } else if (nowMs - entry.answeredMs > STALE_MS) entry.addresses = NONE
    entry.expiresMs = nowMs + Math.min(Math.max(answer?.ttlMs ?? 0, SHORTEST_MS), LONGEST_MS)
    if (entry.addresses !== before) onChange?.(hostname)
  }

  /** The one that was added first makes room. */
  #add(hostname: string, entry: Entry): void {
    const [oldest] = this.#entries.keys()
    if (this.#entries.size >= MOST_NAMES && oldest !== undefined) this.#entries.delete(oldest)
    this.#entries.set(hostname, entry)
  }
}
