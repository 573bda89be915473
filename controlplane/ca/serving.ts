// The control plane's own serving certificate: signed by its CA, renewed at half-life, put into the running gRPC server.
import type { SecureContextOptions } from 'node:tls'
import { ServerCredentials } from '@grpc/grpc-js'
import type { CertificateAuthority } from '../../certs/ca.ts'
import { checkCsr, createCsr } from '../../certs/csr.ts'
import type { Clock, Timer } from '../../kit/clock.ts'
import { messageOf } from '../../kit/error.ts'
import type { Log } from '../../kit/log.ts'
import type { IpAddress } from '../../model/address.ts'
import type { SpiffeId } from '../../model/identity.ts'

const LIFE_MS = 24 * 3_600_000
const RETRY_MS = 30_000

/** TLS credentials of a gRPC server whose certificate can change while it runs. */
export class RotatingCredentials extends ServerCredentials {
  constructor() {
    super({}, { minVersion: 'TLSv1.2' })
  }

  /** New connections are served with this certificate. */
  rotate(options: SecureContextOptions): void {
    this.updateSecureContextOptions({ minVersion: 'TLSv1.2', ...options })
  }

  override _isSecure(): boolean {
    return true
  }

  override _equals(other: ServerCredentials): boolean {
    return this === other
  }
}

/** What is certified. */
export interface ServingOptions {
  readonly authority: () => CertificateAuthority
  /** Name of the request only: the certificate carries DNS names and addresses. */
  readonly id: SpiffeId
  readonly dnsNames: readonly string[]
  readonly ips: readonly IpAddress[]
  readonly clock: Clock
  readonly log: Log
}

/** Issues and renews; dispose of it to stop. */
export class ServingCertificate implements Disposable {
  readonly credentials = new RotatingCredentials()
  readonly #options: ServingOptions
  #timer: Timer | undefined
  #isStopped = false

  constructor(options: ServingOptions) {
    this.#options = options
  }

  /** Issues the first certificate. @throws MeshError of certs/ */
  async start(): Promise<void> {
    this.#schedule(await this.#renew())
  }

  [Symbol.dispose](): void {
    this.#isStopped = true
    this.#timer?.[Symbol.dispose]()
  }

  /** Issues another one soon: the authority has changed. */
  renew(): void {
    this.#timer?.[Symbol.dispose]()
    this.#schedule(0)
  }

  /** @returns ms until the next renewal */
  async #renew(): Promise<number> {
    const { authority, id, dnsNames, ips, clock, log } = this.#options
    const { csrPem, keyPem } = await createCsr({ id })
    const csr = await checkCsr(csrPem)
    if (!csr.ok) throw new TypeError(csr.errors.join('; '))
    const issued = await authority().issue({ publicKey: csr.value.publicKey, dns: dnsNames, ips, ttlMs: LIFE_MS })
    this.credentials.rotate({ cert: issued.chainPem.join(''), key: keyPem })
    log.info('serving certificate issued', { dnsNames, ips, notAfter: issued.notAfter.toISOString() })
    return (issued.notAfter.getTime() - clock.nowMs()) / 2
  }

  #schedule(delayMs: number): void {
    if (this.#isStopped) return
    this.#timer = this.#options.clock.after(delayMs, () => {
      this.#renew().then(
        (next) => this.#schedule(next),
        (error: unknown) => {
          this.#options.log.error('serving certificate could not be renewed', { error: messageOf(error) })
          this.#schedule(RETRY_MS)
        },
      )
    })
    this.#timer.unref()
  }
}
