// Admits or refuses the peer of a finished TLS handshake: one synchronous function, called in `secureConnection` or
// `secureConnect` before any reader is attached. Sockets are made with requestCert and rejectUnauthorized: false, so that
// a refused peer gets a reason in our log; no byte reaches the codec before this has returned.
import type { X509Certificate } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import type { Clock } from '../kit/clock.ts'
import type { Identity, SpiffeId } from '../model/identity.ts'
import { isSignedBy } from './authority.ts'
import type { TrustBundle } from './bundle.ts'
import { checkSvid } from './svid.ts'

/** Who the peer has proven to be. */
export interface AdmittedPeer extends Identity {
  readonly id: SpiffeId
  /** Lower-case hex SHA-256 of the leaf. */
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
/** Certificates between the leaf and a root that are looked at; a peer that sends more is refused. */
const MOST_INTERMEDIATES = 8

/** Admits peers against a bundle; remembers checked leaves until they expire. One per data thread and bundle. */
export class PeerAdmission {
  readonly #bundle: () => TrustBundle
  readonly #clock: Clock
  /** SHA-256 of leaves that kept all rules and end at a root of their own domain. Valid for #knownFor only. */
  readonly #known = new Map<string, AdmittedPeer>()
  /** The bundle that #known was checked against; another object empties it. */
  #knownFor: TrustBundle | undefined

  constructor(options: { readonly bundle: () => TrustBundle; readonly clock: Clock }) {
    this.#bundle = options.bundle
    this.#clock = options.clock
  }

  /** Forgets every checked leaf. A new bundle object does the same by itself. */
  clear(): void {
    this.#known.clear()
  }

  /**
   * Decides on the peer of a socket whose handshake is finished; call it once per socket. Never throws.
   * The socket's `ca` must be the bundle's roots; a client's `checkServerIdentity` must return undefined (IDs are checked here).
   */
  admit(socket: TLSSocket, expected: ExpectedPeer): Admission {
    const leaf = socket.getPeerX509Certificate()
    if (leaf === undefined) return refuse('NO_CERTIFICATE', 'the peer sent no certificate')
    if (!socket.authorized) return refuseByOpenssl(socket.authorizationError)
    const checked = this.#check(leaf)
    if (!checked.ok) return checked
    const peer = checked.value
    if (expected.trustDomain !== undefined && peer.trustDomain !== expected.trustDomain) {
      return refuse('WRONG_TRUST_DOMAIN', `${peer.id} is not of trust domain ${expected.trustDomain}`)
    }
    if (expected.ids !== undefined && expected.ids.length > 0 && !expected.ids.includes(peer.id)) {
      return refuse('UNEXPECTED_IDENTITY', `${peer.id} is none of ${expected.ids.slice(0, 4).join(', ')}`)
    }
    return checked
  }

  #check(leaf: X509Certificate): Admission {
    const bundle = this.#bundle()
    if (bundle !== this.#knownFor) this.#known.clear()
    this.#knownFor = bundle
    const certSha256 = leaf.fingerprint256.replaceAll(':', '').toLowerCase()
    const now = this.#clock.nowMs()
    const known = this.#known.get(certSha256)
    if (known !== undefined && now <= known.notAfter.getTime()) return { ok: true, value: known }
    this.#known.delete(certSha256)
    const svid = checkSvid(leaf.raw, new Date(now))
    if (!svid.ok) return { ok: false, code: svid.errors.every(isTimeFault) ? 'EXPIRED' : 'SVID_INVALID', errors: svid.errors }
    const { id, identity, trustDomain, notAfter } = svid.value
    if (identity === undefined) return refuse('SVID_INVALID', `${id} is not of the form /ns/NAMESPACE/sa/SERVICE-ACCOUNT`)
    const anchors = anchorDomains(leaf, bundle)
    if (anchors.size !== 1 || !anchors.has(trustDomain)) {
      const named = anchors.size === 0 ? 'no root of the trust bundle' : `roots of ${[...anchors].sort().join(', ')}`
      return refuse('UNTRUSTED', `${id} is vouched for by ${named}`)
    }
    const value = { ...identity, id, certSha256, notAfter }
    if (this.#known.size >= MOST_CACHED_LEAVES) this.#known.clear()
    this.#known.set(certSha256, value)
    return { ok: true, value }
  }
}

/**
 * Trust domains whose roots vouch for a leaf that OpenSSL has accepted. Node does not tell which chain OpenSSL built, and
 * names in certificates prove nothing, so every link is a verified signature: OpenSSL's chain is one of those found here,
 * and when all of them end in one domain, so does OpenSSL's. Empty when the peer sent more certificates than are looked at.
 */
function anchorDomains(leaf: X509Certificate, bundle: TrustBundle): ReadonlySet<string> {
  const sent: X509Certificate[] = []
  for (let next = leaf.issuerCertificate; next !== undefined && next !== sent.at(-1); next = next.issuerCertificate) {
    if (sent.length === MOST_INTERMEDIATES) return new Set()
    sent.push(next)
  }
  const domains = new Set<string>()
  const reached = new Set<string>()
  const open = [leaf]
  for (let one = open.pop(); one !== undefined; one = open.pop()) {
    if (reached.has(one.fingerprint256)) continue
    reached.add(one.fingerprint256)
    for (const [domain, roots] of bundle.roots) {
      for (const root of roots) if (one.fingerprint256 === root.fingerprint256 || isSignedBy(one, root)) domains.add(domain)
    }
    for (const issuer of sent) if (issuer.ca && isSignedBy(one, issuer)) open.push(issuer)
  }
  return domains
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
