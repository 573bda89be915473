// What settings say about tracing, read the same way by the processes that trace and by those that tell them to. Pure.
import type { OtlpProtocol } from './trace-export.ts'

/** Spans wanted of a process. */
export interface TracingSettings {
  /** Passes isCollectorUrl. */
  readonly endpoint: string
  readonly protocol: OtlpProtocol
  /** Percent of the traces that begin there; passes isPercent. */
  readonly sampling: string
}

/** Whether it is `http://host:port` or https, with nothing secret in it: settings are logged and stand in pods. */
export function isCollectorUrl(text: string): boolean {
  const url = URL.parse(text)
  return url !== null && /^https?:$/.test(url.protocol) && url.username === '' && url.password === ''
}

/** Whether it names a protocol that spans can be sent by. */
export function isOtlpProtocol(text: string): text is OtlpProtocol {
  return text === 'grpc' || text === 'http'
}

/** Whether it is a number from 0 to 100 as people write it; up to 6 decimals. */
export function isPercent(text: string): boolean {
  return /^\d{1,3}(\.\d{1,6})?$/.test(text) && Number(text) <= 100
}
