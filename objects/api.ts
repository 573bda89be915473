// The object API as every component sees it, whoever holds the objects: the local runtime's store or Kubernetes.
// `openObjects` chooses; nothing above this file asks which one it is.
import type { Clock } from '../kit/clock.ts'
import type { Log } from '../kit/log.ts'
import type { MeshObject, ObjectEvent, TokenReviewStatus } from '../model/object.ts'
import { ObjectClient } from './client.ts'
import { KubeClient } from './kube/kube-client.ts'

/** A list and the version from which a watch continues it; the version means something to its API only. */
export interface ObjectList {
  readonly items: readonly MeshObject[]
  readonly resourceVersion: string
}

/** What a token is asked for; `expirationSeconds` ≥ 600. */
export interface TokenRequest {
  readonly namespace: string
  readonly serviceAccount: string
  readonly audiences: readonly string[]
  readonly expirationSeconds?: number
  readonly pod?: { readonly name: string; readonly uid: string }
}

/** `gracePeriodSeconds` 0: a pod's object goes at once. `uid`: only the object that has it (CONFLICT). */
export interface DeleteOptions {
  readonly gracePeriodSeconds?: number
  readonly uid?: string
}

/** `container`: needed when the pod has several. `tail`: last lines. `follow`: until `signal` aborts or the pod is gone. */
export interface LogOptions {
  readonly container?: string
  readonly tail?: number
  readonly follow?: boolean
  readonly signal?: AbortSignal
}

/** An object's status alone; `metadata.resourceVersion` makes the change conditional (CONFLICT). */
export interface ObjectStatus {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly resourceVersion?: string }
  readonly status: object
}

/** `fieldManager`: in whose name; what this manager set before and does not set now is taken away. */
export interface StatusOptions {
  readonly fieldManager: string
}

/** `kinds`: lower-case plurals. Callbacks run one at a time and must not throw. */
export interface InformOptions {
  readonly kinds: readonly string[]
  readonly log: Log
  readonly clock: Clock
  readonly signal: AbortSignal
  /** By plural, e.g. `{ pods: 'spec.nodeName=node-1' }`; Kubernetes only, the local runtime gives everything. */
  readonly fieldSelectors?: Readonly<Record<string, string>>
  /** By plural; Kubernetes only, as above. */
  readonly labelSelectors?: Readonly<Record<string, string>>
  /** Applied to each object before it is kept, after what Kubernetes alone needs was taken off; undefined = as if it were not there. */
  trim?(object: MeshObject): MeshObject | undefined
  /** Everything there is, by plural: after the first list. Not called again; a later list becomes events. */
  onSync(all: ReadonlyMap<string, readonly MeshObject[]>): void
  onEvent(event: ObjectEvent): void
  /** Whether every watch is connected; changes only. */
  onState?(isConnected: boolean): void
}

/** A live copy of some kinds. It is never emptied by a lost connection: old objects stay until newer ones are known. */
export interface Informer {
  /** Resolved after `onSync`; never rejects (it resolves when the signal aborts, too). */
  readonly synced: Promise<void>
  /** Current objects of a kind; an object is never changed in place. */
  objects(kind: string): Iterable<MeshObject>
  /** @param namespace undefined for cluster-scoped kinds */
  get(kind: string, namespace: string | undefined, name: string): MeshObject | undefined
}

/**
 * The object API. Every method throws MeshError of `objects/errors.ts`: NOT_FOUND | UNKNOWN_KIND | INVALID_OBJECT | CONFLICT |
 * VERSION_TOO_OLD | BAD_REQUEST | TOO_LARGE | STORE_FULL | NOT_READY | API_FAILED | API_UNREACHABLE and, on Kubernetes,
 * FORBIDDEN | UNAUTHENTICATED | KUBECONFIG_INVALID. `kind` is the lower-case plural (`pods`), `namespace` undefined for cluster-scoped kinds.
 */
export interface ObjectApi extends Disposable {
  /** Reads the credentials, so that their faults are said at start; does not connect. */
  ready(): Promise<void>
  list(kind: string, namespace?: string): Promise<ObjectList>
  get(kind: string, namespace: string | undefined, name: string): Promise<MeshObject>
  /** Makes the object or replaces what we set in it; labels and annotations that others set stay. @returns the stored object */
  apply(object: object): Promise<MeshObject>
  /** Makes an object that does not exist yet; CONFLICT when one of that name does. @returns the stored object */
  create(object: object): Promise<MeshObject>
  delete(kind: string, namespace: string | undefined, name: string, options?: DeleteOptions): Promise<void>
  /**
   * JSON merge patch (null removes a field); `metadata.resourceVersion` in it makes it conditional (CONFLICT).
   * @param options.subresource `status` = only the status of the patch counts
   */
  patch(
    kind: string,
    namespace: string | undefined,
    name: string,
    mergePatch: object,
    options?: { readonly subresource?: 'status' },
  ): Promise<MeshObject>
  /** Sets our part of the status (server-side apply, forced); the local runtime merges it and knows no field managers. */
  applyStatus(object: ObjectStatus, options: StatusOptions): Promise<MeshObject>
  /** Whose token this is, and whether it is good for the audience. A bad token is an answer, not an error. */
  reviewToken(token: string, audience: string): Promise<TokenReviewStatus>
  /** A token of a service account, bound to a pod when one is named. */
  requestToken(request: TokenRequest): Promise<{ token: string; expirationTimestamp: string }>
  /** The last lines of a pod's output as text chunks. */
  logs(namespace: string, pod: string, options?: LogOptions): AsyncGenerator<Buffer>
  /** Starts a live copy at once; it runs until `signal` aborts. */
  inform(options: InformOptions): Informer
}

/** Where the objects are. `kubeconfig` absent or empty = the pod's own service account; `context` = another than the current one. */
export type ObjectsPlace =
  | { readonly source: 'store'; readonly socketPath: string }
  | { readonly source: 'kubernetes'; readonly kubeconfig?: string; readonly context?: string }

/**
 * Opens the API; connects when it is first used. The caller disposes it.
 * @throws MeshError KUBECONFIG_INVALID when the file cannot be read, or outside a cluster without one
 */
export function openObjects(place: ObjectsPlace): ObjectApi {
  return place.source === 'store' ? new ObjectClient({ socketPath: place.socketPath }) : new KubeClient(place)
}
