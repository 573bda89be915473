// Keeps one certificate per identity of the node's pods: fetched when first needed, renewed at half of its life, kept while
// it is valid although renewal fails. Runs on the admin thread. Follows istio/ztunnel:src/identity/manager.rs.
import { Backoff } from '../kit/backoff.ts'
import type { Clock, Timer } from '../kit/clock.ts'
import { messageOf } from '../kit/error.ts'
import type { Log } from '../kit/log.ts'
import type { Identity, SpiffeId } from '../model/identity.ts'
import { spiffeIdOf } from '../model/identity.ts'
import { identityFailure } from './errors.ts'
import type { CertificateSource, WorkloadCertificate } from './ca-client.ts'

/** Who waits: a connection (`realtime`), a pod that was just announced (`warmup`), or nobody yet (`background`, renewals). */
export type Priority = 'realtime' | 'warmup' | 'background'

/** State of one identity, for dumps. `error` = the last fetch failed; a certificate beside it is still valid. */
export interface CertificateState {
  readonly id: SpiffeId
  readonly certificate: WorkloadCertificate | undefined
  readonly error: unknown
}

interface Entry {
  readonly id: SpiffeId
  readonly identity: Identity
  readonly backoff: Backoff
  certificate: WorkloadCertificate | undefined
  error: unknown
  /** Set while the entry stands in the queue; the lowest number goes first. */
  queuedAs: number | undefined
  isFetching: boolean
  /** Set while a retry or a renewal is due later. */
  timer: Timer | undefined
  /** When the last try failed (monotonic ms); cleared by a certificate. */
  failedAtMs: number | undefined
  waiters: { resolve(certificate: WorkloadCertificate): void; reject(error: unknown): void }[]
}

const RANK: Record<Priority, number> = { realtime: 0, warmup: 1, background: 2 }
const MOST_FETCHES = 8
const RETRY = { minMs: 500, maxMs: 150_000, jitter: 0.2 }
/** A CA that issues certificates without life must not be asked in a loop. */
const SOONEST_RENEWAL_MS = 1000
const MOST_IDENTITIES = 10_000

/** Certificates of the identities that this node's pods have. */
export class CertificateManager {
  readonly #source: CertificateSource
  readonly #clock: Clock
  readonly #log: Log
  readonly #random: () => number
  readonly #entries = new Map<SpiffeId, Entry>()
  readonly #listeners = new Set<(certificate: WorkloadCertificate) => void>()
  #fetches = 0

  constructor(options: { caClient: CertificateSource; clock: Clock; log: Log; random: () => number }) {
    this.#source = options.caClient
    this.#clock = options.clock
    this.#log = options.log
    this.#random = options.random
  }

