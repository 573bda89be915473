// The root in Secrets of the mesh's own namespace: made once by whichever replica is first, read again every few seconds, so that
// all replicas follow a change without a restart. The leader alone moves a rotation on. A Secret that is broken never replaces
// the authority in force, and a new root is never made while an old one could be meant.
import { createHash } from 'node:crypto'
import { type CaLimits, CertificateAuthority } from '../../certs/ca.ts'
import { Backoff } from '../../kit/backoff.ts'
import { type Clock, pause } from '../../kit/clock.ts'
import { codeOf, messageOf, type Result } from '../../kit/error.ts'
import type { Log } from '../../kit/log.ts'
import type { MeshObject } from '../../model/object.ts'
import type { ObjectApi } from '../../objects/api.ts'
import { controlplaneFailure } from '../errors.ts'
import type { Leader } from '../leader/leader.ts'
import { LiveAuthority } from './live-authority.ts'
import { CACERTS_SECRET, materialAt, OWN_SECRET, overlapMs, type RootMaterial, type RootSecrets, secretData } from './root-material.ts'
import { patchFor, stepAt } from './rotation.ts'

/** How often the Secrets are read: a change is in force this much later. */
export const ROOT_POLL_MS = 10_000
const WAIT_FOR_API: ReadonlySet<string> = new Set(['API_UNREACHABLE', 'NOT_READY', 'CONFLICT', 'API_FAILED'])

/** What the keeper works with. `limits` hold for the authority that is made of the Secrets. */
export interface RootKeeperOptions {
  readonly api: Pick<ObjectApi, 'get' | 'create' | 'patch'>
  readonly namespace: string
  readonly trustDomain: string
  readonly limits: Required<CaLimits>
  readonly leader: Leader
  readonly clock: Clock
  readonly log: Log
}

/** Follows the Secrets; dispose of it to stop. */
export class RootKeeper implements Disposable {
  readonly live: LiveAuthority
  readonly #options: RootKeeperOptions
  readonly #overlapMs: number
  readonly #stopped = new AbortController()
  #secrets: RootSecrets
  #state: string // what `live` was made of

  private constructor(options: RootKeeperOptions, secrets: RootSecrets, first: CertificateAuthority, state: string) {
    this.#options = options
    this.#overlapMs = overlapMs(options.limits.maxTtlMs)
    this.#secrets = secrets
    this.#state = state
    this.live = new LiveAuthority(first)
  }

  /**
   * Reads the root, or makes it when there is none; waits while the API does not answer.
   * @throws CA_STORE_BROKEN when a Secret is there and cannot be used, FORBIDDEN when a right is missing
   */
  static async open(options: RootKeeperOptions, signal: AbortSignal): Promise<RootKeeper> {
    const backoff = new Backoff({ minMs: 200, maxMs: 5000 })
    for (;;) {
      try {
        const secrets = await readOrMake(options)
        const now = options.clock.nowMs()
        const root = must(materialAt(secrets, now, overlapMs(options.limits.maxTtlMs)), options)
        const authority = await authorityOf(root, options)
        return new RootKeeper(options, secrets, authority, stateOf(secrets, root))
      } catch (error) {
        if (signal.aborted || !WAIT_FOR_API.has(codeOf(error))) throw error
        options.log.warn('the root cannot be read yet', { code: codeOf(error), error: messageOf(error) })
        await pause(options.clock, backoff.nextMs(), signal)
      }
    }
  }

  /** Follows the Secrets from now on. */
  start(): void {
    void this.#run()
  }

  [Symbol.dispose](): void {
    this.#stopped.abort()
  }

