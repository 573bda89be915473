// What settings say about tracing, read the same way by the processes that trace and by those that tell them to. Pure.
import { X509Certificate } from 'node:crypto'
import type { OtlpProtocol } from './trace-export.ts'

/** Spans wanted of a process. */
export interface TracingSettings {
  /** Passes isCollectorUrl. */
  readonly endpoint: string
  readonly protocol: OtlpProtocol
  /** Percent of the traces that begin there; passes isPercent. */
  readonly sampling: string
  /** Certificates in PEM of those who vouch for the collector, nobody else then; '' = whom Node trusts. Passes isCaBundle. */
  readonly ca: string
}

/** Longest bundle: it stands in the arguments of a pod. */
const MAX_BUNDLE_CHARS = 64 * 1024
const PEM_BLOCK = /-----BEGIN CERTIFICATE-----[\sA-Za-z0-9+/=]+-----END CERTIFICATE-----/g

/** Whether it is `http://host:port` or https, with nothing secret in it: settings are logged and stand in pods. */
export function isCollectorUrl(text: string): boolean {
  const url = URL.parse(text)
  return url !== null && /^https?:$/.test(url.protocol) && url.username === '' && url.password === ''
}

/** Whether it names a protocol that spans can be sent by. */
export function isOtlpProtocol(text: string): text is OtlpProtocol {
  return text === 'grpc' || text === 'http'
}

/** Whether it is certificates in PEM that can be read, at least one, and nothing else: a private key has no place in a setting. */
export function isCaBundle(text: string): boolean {
  if (text.length > MAX_BUNDLE_CHARS || text.replaceAll(PEM_BLOCK, '').trim() !== '') return false
  const blocks = text.match(PEM_BLOCK) ?? []
  return blocks.length > 0 && blocks.every(isCertificate)
}

function isCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem).serialNumber !== ''
  } catch {
    return false // what it says is no certificate
  }
}

/** Whether it is a number from 0 to 100 as people write it; up to 6 decimals. */
export function isPercent(text: string): boolean {
  return /^\d{1,3}(\.\d{1,6})?$/.test(text) && Number(text) <= 100
}
