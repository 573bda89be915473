// ObjectApi on a Kubernetes API server. Writes are server-side apply as field manager `weft`, so that what others set stays theirs.
import { type Clock, systemClock } from '../../kit/clock.ts'
import { codeOf } from '../../kit/error.ts'
import type { MeshObject, TokenReviewStatus } from '../../model/object.ts'
import type {
  DeleteOptions,
  Informer,
  InformOptions,
  LogOptions,
  ObjectApi,
  ObjectList,
  ObjectStatus,
  StatusOptions,
  TokenRequest,
} from '../api.ts'
import { objectFailure } from '../errors.ts'
import { findKind } from '../kinds.ts'
import { type ConnectionOptions, connectionTo, type KubeConnection } from './connection.ts'
import { Discovery } from './discovery.ts'
import { KubeHttp } from './http.ts'
import { kubeInformer } from './kube-informer.ts'
import { listAll } from './pages.ts'
import { pathOf, type PathParts, type Resource, rightNameOf } from './resource.ts'
import { readReview, readToken, requestBody, reviewBody } from './token.ts'
import { shown } from './trim.ts'

/** `connection` replaces the kubeconfig. */
export interface KubeClientOptions extends ConnectionOptions {
  readonly connection?: KubeConnection
}

const FIELD_MANAGER = 'weft'
const APPLY = 'application/apply-patch+yaml' // JSON is YAML
const CORE = {
  pods: { groupVersion: 'v1', plural: 'pods' },
  serviceAccounts: { groupVersion: 'v1', plural: 'serviceaccounts' },
} as const
const MERGE = 'application/merge-patch+json'

const CHANGED: ReadonlySet<string> = new Set(['CONFLICT', 'NOT_FOUND'])

interface ManagedFields {
  readonly manager?: string
  readonly operation?: string
}

interface Header {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: { readonly name: string; readonly namespace?: string }
}

/** Connects when it is first used. */
export class KubeClient implements ObjectApi {
  readonly #connection: KubeConnection
  readonly #http: KubeHttp
  readonly #discovery: Discovery

  /** @throws MeshError KUBECONFIG_INVALID when the file cannot be read, or outside a cluster without one */
  constructor(options: KubeClientOptions) {
    const clock: Clock = options.clock ?? systemClock
    this.#connection = options.connection ?? connectionTo({ ...options, clock })
    this.#http = new KubeHttp(this.#connection)
    this.#discovery = new Discovery(this.#http, clock)
  }

  async ready(): Promise<void> {
    await this.#connection.credentials(false)
  }

