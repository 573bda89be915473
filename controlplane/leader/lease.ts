// Leadership by a Lease (coordination.k8s.io/v1). Whoever holds it writes its renewal every two seconds, conditional on the version
// that was read; others take it when they have seen no renewal for its whole duration by their own clock. The holder stops leading
// earlier than that, also when it cannot reach the API: two never lead at once. Follows client-go's leaderelection.
import { type Clock, pause, type Timer } from '../../kit/clock.ts'
import { codeOf, messageOf } from '../../kit/error.ts'
import type { Log } from '../../kit/log.ts'
import type { MeshObject } from '../../model/object.ts'
import type { ObjectApi } from '../../objects/api.ts'
import type { Leader } from './leader.ts'

/** Name of the Lease, in the mesh's own namespace. */
export const LEASE_NAME = 'weft-leader'
/** Others may take the Lease when it has not been renewed for this long. */
export const LEASE_MS = 10_000
/** The holder stops leading this long after it began its last good renewal: well before others may begin. */
export const RENEW_DEADLINE_MS = 7000
/** Pause between two renewals. */
export const RETRY_MS = 2000
/**
 * Pause between two looks at another's Lease; the last one ends when it runs out. A renewal is seen by so much later than it was
 * written, so a killed leader is followed after the lease and this (and its jitter) at the latest.
 */
export const LOOK_MS = 500
const SOONEST_LOOK_MS = 20
const RETRY_SHARE = 0.2
const API_VERSION = 'coordination.k8s.io/v1'
const LONGEST_LEASE_MS = 60_000 // whatever an object says

/** Spec of a Lease; times are RFC 3339 with microseconds. */
export interface LeaseSpec {
  readonly holderIdentity?: string | null
  readonly leaseDurationSeconds?: number
  readonly acquireTime?: string
  readonly renewTime?: string
  readonly leaseTransitions?: number
}

/** `identity`: unique among the replicas, e.g. the pod's name. */
export interface LeaseOptions {
  readonly api: Pick<ObjectApi, 'get' | 'create' | 'patch'>
  readonly namespace: string
  readonly identity: string
  readonly log: Log
  readonly clock: Clock
  /** Uniform in [0, 1). */
  readonly random: () => number
}

/** Takes part in the election from `start` on; disposing of it releases the Lease at once. */
export class LeaseLeader implements Leader, AsyncDisposable {
  readonly #options: LeaseOptions
  readonly #listeners: ((isLeader: boolean) => void)[] = []
  readonly #stopped = new AbortController()
  /** The Lease as it was last read or written; undefined = to be read first. */
  #lease: MeshObject<LeaseSpec> | undefined
  /** Version seen last, and when (monotonic): others' renewals are measured by our clock only. */
  #seen = { version: '', atMs: 0 }
  /** Monotonic ms until which nobody else can lead; 0 = we do not. */
  #leadsUntilMs = 0
  #isTold = false
  #fence: Timer | undefined
  #loop: Promise<void> = Promise.resolve()

  constructor(options: LeaseOptions) {
    this.#options = options
  }

  get isLeader(): boolean {
    return this.#options.clock.monotonicMs() < this.#leadsUntilMs
  }

  /** Who holds the Lease as far as this replica knows; '' = nobody. */
  get holder(): string {
    return this.#lease?.spec?.holderIdentity ?? ''
  }

  onChange(tell: (isLeader: boolean) => void): void {
    this.#listeners.push(tell)
  }

  /** Begins to take part. */
  start(): void {
    this.#loop = this.#run()
  }