  /**
   * The identity's certificate: at once when a valid one is held, else after a fetch, which others that ask share.
   * @throws MeshError CERTIFICATE_REFUSED, CERTIFICATE_INVALID (of the try that was waited for; tries go on in the background)
   */
  async get(identity: Identity, priority: Priority): Promise<WorkloadCertificate> {
    const entry = this.#entryOf(identity)
    if (entry.certificate !== undefined && entry.certificate.notAfter.getTime() > this.#clock.nowMs()) return entry.certificate
    return new Promise((resolve, reject) => {
      entry.waiters.push({ resolve, reject })
      if (entry.failedAtMs === undefined || entry.isFetching || entry.queuedAs !== undefined) this.#enqueue(entry, priority)
      else if (priority === 'realtime') this.#retrySoon(entry, entry.failedAtMs)
    })
  }

  /** Stops renewing an identity that no local pod has any more. Its certificate is dropped. */
  forget(identity: Identity): void {
    const entry = this.#entries.get(spiffeIdOf(identity))
    if (entry === undefined) return
    this.#entries.delete(entry.id)
    entry.timer?.[Symbol.dispose]()
    const gone = identityFailure('CERTIFICATE_REFUSED', { id: entry.id, reason: 'no pod of this node has the identity any more' })
    for (const waiter of entry.waiters.splice(0)) waiter.reject(gone)
  }

  /** Calls `tell` with every certificate that was fetched, first ones and renewals. */
  onRenewed(tell: (certificate: WorkloadCertificate) => void): void {
    this.#listeners.add(tell)
  }

  list(): CertificateState[] {
    return [...this.#entries.values()].map(({ id, certificate, error }) => ({ id, certificate, error }))
  }

  /** Ends everything; nothing is fetched after it. */
  close(): void {
    for (const entry of [...this.#entries.values()]) this.forget(entry.identity)
    this.#source.close()
  }

  #entryOf(identity: Identity): Entry {
    const id = spiffeIdOf(identity)
    let entry = this.#entries.get(id)
    if (entry === undefined) {
      if (this.#entries.size >= MOST_IDENTITIES)
        throw identityFailure('CERTIFICATE_REFUSED', { id, reason: `more than ${MOST_IDENTITIES} identities` })
      const backoff = new Backoff({ ...RETRY, random: this.#random })
      entry = {
        id,
        identity,
        backoff,
        certificate: undefined,
        error: undefined,
        queuedAs: undefined,
        isFetching: false,
        timer: undefined,
        failedAtMs: undefined,
        waiters: [],
      }
      this.#entries.set(id, entry)
    }
    return entry
  }

  #enqueue(entry: Entry, priority: Priority): void {
    if (entry.isFetching) return
    entry.timer?.[Symbol.dispose]()
    entry.timer = undefined
    entry.queuedAs = Math.min(entry.queuedAs ?? RANK.background, RANK[priority])
    this.#next()
  }

  /** A connection waits: the back-off is cut short, but one identity is never asked for faster than its first retry. */
  #retrySoon(entry: Entry, failedAtMs: number): void {
    const delayMs = failedAtMs + RETRY.minMs - this.#clock.monotonicMs()
    if (delayMs <= 0) this.#enqueue(entry, 'realtime')
    else this.#later(entry, delayMs, 'realtime')
  }

  #next(): void {
    while (this.#fetches < MOST_FETCHES) {
      let best: Entry | undefined
      for (const entry of this.#entries.values()) {
        if (entry.queuedAs !== undefined && (best?.queuedAs === undefined || entry.queuedAs < best.queuedAs)) best = entry
      }
      if (best === undefined) return
      best.queuedAs = undefined
      best.isFetching = true
      this.#fetches++
      void this.#fetch(best)
    }
  }

  async #fetch(entry: Entry): Promise<void> {
    try {
      this.#fetched(entry, await this.#source.fetch(entry.identity))
    } catch (error) {
      this.#failed(entry, error)
    } finally {
      this.#fetches--
      this.#next()
    }
  }

  #fetched(entry: Entry, certificate: WorkloadCertificate): void {
    entry.isFetching = false
    if (this.#entries.get(entry.id) !== entry) return
    entry.certificate = certificate
    entry.error = undefined
    entry.failedAtMs = undefined
    entry.backoff.reset()
    const half = (certificate.notAfter.getTime() - this.#clock.nowMs()) / 2
    this.#later(entry, Math.max(half, SOONEST_RENEWAL_MS), 'background')
    this.#log.info('certificate fetched', {
      id: entry.id,
      serial: certificate.serial,
      notAfter: certificate.notAfter.toISOString(),
    })
    for (const waiter of entry.waiters.splice(0)) waiter.resolve(certificate)
    for (const tell of this.#listeners) tell(certificate)
  }

  #failed(entry: Entry, error: unknown): void {
    entry.isFetching = false
    if (this.#entries.get(entry.id) !== entry) return
    entry.error = error
    entry.failedAtMs = this.#clock.monotonicMs()
    const delayMs = entry.backoff.nextMs()
    this.#later(entry, delayMs, entry.certificate === undefined ? 'warmup' : 'background')
    this.#log.warn('no certificate', {
      id: entry.id,
      error: messageOf(error),
      retryMs: Math.round(delayMs),
      isStillValid: entry.certificate !== undefined,
    })
    for (const waiter of entry.waiters.splice(0)) waiter.reject(error)
  }

  #later(entry: Entry, delayMs: number, priority: Priority): void {
    entry.timer?.[Symbol.dispose]()
    entry.timer = this.#clock.after(delayMs, () => {
      entry.timer = undefined
      this.#enqueue(entry, priority)
    })
    entry.timer.unref()
  }
}
