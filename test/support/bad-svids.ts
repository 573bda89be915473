// A table of certificates that are no SVIDs: each breaks one rule of X509-SVID.md or SPIFFE-ID.md (spiffe/spiffe:standards),
// with what our checks say about it.
import '../../certs/x509.ts'
import * as x509 from '@peculiar/x509'
import { idOf } from './certificates.ts'
import type { LeafOptions } from './certificates.ts'

const { digitalSignature, keyCertSign, cRLSign, keyEncipherment } = x509.KeyUsageFlags
const { serverAuth, clientAuth, codeSigning } = x509.ExtendedKeyUsage
const HOUR_MS = 3_600_000
const fromNow = (hours: number): Date => new Date(Date.now() + hours * HOUR_MS)
/** The ID of the correct certificates beside them. */
export const GOOD = idOf('client')
const workload = (rest: string): string => `spiffe://cluster.local${rest}`
/** An ID of so many bytes. */
export const ofLength = (bytes: number): string => workload(`/ns/shop/sa/${'a'.repeat(bytes - workload('/ns/shop/sa/').length)}`)

/** One broken certificate. */
export interface BadSvid {
  readonly name: string
  readonly leaf: LeafOptions
  /** What checkSvid says; absent = the rules have nothing against it (OpenSSL has, or the shape of the ID). */
  readonly says?: RegExp
  /** Code at the peer; default SVID_INVALID. `handshake` = TLS itself fails. */
  readonly code?: string
}

/** An ID and why it is none. */
const BAD_IDS: readonly (readonly [string, string, RegExp])[] = [
  ['the ID of a trust domain', 'spiffe://cluster.local', /trust domain itself/],
  ['root path', 'spiffe://cluster.local/', /ends with a slash/],
  ['trailing slash', workload('/ns/shop/sa/client/'), /ends with a slash/],
  ['empty segment', workload('/ns//shop/sa/client'), /empty segment/],
  ['..', workload('/ns/shop/sa/../client'), /relative segment/],
  ['.', workload('/ns/shop/./sa/client'), /relative segment/],
  ['percent-encoded dots', workload('/ns/shop/sa/%2e%2e'), /only letters/],
  ['percent-encoded slash', workload('/ns/shop%2fsa/client'), /only letters/],
  ['upper-case trust domain', 'spiffe://Cluster.local/ns/shop/sa/client', /only a-z/],
  ['upper-case scheme', 'SPIFFE://cluster.local/ns/shop/sa/client', /begins with/],
  ['another scheme', 'https://cluster.local/ns/shop/sa/client', /begins with/],
  ['no scheme', '//cluster.local/ns/shop/sa/client', /begins with/],
  ['no trust domain', 'spiffe:///ns/shop/sa/client', /empty/],
  ['port', 'spiffe://cluster.local:8443/ns/shop/sa/client', /only a-z/],
  ['user info', 'spiffe://root@cluster.local/ns/shop/sa/client', /only a-z/],
  ['query', workload('/ns/shop/sa/client?x=1'), /only letters/],
  ['fragment', workload('/ns/shop/sa/client#x'), /only letters/],
  ['NUL in the path', workload('/ns/shop/sa/client\0.evil'), /only letters/],
  ['NUL in the trust domain', 'spiffe://cluster.local\0.evil/ns/shop/sa/client', /only a-z/],
  ['line feed at the end', `${GOOD}\n`, /only letters/],
  ['space', workload('/ns/shop/sa/cli ent'), /only letters/],
  ['byte above 0x7f', workload('/ns/shop/sa/clïent'), /only letters/],
  ['backslash', workload('/ns/shop\\sa/client'), /only letters/],
  ['2049 bytes', ofLength(2049), /at most 2048/],
  ['trust domain of 256 bytes', `spiffe://${'a'.repeat(256)}/ns/shop/sa/client`, /at most 255/],
]

