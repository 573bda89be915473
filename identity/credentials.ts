// A proxy thread's certificates: one TLS context and one peer admission per identity, put in by whoever fetches them.
// Connections wait for their identity's first certificate (bounded) instead of failing. Called by ztunnel/ and waypoint/.
import { constants } from 'node:crypto'
import tls from 'node:tls'
import { parseBundle } from '../certs/bundle.ts'
import { PeerAdmission } from '../certs/peer.ts'
import type { Clock } from '../kit/clock.ts'
import { messageOf } from '../kit/error.ts'
import type { SpiffeId } from '../model/identity.ts'
import { identityFailure } from './errors.ts'

/** What TLS connections of one identity are made from. */
export interface Credentials {
  readonly id: SpiffeId
  readonly secureContext: tls.SecureContext
  /** The same as options, for tls.Server.setSecureContext. */
  readonly contextOptions: tls.SecureContextOptions
  readonly admission: PeerAdmission
  readonly notAfterMs: number
}

/** A certificate with its key, as TLS contexts are made from it. PEM text; the chain's leaf is first. */
export interface CredentialText {
  readonly id: SpiffeId
  readonly chainPem: string
  readonly keyPem: string
  readonly rootsPem: string
  /** Unix milliseconds. */
  readonly notAfterMs: number
}

/** Asks whoever fetches certificates: `realtime` = a connection waits, `warmup` = a pod has come. */
export type RequestCertificate = (id: SpiffeId, priority: 'realtime' | 'warmup') => void

/** TLS as HBONE has it: 1.3 only, AES-GCM, no resumption. */
const HBONE_TLS = {
  minVersion: 'TLSv1.3',
  maxVersion: 'TLSv1.3',
  ciphers: 'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384',
  secureOptions: constants.SSL_OP_NO_TICKET, // a resumed session would skip the check of the peer's certificate
} as const satisfies tls.SecureContextOptions

/** Credentials by identity. */
export class CredentialStore {
  readonly #options: {
    readonly trustDomain: string
    readonly clock: Clock
    readonly waitMs: number
    readonly request: RequestCertificate
  }
  readonly #known = new Map<SpiffeId, Credentials>()
  readonly #waiting = new Map<SpiffeId, Set<(credentials: Credentials) => void>>()
  /** Why the last try for an identity failed; cleared by a certificate. */
  readonly #reasons = new Map<SpiffeId, string>()
  readonly #listeners = new Set<(credentials: Credentials) => void>()

  /** @param options.request asks for a certificate; called each time a waiter comes while none is there */
  constructor(options: { trustDomain: string; clock: Clock; waitMs: number; request: RequestCertificate }) {
    this.#options = options
  }

  /** The valid credentials of an identity, waited for. @throws MeshError CERTIFICATE_TIMEOUT */
  async get(id: SpiffeId): Promise<Credentials> {
    return this.peek(id) ?? this.#wait(id)
  }

  /** The valid credentials that are here now. */
  peek(id: SpiffeId): Credentials | undefined {
    const known = this.#known.get(id)
    return known !== undefined && known.notAfterMs > this.#options.clock.nowMs() ? known : undefined
  }

  /** Takes a certificate; wakes waiters, tells listeners. One that cannot be used counts as failed. */
  put(message: CredentialText): void {
    let credentials: Credentials
    try {
      credentials = this.#make(message)
    } catch (error) {
      this.failed(message.id, messageOf(error)) // what was there before stays in use while it is valid
      return
    }
    this.#known.set(message.id, credentials)
    this.#reasons.delete(message.id)
    const waiting = this.#waiting.get(message.id) ?? []
    this.#waiting.delete(message.id)
    for (const wake of waiting) wake(credentials)
    for (const tell of this.#listeners) tell(credentials)
  }

  /** Keeps why there is no certificate yet, for the error of those who wait. */
  failed(id: SpiffeId, reason: string): void {
    this.#reasons.set(id, reason)
  }

  /** Asks for a certificate before it is needed. */
  prefetch(id: SpiffeId): void {
    if (this.peek(id) === undefined) this.#options.request(id, 'warmup')
  }

  /** Drops an identity that no pod has any more. */
  forget(id: SpiffeId): void {
    this.#known.delete(id)
    this.#reasons.delete(id)
  }

  onRenewed(tell: (credentials: Credentials) => void): Disposable {
    this.#listeners.add(tell)
    return { [Symbol.dispose]: () => void this.#listeners.delete(tell) }
  }

  /** @throws Error without usable roots, or of OpenSSL */
  #make(message: CredentialText): Credentials {
    const { clock, trustDomain } = this.#options
    const bundle = parseBundle(message.rootsPem, trustDomain)
    if (!bundle.ok) throw new Error(bundle.errors.join('; ')) // nobody could be admitted
    const contextOptions = { ...HBONE_TLS, cert: message.chainPem, key: message.keyPem, ca: message.rootsPem }
    return {
      id: message.id,
      secureContext: tls.createSecureContext(contextOptions),
      contextOptions,
      admission: new PeerAdmission({ bundle: () => bundle.value, clock }),
      notAfterMs: message.notAfterMs,
    }
  }

  #wait(id: SpiffeId): Promise<Credentials> {
    return new Promise((resolve, reject) => {
      const waiting = this.#waiting.get(id) ?? new Set()
      this.#waiting.set(id, waiting)
      const timer = this.#options.clock.after(this.#options.waitMs, () => {
        waiting.delete(wake)
        reject(identityFailure('CERTIFICATE_TIMEOUT', { id, reason: this.#reasons.get(id) }))
      })
      const wake = (credentials: Credentials): void => {
        timer[Symbol.dispose]()
        resolve(credentials)
      }
      waiting.add(wake)
      this.#options.request(id, 'realtime')
    })
  }
}