  /** Stops; gives the Lease back so that another replica need not wait. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped.abort()
    await this.#loop // a renewal that is under way may still succeed
    const held = this.isLeader && this.holder === this.#options.identity ? this.#lease : undefined
    this.#stepDown()
    if (held !== undefined) await this.#release(held)
  }

  async #run(): Promise<void> {
    const { clock, log, random } = this.#options
    const { signal } = this.#stopped
    while (!signal.aborted) {
      try {
        await this.#tryOnce()
      } catch (error) {
        this.#lease = undefined // read again
        if (codeOf(error) !== 'CONFLICT')
          log.warn('the lease could not be read or renewed', { code: codeOf(error), error: messageOf(error) })
      }
      await pause(clock, this.#pauseMs() * (1 + RETRY_SHARE * (random() - 0.5)), signal)
    }
  }

  async #tryOnce(): Promise<void> {
    const { clock, identity } = this.#options
    const lease = this.#lease?.spec?.holderIdentity === identity && this.isLeader ? this.#lease : await this.#read()
    const beganMs = clock.monotonicMs()
    if (lease === undefined) {
      await this.#write(beganMs, () => this.#create())
      return
    }
    this.#observe(lease)
    if (this.#isHeldByOther(lease)) return this.#stepDown()
    await this.#write(beganMs, () => this.#renew(lease))
  }

  async #read(): Promise<MeshObject<LeaseSpec> | undefined> {
    const { api, namespace } = this.#options
    try {
      return (await api.get('leases', namespace, LEASE_NAME)) as MeshObject<LeaseSpec>
    } catch (error) {
      if (codeOf(error) === 'NOT_FOUND') return undefined
      throw error
    }
  }

  #observe(lease: MeshObject<LeaseSpec>): void {
    this.#lease = lease
    const version = lease.metadata.resourceVersion ?? ''
    if (version !== this.#seen.version) this.#seen = { version, atMs: this.#options.clock.monotonicMs() }
  }

  #isHeldByOther(lease: MeshObject<LeaseSpec>): boolean {
    return this.#othersMs(lease) > 0
  }

  /** For how long the Lease is another's by what was seen of it; 0 = it may be taken. */
  #othersMs({ spec }: MeshObject<LeaseSpec>): number {
    const holder = spec?.holderIdentity ?? ''
    if (holder === '' || holder === this.#options.identity) return 0
    const saidMs = Number(spec?.leaseDurationSeconds ?? 0) * 1000
    const lifeMs = saidMs > 0 ? Math.min(saidMs, LONGEST_LEASE_MS) : LEASE_MS
    return Math.max(0, this.#seen.atMs + lifeMs - this.#options.clock.monotonicMs())
  }

  #pauseMs(): number {
    const othersMs = this.#lease === undefined ? 0 : this.#othersMs(this.#lease)
    return othersMs === 0 ? RETRY_MS : Math.min(LOOK_MS, othersMs + SOONEST_LOOK_MS)
  }

  async #write(beganMs: number, write: () => Promise<MeshObject>): Promise<void> {
    this.#observe((await write()) as MeshObject<LeaseSpec>)
    if (this.#stopped.signal.aborted) this.#leadsUntilMs = beganMs + RENEW_DEADLINE_MS
    else this.#lead(beganMs + RENEW_DEADLINE_MS)
  }

  #create(): Promise<MeshObject> {
    const { api, namespace } = this.#options
    const metadata = { name: LEASE_NAME, namespace }
    return api.create({ apiVersion: API_VERSION, kind: 'Lease', metadata, spec: this.#claim(undefined) })
  }

  #renew({ metadata, spec }: MeshObject<LeaseSpec>): Promise<MeshObject> {
    const { api, namespace } = this.#options
    const lock = { metadata: { resourceVersion: metadata.resourceVersion } }
    return api.patch('leases', namespace, LEASE_NAME, { ...lock, spec: this.#claim(spec) })
  }

  #claim(old: LeaseSpec | undefined): LeaseSpec {
    const { identity, clock } = this.#options
    const renewTime = microTime(clock.nowMs())
    const common = { holderIdentity: identity, leaseDurationSeconds: LEASE_MS / 1000, renewTime }
    if (old?.holderIdentity === identity) return common
    return { ...common, acquireTime: renewTime, leaseTransitions: old === undefined ? 0 : (old.leaseTransitions ?? 0) + 1 }
  }

  #lead(untilMs: number): void {
    const { clock, log, identity } = this.#options
    this.#leadsUntilMs = untilMs
    this.#fence?.[Symbol.dispose]()
    this.#fence = clock.after(untilMs - clock.monotonicMs(), () => {
      log.warn('no longer leading: the lease could not be renewed in time', { identity })
      this.#stepDown()
    })
    this.#fence.unref()
    if (this.#isTold || !this.isLeader) return
    log.info('leading', { identity })
    this.#tell(true)
  }

  #stepDown(): void {
    this.#fence?.[Symbol.dispose]()
    this.#leadsUntilMs = 0
    if (this.#isTold) this.#tell(false)
  }

  #tell(isLeader: boolean): void {
    this.#isTold = isLeader
    for (const tell of this.#listeners) tell(isLeader)
  }

  async #release({ metadata }: MeshObject): Promise<void> {
    const { api, namespace, log, clock } = this.#options
    const lock = { metadata: { resourceVersion: metadata.resourceVersion } }
    const spec = { holderIdentity: null, leaseDurationSeconds: 1, renewTime: microTime(clock.nowMs()) }
    try {
      await api.patch('leases', namespace, LEASE_NAME, { ...lock, spec })
    } catch (error) {
      log.warn('the lease could not be released: others wait until it runs out', { code: codeOf(error), error: messageOf(error) })
    }
  }
}

/** RFC 3339 with microseconds, as Leases have it. */
function microTime(unixMs: number): string {
  return new Date(unixMs).toISOString().replace('Z', '000Z')
}