/** The table. */
export const BAD_SVIDS: readonly BadSvid[] = [
  ...BAD_IDS.map(([name, id, says]): BadSvid => ({ name: `ID: ${name}`, leaf: { uris: [id] }, says })),
  { name: 'no subjectAltName', leaf: { san: null }, says: /no subjectAltName/ },
  { name: 'no URI name', leaf: { names: [{ type: 'dns', value: 'client.shop' }] }, says: /exactly one URI.*0/ },
  { name: 'two URI names', leaf: { uris: [GOOD, idOf('server')] }, says: /exactly one URI.*2/ },
  { name: 'the same URI twice', leaf: { uris: [GOOD, GOOD] }, says: /exactly one URI.*2/ },
  { name: 'a web URI beside the ID', leaf: { uris: [GOOD, 'https://example.com/'] }, says: /exactly one URI.*2/ },
  { name: 'an ID as DNS name', leaf: { names: [{ type: 'dns', value: GOOD }] }, says: /exactly one URI.*0/ },
  { name: 'empty subject, name not critical', leaf: { sanCritical: false }, says: /must be critical/ },
  {
    name: 'two subjectAltNames',
    leaf: { more: [new x509.SubjectAlternativeNameExtension([{ type: 'url', value: idOf('server') }], true)] },
    says: /twice/,
    code: 'SVID_INVALID|UNTRUSTED',
  },
  {
    name: 'name with rest behind it',
    leaf: { san: new x509.Extension('2.5.29.17', true, Buffer.concat([sanOf(GOOD), Buffer.from([0])])) },
    says: /subjectAltName|not a certificate/,
    code: 'SVID_INVALID|UNTRUSTED',
  },
  {
    name: 'name of indefinite length',
    leaf: { san: new x509.Extension('2.5.29.17', true, indefinite(GOOD)) },
    says: /subjectAltName/,
    code: 'SVID_INVALID|UNTRUSTED',
  },
  { name: 'CA', leaf: { ca: true }, says: /CA is set/ },
  { name: 'CA with keyCertSign', leaf: { ca: true, usage: digitalSignature | keyCertSign }, says: /CA is set/ },
  { name: 'keyCertSign', leaf: { usage: digitalSignature | keyCertSign }, says: /keyCertSign/ },
  { name: 'cRLSign', leaf: { usage: digitalSignature | cRLSign }, says: /cRLSign/ },
  { name: 'no digitalSignature', leaf: { usage: keyEncipherment }, says: /lacks digitalSignature/, code: 'SVID_INVALID|UNTRUSTED' },
  { name: 'no keyUsage', leaf: { usage: null }, says: /keyUsage is missing/ },
  { name: 'keyUsage not critical', leaf: { usageCritical: false }, says: /must be critical/ },
  {
    name: 'extended usage: server only',
    leaf: { extendedUsage: [serverAuth] },
    says: /serverAuth and clientAuth/,
    code: 'SVID_INVALID|UNTRUSTED',
  },
  {
    name: 'extended usage: client only',
    leaf: { extendedUsage: [clientAuth] },
    says: /serverAuth and clientAuth/,
    code: 'SVID_INVALID|UNTRUSTED',
  },
  { name: 'extended usage: code signing', leaf: { extendedUsage: [codeSigning] }, says: /serverAuth and clientAuth/, code: 'UNTRUSTED' },
  { name: 'expired', leaf: { notBefore: fromNow(-2), notAfter: fromNow(-1) }, says: /expired/, code: 'EXPIRED' },
  { name: 'not valid yet', leaf: { notBefore: fromNow(1), notAfter: fromNow(2) }, says: /not valid yet/, code: 'EXPIRED' },
  {
    name: 'unknown critical extension',
    leaf: { more: [new x509.Extension('1.2.3.4.5', true, Buffer.from([5, 0]))] },
    says: /1\.2\.3\.4\.5 is not understood/,
    code: 'UNTRUSTED',
  },
  { name: 'not of a workload: no account', leaf: { uris: [workload('/ns/shop')] } },
  { name: 'not of a workload: other words', leaf: { uris: [workload('/namespace/shop/sa/client')] } },
  { name: 'not of a workload: one segment more', leaf: { uris: [workload('/ns/shop/sa/client/x')] } },
  { name: 'of another trust domain', leaf: { uris: [idOf('client', 'other.example')] }, code: 'UNTRUSTED' },
  { name: 'of a trust domain that begins alike', leaf: { uris: [idOf('client', 'cluster.local.evil')] }, code: 'UNTRUSTED' },
]

/** Names in DER: one URI. */
function sanOf(uri: string): Buffer {
  return Buffer.from(new x509.SubjectAlternativeNameExtension([{ type: 'url', value: uri }]).value)
}

function indefinite(uri: string): Buffer {
  return Buffer.concat([Buffer.from([0x30, 0x80, 0x86, uri.length]), Buffer.from(uri), Buffer.from([0, 0])])
}
