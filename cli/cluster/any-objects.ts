// Objects of any kind, by their place in the API: what installing, removing and checking need beyond the kinds of the mesh. Refusals
// name the verb and the resource.
import { codeOf } from '../../kit/error.ts'
import type { ClusterAccess } from './access.ts'

/** A kind by its place in the API, e.g. `{ group: 'apps', version: 'v1', plural: 'daemonsets' }`; group '' = core. */
export interface KindPath {
  readonly group: string
  readonly version: string
  readonly plural: string
}

/** The part of any object that is read here. */
export interface AnyObject {
  readonly kind?: string
  readonly metadata: {
    readonly name: string
    readonly namespace?: string
    readonly labels?: Readonly<Record<string, string>>
    readonly annotations?: Readonly<Record<string, string>>
    readonly generation?: number
    readonly deletionTimestamp?: string
  }
}

/** Kinds used by name. */
export const KIND = {
  namespaces: { group: '', version: 'v1', plural: 'namespaces' },
  nodes: { group: '', version: 'v1', plural: 'nodes' },
  pods: { group: '', version: 'v1', plural: 'pods' },
  services: { group: '', version: 'v1', plural: 'services' },
  serviceaccounts: { group: '', version: 'v1', plural: 'serviceaccounts' },
  configmaps: { group: '', version: 'v1', plural: 'configmaps' },
  deployments: { group: 'apps', version: 'v1', plural: 'deployments' },
  daemonsets: { group: 'apps', version: 'v1', plural: 'daemonsets' },
  budgets: { group: 'policy', version: 'v1', plural: 'poddisruptionbudgets' },
  definitions: { group: 'apiextensions.k8s.io', version: 'v1', plural: 'customresourcedefinitions' },
} as const satisfies Readonly<Record<string, KindPath>>

const PAGE = 500

/** Those of one cluster. Methods throw MeshErrors of objects/errors.ts: FORBIDDEN | API_UNREACHABLE | KUBECONFIG_INVALID … */
export class AnyObjects {
  readonly #access: Pick<ClusterAccess, 'call'>

  /** @param access stays the caller's */
  constructor(access: Pick<ClusterAccess, 'call'>) {
    this.#access = access
  }

  /**
   * Objects of a kind, page by page; none when the cluster does not know the kind.
   * @param keeps those that are wanted; the others are not held in memory
   */
  async list<T extends AnyObject>(
    kind: KindPath,
    namespace?: string,
    labels?: string,
    keeps?: (object: T) => boolean,
  ): Promise<readonly T[]> {
    const found: T[] = []
    let rest: string | undefined
    do {
      const query = new URLSearchParams({ limit: String(PAGE) })
      if (labels !== undefined) query.set('labelSelector', labels)
      if (rest !== undefined) query.set('continue', rest)
      const page = (await this.#orMissing(
        this.#access.call({ ...asked('list', kind, namespace), method: 'GET', path: `${pathOf(kind, namespace)}?${query}` }),
      )) as { items?: T[]; metadata?: { continue?: string } } | undefined
      found.push(...(keeps === undefined ? (page?.items ?? []) : (page?.items ?? []).filter(keeps)))
      rest = page?.metadata?.continue || undefined
    } while (rest !== undefined)
    return found
  }

  /** Undefined when it is not there. */
  async get<T extends AnyObject>(kind: KindPath, namespace: string | undefined, name: string): Promise<T | undefined> {
    const path = `${pathOf(kind, namespace)}/${encodeURIComponent(name)}`
    return (await this.#orMissing(this.#access.call({ ...asked('get', kind, namespace), method: 'GET', path }))) as T | undefined
  }

  /** Makes the object or what we set in it, as field manager `weft`. */
  async apply(kind: KindPath, object: AnyObject): Promise<void> {
    const { name, namespace } = object.metadata
    const path = `${pathOf(kind, namespace)}/${encodeURIComponent(name)}?fieldManager=weft&force=true`
    await this.#access.call({
      ...asked('patch', kind, namespace),
      method: 'PATCH',
      path,
      body: object,
      contentType: 'application/apply-patch+yaml',
    })
  }

  /** A strategic merge patch. */
  async patch(kind: KindPath, namespace: string | undefined, name: string, body: object): Promise<void> {
    const path = `${pathOf(kind, namespace)}/${encodeURIComponent(name)}`
    const contentType = 'application/strategic-merge-patch+json'
    await this.#access.call({ ...asked('patch', kind, namespace), method: 'PATCH', path, body, contentType })
  }

  /** @returns whether it was there */
  async delete(kind: KindPath, namespace: string | undefined, name: string): Promise<boolean> {
    const path = `${pathOf(kind, namespace)}/${encodeURIComponent(name)}?propagationPolicy=Background`
    return (await this.#orMissing(this.#access.call({ ...asked('delete', kind, namespace), method: 'DELETE', path }))) !== undefined
  }

  /** Whether the account of the kubeconfig may do this. */
  async may(verb: string, kind: Omit<KindPath, 'version'>, namespace: string | undefined): Promise<boolean> {
    const resourceAttributes = { verb, group: kind.group, resource: kind.plural, ...(namespace === undefined ? {} : { namespace }) }
    const path = '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews'
    const body = { apiVersion: 'authorization.k8s.io/v1', kind: 'SelfSubjectAccessReview', spec: { resourceAttributes } }
    const answer = await this.#access.call({ verb: 'create', resource: 'selfsubjectaccessreviews', method: 'POST', path, body })
    return (answer as { status?: { allowed?: boolean } }).status?.allowed === true
  }

  async #orMissing(answer: Promise<unknown>): Promise<unknown> {
    try {
      return await answer
    } catch (error) {
      if (codeOf(error) === 'NOT_FOUND' || codeOf(error) === 'UNKNOWN_KIND') return undefined
      throw error
    }
  }
}

function pathOf({ group, version, plural }: KindPath, namespace: string | undefined): string {
  const root = group === '' ? `/api/${version}` : `/apis/${group}/${version}`
  return namespace === undefined ? `${root}/${plural}` : `${root}/namespaces/${encodeURIComponent(namespace)}/${plural}`
}

function asked(
  verb: string,
  { group, plural }: KindPath,
  namespace: string | undefined,
): { verb: string; resource: string; namespace?: string } {
  return { verb, resource: group === '' ? plural : `${plural}.${group}`, ...(namespace === undefined ? {} : { namespace }) }
}