  /** Reads the Secrets now; the leader then does what is due. Never rejects. */
  async refresh(): Promise<void> {
    const { log, leader } = this.#options
    try {
      const secrets = await read(this.#options)
      if (secrets.own === undefined && secrets.cacerts === undefined) return await this.#restore()
      await this.#take(secrets)
      if (leader.isLeader) await this.#move()
    } catch (error) {
      const fields = { code: codeOf(error), error: messageOf(error) }
      if (codeOf(error) === 'CONFLICT') log.debug('the root Secret was changed meanwhile', fields)
      else log.warn('the root Secrets could not be followed; the authority in force stays', fields)
    }
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopped
    while (!signal.aborted) {
      await pause(this.#options.clock, ROOT_POLL_MS, signal)
      if (!signal.aborted) await this.refresh()
    }
  }

  async #take(secrets: RootSecrets): Promise<void> {
    const { log, clock } = this.#options
    const root = must(materialAt(secrets, clock.nowMs(), this.#overlapMs), this.#options)
    const state = stateOf(secrets, root)
    if (state !== this.#state) {
      const next = await authorityOf(root, this.#options)
      const ends = root.endsMs === undefined ? undefined : new Date(root.endsMs).toISOString()
      const roots = next.rootsPem.split('-----BEGIN').length - 1
      log.info('root reloaded', { phase: root.phase, ends, roots, notAfter: next.notAfter.toISOString() })
      this.#state = state
      this.live.replace(next)
    }
    this.#secrets = secrets
  }

  /** Does the one thing that is due. */
  async #move(): Promise<void> {
    const { api, namespace, trustDomain, clock, log } = this.#options
    const { own } = this.#secrets
    const step = stepAt(this.#secrets, clock.nowMs(), this.#overlapMs)
    if (step === undefined || own === undefined) return
    const { resourceVersion } = own.metadata
    const { data, annotations } = await patchFor(step, own, { trustDomain, clock })
    const lock = { metadata: { resourceVersion, annotations } }
    const changed = await api.patch('secrets', namespace, OWN_SECRET, data === undefined ? lock : { ...lock, data })
    log.info('root rotation', { step, secret: `${namespace}/${OWN_SECRET}` })
    await this.#take({ ...this.#secrets, own: changed })
  }

  /** Both Secrets are gone while their root is in force: a restart would make another one and cut everybody off. */
  async #restore(): Promise<void> {
    const { api, namespace, log, leader } = this.#options
    const { own } = this.#secrets
    if (own === undefined || !leader.isLeader)
      return log.error('the root Secret is gone; restore it before the last replica ends', { namespace })
    const { annotations = {} } = own.metadata
    const secret = { apiVersion: 'v1', kind: 'Secret', metadata: { name: OWN_SECRET, namespace, annotations }, data: own.data }
    log.warn('the root Secret was deleted: written back as it is in force', { secret: `${namespace}/${OWN_SECRET}` })
    await this.#take({ own: await api.create(secret), cacerts: undefined })
  }
}

async function readOrMake(options: RootKeeperOptions): Promise<RootSecrets> {
  const { api, namespace, trustDomain, clock, log } = options
  const secrets = await read(options)
  if (secrets.own !== undefined || secrets.cacerts !== undefined) return secrets
  const { material } = await CertificateAuthority.selfSigned({ trustDomain, clock })
  const metadata = { name: OWN_SECRET, namespace }
  try {
    const own = await api.create({ apiVersion: 'v1', kind: 'Secret', metadata, data: secretData(material) })
    log.info('root made', { secret: `${namespace}/${OWN_SECRET}` })
    return { own, cacerts: undefined }
  } catch (error) {
    if (codeOf(error) !== 'CONFLICT') throw error
    return read(options) // another replica was faster
  }
}

async function read({ api, namespace }: RootKeeperOptions): Promise<RootSecrets> {
  const one = async (name: string): Promise<MeshObject | undefined> => {
    try {
      return await api.get('secrets', namespace, name)
    } catch (error) {
      if (codeOf(error) === 'NOT_FOUND') return undefined
      throw error
    }
  }
  const [own, cacerts] = await Promise.all([one(OWN_SECRET), one(CACERTS_SECRET)])
  return { own, cacerts }
}

/** @throws CA_STORE_BROKEN */
async function authorityOf({ material, next }: RootMaterial, options: RootKeeperOptions): Promise<CertificateAuthority> {
  const { trustDomain, clock, limits } = options
  try {
    // The next one is looked at now: not on the day when it is to sign.
    if (next !== undefined) await CertificateAuthority.fromPem({ ...next, trustDomain, clock, limits })
    return await CertificateAuthority.fromPem({ ...material, trustDomain, clock, limits })
  } catch (cause) {
    throw broken(options, cause)
  }
}

function must(root: Result<RootMaterial>, options: RootKeeperOptions): RootMaterial {
  if (root.ok) return root.value
  throw broken(options, root.errors.join('; '))
}

function broken({ namespace }: RootKeeperOptions, cause: unknown): Error {
  return controlplaneFailure('CA_STORE_BROKEN', { secrets: `${namespace}/${OWN_SECRET}, ${namespace}/${CACERTS_SECRET}` }, cause)
}

/** Changes when another authority is to be made. */
function stateOf({ own, cacerts }: RootSecrets, { phase }: RootMaterial): string {
  return JSON.stringify(
    [own?.data, cacerts?.data, phase].map((part) =>
      createHash('sha256')
        .update(JSON.stringify(part ?? ''))
        .digest('hex'),
    ),
  )
}