  async list(kind: string, namespace?: string): Promise<ObjectList> {
    const resource = await this.#resource(kind)
    return listAll(this.#http, { resource, namespace, keep: (item) => shown(item, resource.groupVersion, resource.kind) })
  }

  async get(kind: string, namespace: string | undefined, name: string): Promise<MeshObject> {
    return this.#one('get', 'GET', await this.#resource(kind), { namespace, name })
  }

  async apply(object: object): Promise<MeshObject> {
    const header = headerOf(object)
    const resource = await this.#resourceOf(header)
    const parts = { ...placeOf(header, resource), query: { fieldManager: FIELD_MANAGER, force: 'true' } }
    return this.#one('patch', 'PATCH', resource, parts, { body: applied(object, resource), contentType: APPLY })
  }

  async create(object: object): Promise<MeshObject> {
    const header = headerOf(object)
    const resource = await this.#resourceOf(header)
    const place = placeOf(header, resource)
    const asked = about('create', resource, { namespace: place.namespace, query: { fieldManager: FIELD_MANAGER } })
    const made = (await this.#http.call({ ...asked, method: 'POST', body: applied(object, resource) })) as MeshObject // 409 = CONFLICT
    return this.#adopt(resource, place, made)
  }

  async delete(kind: string, namespace: string | undefined, name: string, options: DeleteOptions = {}): Promise<void> {
    const { gracePeriodSeconds, uid } = options
    const preconditions = uid === undefined ? {} : { preconditions: { uid } }
    const grace = gracePeriodSeconds === undefined ? {} : { gracePeriodSeconds }
    const body = { apiVersion: 'v1', kind: 'DeleteOptions', propagationPolicy: 'Background', ...preconditions, ...grace }
    const resource = await this.#resource(kind)
    await this.#http.call({ ...about('delete', resource, { namespace, name }), method: 'DELETE', body })
  }

  async patch(
    kind: string,
    namespace: string | undefined,
    name: string,
    mergePatch: object,
    options: { readonly subresource?: 'status' } = {},
  ): Promise<MeshObject> {
    const parts = { namespace, name, ...options, query: { fieldManager: FIELD_MANAGER } }
    return this.#one('patch', 'PATCH', await this.#resource(kind), parts, { body: mergePatch, contentType: MERGE })
  }

  async applyStatus(object: ObjectStatus, { fieldManager }: StatusOptions): Promise<MeshObject> {
    const resource = await this.#resourceOf(object)
    const { namespace, name } = object.metadata
    const parts = { namespace, name, subresource: 'status', query: { fieldManager, force: 'true' } }
    return this.#one('patch', 'PATCH', resource, parts, { body: { ...object, apiVersion: resource.groupVersion }, contentType: APPLY })
  }

  async reviewToken(token: string, audience: string): Promise<TokenReviewStatus> {
    const path = '/apis/authentication.k8s.io/v1/tokenreviews'
    const asked = { verb: 'create', resource: 'tokenreviews.authentication.k8s.io' }
    return readReview(await this.#http.call({ ...asked, method: 'POST', path, body: reviewBody(token, audience) }), audience)
  }

  async requestToken(request: TokenRequest): Promise<{ token: string; expirationTimestamp: string }> {
    const { namespace, serviceAccount: name } = request
    const asked = about('create', CORE.serviceAccounts, { namespace, name, subresource: 'token' })
    return readToken(await this.#http.call({ ...asked, method: 'POST', body: requestBody(request) }))
  }

  async *logs(namespace: string, pod: string, options: LogOptions = {}): AsyncGenerator<Buffer> {
    const { container, tail, follow = false, signal } = options
    const query = { container, tailLines: tail === undefined ? undefined : String(tail), follow: follow ? 'true' : undefined }
    const asked = about('get', CORE.pods, { namespace, name: pod, subresource: 'log', query })
    yield* await this.#http.open({ ...asked, method: 'GET', signal, ...(follow ? { idleMs: 0 } : {}) })
  }

  inform(options: InformOptions): Informer {
    return kubeInformer({ http: this.#http, discovery: this.#discovery }, options)
  }

  /** Closes every connection. */
  [Symbol.dispose](): void {
    this.#connection[Symbol.dispose]()
  }

  async #resource(kind: string): Promise<Resource> {
    const found = await this.#discovery.find(kind)
    if (found === undefined)
      throw objectFailure('UNKNOWN_KIND', { what: `${kind} are not installed on this cluster: their CRD is missing` })
    return found
  }

  /** The kind as the cluster serves it; objects of kinds that the mesh does not read are taken as they say. */
  async #resourceOf({ apiVersion, kind }: Pick<Header, 'apiVersion' | 'kind'>): Promise<Resource> {
    const row = findKind((one) => one.kind === kind && one.apiVersions.includes(apiVersion))
    return row === undefined ? this.#discovery.ofObject(apiVersion, kind) : this.#resource(row.plural)
  }

  /**
   * Makes what was posted ours as if it had been applied; else a later `apply` could add fields and never take one back. Follows
   * client-go:util/csaupgrade. Posting is what two who create at once need: exactly one of them has made the object.
   */
  async #adopt(
    resource: Resource,
    place: { readonly name: string; readonly namespace: string | undefined },
    made: MeshObject,
  ): Promise<MeshObject> {
    const { resourceVersion, managedFields = [] } = made.metadata as MeshObject['metadata'] & { managedFields?: readonly ManagedFields[] }
    const fields = managedFields.map((one) => (one.manager === FIELD_MANAGER ? { ...one, operation: 'Apply' } : one))
    try {
      return await this.patch(resource.plural, place.namespace, place.name, { metadata: { resourceVersion, managedFields: fields } })
    } catch (error) {
      if (!CHANGED.has(codeOf(error))) throw error
      return shown(made, resource.groupVersion, resource.kind) // changed or deleted by others already: whose its fields are is theirs to say
    }
  }

  async #one(
    verb: string,
    method: 'GET' | 'PATCH',
    resource: Resource,
    parts: PathParts,
    content: { readonly body?: object; readonly contentType?: string } = {},
  ): Promise<MeshObject> {
    return shown(await this.#http.call({ ...about(verb, resource, parts), method, ...content }), resource.groupVersion, resource.kind)
  }
}

/** Path and what the request is called when it is refused. */
function about(verb: string, resource: Pick<Resource, 'groupVersion' | 'plural'>, parts: PathParts) {
  return { verb, resource: rightNameOf(resource, parts.subresource), namespace: parts.namespace, path: pathOf(resource, parts) }
}

/** What is set: without what the API server itself keeps, and in the version that it serves. */
function applied(object: object, { groupVersion, isNamespaced }: Resource): object {
  const { status: _, metadata, ...content } = object as MeshObject
  const {
    managedFields: __,
    uid: ___,
    creationTimestamp: ____,
    generation: _____,
    ...rest
  } = metadata as Header['metadata'] & Record<string, unknown>
  const { namespace, ...unplaced } = rest
  return { ...content, apiVersion: groupVersion, metadata: isNamespaced ? { ...unplaced, namespace: namespace ?? 'default' } : unplaced }
}

/** @throws MeshError BAD_REQUEST when it is no object */
function headerOf(object: object): Header {
  const { apiVersion, kind, metadata } = object as Partial<Header>
  if (typeof apiVersion !== 'string' || typeof kind !== 'string' || typeof metadata?.name !== 'string' || metadata.name === '')
    throw objectFailure('BAD_REQUEST', { what: 'an object needs apiVersion, kind and metadata.name' })
  return { apiVersion, kind, metadata }
}

/** Cluster-scoped kinds have no namespace, others always one. */
function placeOf({ metadata }: Header, { isNamespaced }: Resource): { readonly name: string; readonly namespace: string | undefined } {
  return { name: metadata.name, namespace: isNamespaced ? (metadata.namespace ?? 'default') : undefined }
}
