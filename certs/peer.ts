// Admits or refuses the peer of a finished TLS handshake: one synchronous function, called in `secureConnection` or
// `secureConnect` before any reader is attached. Sockets are made with requestCert and rejectUnauthorized: false, so that
// a refused peer gets a reason in our log; no byte reaches the codec before this has returned.
import { createHash } from 'node:crypto'
import type { DetailedPeerCertificate, TLSSocket } from 'node:tls'
import type { Clock } from '../kit/clock.ts'
import type { Identity, SpiffeId } from '../model/identity.ts'
import type { TrustBundle } from './bundle.ts'
import { checkSvid } from './svid.ts'

/** Who the peer has proven to be. */
export interface AdmittedPeer extends Identity {
  readonly id: SpiffeId
  /** Hexadecimal SHA-256 of the leaf. */
  readonly certSha256: string
  readonly notAfter: Date
}

/** Why a peer is refused. */
export type RefusalCode = 'NO_CERTIFICATE' | 'UNTRUSTED' | 'EXPIRED' | 'SVID_INVALID' | 'WRONG_TRUST_DOMAIN' | 'UNEXPECTED_IDENTITY'

/** The decision; `errors` says which rules were broken, for the log. */
export type Admission =
  | { readonly ok: true; readonly value: AdmittedPeer }
  | { readonly ok: false; readonly code: RefusalCode; readonly errors: readonly string[] }

/** What the caller asks of the peer. `ids` empty or absent = any identity of the trust domain. */
export interface ExpectedPeer {
  readonly trustDomain?: string
  readonly ids?: readonly SpiffeId[]
}

const MOST_CACHED_LEAVES = 10_000
const LONGEST_CHAIN = 10

/** Admits peers against a bundle; remembers checked leaves until they expire. One per data thread. */
export class PeerAdmission {
  readonly #bundle: () => TrustBundle
  readonly #clock: Clock
  /** SHA-256 of leaf + root -> checked leaf; only leaves that kept all rules. Cleared when the bundle changes. */
  readonly #known = new Map<string, AdmittedPeer>()

  constructor(options: { readonly bundle: () => TrustBundle; readonly clock: Clock }) {
    this.#bundle = options.bundle
    this.#clock = options.clock
  }

  /** Forgets every checked leaf; call it when the bundle changes. */
  clear(): void {
    this.#known.clear()
  }

  /** Decides on the peer of a socket whose handshake is finished. Never throws. */
  admit(socket: TLSSocket, expected: ExpectedPeer): Admission {
    const chain = peerChain(socket)
    const [leaf] = chain
    if (leaf === undefined) return refuse('NO_CERTIFICATE', 'the peer sent no certificate')
    if (!socket.authorized) return refuseByOpenssl(socket.authorizationError)
    const root = chain.at(-1)
    const rootDomain = root === undefined ? undefined : this.#bundle().domainOfRoot(root)
    if (rootDomain === undefined) return refuse('UNTRUSTED', 'the chain does not end in a root of the trust bundle')
    const checked = this.#check(leaf)
    if (!checked.ok) return checked
    const peer = checked.value
    if (peer.trustDomain !== rootDomain) return refuse('UNTRUSTED', `a root of ${rootDomain} cannot vouch for ${peer.id}`)
    if (expected.trustDomain !== undefined && peer.trustDomain !== expected.trustDomain) {
      return refuse('WRONG_TRUST_DOMAIN', `${peer.id} is not of trust domain ${expected.trustDomain}`)
    }
    if (expected.ids !== undefined && expected.ids.length > 0 && !expected.ids.includes(peer.id)) {
      return refuse('UNEXPECTED_IDENTITY', `${peer.id} is none of ${expected.ids.slice(0, 4).join(', ')}`)
    }
    return checked
  }

  #check(leaf: Uint8Array): Admission {
    const certSha256 = createHash('sha256').update(leaf).digest('hex')
    const now = this.#clock.nowMs()
    const known = this.#known.get(certSha256)
    if (known !== undefined && now <= known.notAfter.getTime()) return { ok: true, value: known }
    this.#known.delete(certSha256)
    const svid = checkSvid(leaf, new Date(now))
    if (!svid.ok) return { ok: false, code: svid.errors.every(isTimeFault) ? 'EXPIRED' : 'SVID_INVALID', errors: svid.errors }
    if (svid.value.identity === undefined)
      return refuse('SVID_INVALID', `${svid.value.id} is not of the form /ns/NAMESPACE/sa/SERVICE-ACCOUNT`)
    const value = { ...svid.value.identity, id: svid.value.id, certSha256, notAfter: svid.value.notAfter }
    if (this.#known.size >= MOST_CACHED_LEAVES) this.#known.clear()
    this.#known.set(certSha256, value)
    return { ok: true, value }
  }
}

/** The chain as DER, leaf first, root last, as OpenSSL built it; bounded, because the last issuer points at itself. */
function peerChain(socket: TLSSocket): Uint8Array[] {
  const chain: Uint8Array[] = []
  let next: DetailedPeerCertificate | undefined = socket.getPeerCertificate(true)
  while (next?.raw !== undefined && chain.length < LONGEST_CHAIN) {
    chain.push(next.raw)
    next = next.issuerCertificate === next ? undefined : next.issuerCertificate
  }
  return chain
}

function refuseByOpenssl(error: unknown): Admission {
  const reason = String(error)
  return refuse(/CERT_HAS_EXPIRED|CERT_NOT_YET_VALID/.test(reason) ? 'EXPIRED' : 'UNTRUSTED', `OpenSSL: ${reason}`)
}

function refuse(code: RefusalCode, error: string): Admission {
  return { ok: false, code, errors: [error] }
}

function isTimeFault(fault: string): boolean {
  return fault === 'SVID: expired' || fault === 'SVID: not valid yet'
}
