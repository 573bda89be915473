// The certificate authority of this moment. A rotation puts another one in its place while everything goes on.
import type { CertificateAuthority } from '../../certs/ca.ts'

/** Holds the authority in force. Ask for `current` each time; never keep it. */
export class LiveAuthority {
  readonly #listeners: ((authority: CertificateAuthority) => void)[] = []
  #current: CertificateAuthority

  constructor(first: CertificateAuthority) {
    this.#current = first
  }

  get current(): CertificateAuthority {
    return this.#current
  }

  /** Roots to be distributed, PEM. */
  get rootsPem(): string {
    return this.#current.rootsPem
  }

  /** Called after each replacement. */
  onChange(tell: (authority: CertificateAuthority) => void): void {
    this.#listeners.push(tell)
  }

  /** From now on this one signs and its roots are distributed. */
  replace(next: CertificateAuthority): void {
    this.#current = next
    for (const tell of this.#listeners) tell(next)
  }
}
