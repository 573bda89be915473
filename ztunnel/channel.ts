// What the admin thread and the data threads say to each other. Plain values only (structured clone); file descriptors
// are numbers, valid in every thread of the process, and stay the property of the admin thread.
import type { SpiffeId } from '../model/identity.ts'
import type { ZtunnelSettings } from './settings.ts'
import type { StateChange } from '../state/store.ts'

/** Name, namespace and account of an announced pod. */
export interface PodInfo {
  readonly name: string
  readonly namespace: string
  readonly serviceAccount: string
}

/** A certificate with its key, as a data thread makes TLS contexts from it. PEM text; the chain's leaf is first. */
export interface CertificateMessage {
  readonly kind: 'certificate'
  readonly id: SpiffeId
  readonly chainPem: string
  readonly keyPem: string
  readonly rootsPem: string
  /** Unix milliseconds. */
  readonly notAfterMs: number
}

/** What a data thread can be asked; the answer is JSON-like and written for /config_dump or /metrics. */
export type Query = 'metrics' | 'connections'

/** admin → data */
export type ToData =
  | { readonly kind: 'state'; readonly change: StateChange }
  | { readonly kind: 'pod-add'; readonly uid: string; readonly info: PodInfo; readonly netnsFd: number; readonly inode: bigint }
  | { readonly kind: 'pod-remove'; readonly uid: string }
  | CertificateMessage
  | { readonly kind: 'certificate-failed'; readonly id: SpiffeId; readonly reason: string }
  | { readonly kind: 'log-levels'; readonly text: string }
  | { readonly kind: 'drain'; readonly graceMs: number }
  | { readonly kind: 'query'; readonly id: number; readonly what: Query }

/** data → admin */
export type ToAdmin =
  | { readonly kind: 'ready' }
  | { readonly kind: 'need-certificate'; readonly id: SpiffeId; readonly priority: 'realtime' | 'warmup' }
  | { readonly kind: 'demand'; readonly name: string }
  | { readonly kind: 'answer'; readonly id: number; readonly value: unknown }
  | { readonly kind: 'pod-added'; readonly uid: string }
  | { readonly kind: 'pod-failed'; readonly uid: string; readonly reason: string }
  | { readonly kind: 'pod-removed'; readonly uid: string }
  | { readonly kind: 'drained'; readonly forced: number }

/** What a data thread is started with. */
export interface DataThreadStart {
  readonly settings: ZtunnelSettings
  readonly index: number
  /** One Int32: file descriptors in use by connections, over all threads. */
  readonly descriptors: SharedArrayBuffer
  /** Above this, new work is refused. */
  readonly maxDescriptors: number
}

/** A live connection, as listed by `connections`. Times in ms, addresses as `ip:port`. */
export interface ConnectionDump {
  readonly src: string
  readonly originalDst: string
  readonly actualDst: string
  readonly protocol: 'HBONE' | 'TCP'
  readonly identity?: string
}

/** Live connections of one pod on one thread. */
export interface PodConnections {
  readonly uid: string
  readonly inbound: readonly ConnectionDump[]
  readonly outbound: readonly ConnectionDump[]
}
