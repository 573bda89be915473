// Which kinds the API server serves, and in which version. A kind whose CRD is not installed is no error of the mesh: it is
// looked for again. Answers are kept for a moment, so that all kinds of a group cost one request.
import type { Clock } from '../../kit/clock.ts'
import { codeOf } from '../../kit/error.ts'
import { objectFailure } from '../errors.ts'
import { findKind } from '../kinds.ts'
import type { KubeHttp } from './http.ts'
import type { Resource } from './resource.ts'

/** Part of every Kubernetes that we support: not asked for. */
const ALWAYS_SERVED: ReadonlySet<string> = new Set([
  'v1',
  'apps/v1',
  'batch/v1',
  'policy/v1',
  'discovery.k8s.io/v1',
  'coordination.k8s.io/v1',
])
const KEEP_MS = 2_000

interface Known {
  readonly atMs: number
  readonly resources: Promise<readonly Resource[]>
}

/** Asks the API server; throws as `ObjectApi` says. */
export class Discovery {
  readonly #http: KubeHttp
  readonly #clock: Clock
  readonly #known = new Map<string, Known>()

  constructor(http: KubeHttp, clock: Clock) {
    this.#http = http
    this.#clock = clock
  }

  /** @returns undefined when the API server does not serve the kind. @throws UNKNOWN_KIND when we do not know the plural */
  async find(plural: string): Promise<Resource | undefined> {
    const row = findKind((one) => one.plural === plural)
    if (row === undefined) throw objectFailure('UNKNOWN_KIND', { kind: plural })
    const { kind, isNamespaced, apiVersions } = row
    for (const groupVersion of apiVersions) {
      if (ALWAYS_SERVED.has(groupVersion)) return { groupVersion, plural, kind, isNamespaced }
      const served = (await this.#resources(groupVersion)).find((one) => one.plural === plural)
      if (served !== undefined) return served
    }
    return undefined
  }

  /** Of an object in hand, which may be of a kind that the mesh itself does not read. @throws UNKNOWN_KIND */
  async ofObject(apiVersion: string, kind: string): Promise<Resource> {
    const found = (await this.#resources(apiVersion)).find((one) => one.kind === kind)
    if (found === undefined) throw objectFailure('UNKNOWN_KIND', { what: `${apiVersion} ${kind} is not served by this cluster` })
    return found
  }

  #resources(groupVersion: string): Promise<readonly Resource[]> {
    const now = this.#clock.monotonicMs()
    const known = this.#known.get(groupVersion)
    if (known !== undefined && now - known.atMs < KEEP_MS) return known.resources
    const resources = this.#ask(groupVersion)
    this.#known.set(groupVersion, { atMs: now, resources })
    resources.catch(() => this.#known.delete(groupVersion)) // the caller reports it
    return resources
  }

  async #ask(groupVersion: string): Promise<readonly Resource[]> {
    const path = groupVersion.includes('/') ? `/apis/${groupVersion}` : `/api/${groupVersion}`
    try {
      const body = await this.#http.call({ verb: 'get', resource: path, method: 'GET', path })
      return resourcesOf(groupVersion, body)
    } catch (error) {
      if (codeOf(error) === 'NOT_FOUND') return []
      throw error
    }
  }
}

function resourcesOf(groupVersion: string, body: unknown): readonly Resource[] {
  const list: unknown = (body as { resources?: unknown } | undefined)?.resources
  if (!Array.isArray(list)) throw objectFailure('API_FAILED', { reason: `the API server does not say what ${groupVersion} holds` })
  return list.flatMap((entry: { name?: unknown; kind?: unknown; namespaced?: unknown } | null) => {
    const { name, kind, namespaced } = entry ?? {}
    if (typeof name !== 'string' || name.includes('/') || typeof kind !== 'string') return []
    return [{ groupVersion, plural: name, kind, isNamespaced: namespaced === true }]
  })
}
