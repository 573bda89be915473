// A ConfigSource in memory, with tokens that a test makes up.
import type { ConfigSource, SourceKind } from '../../controlplane/source/source.ts'
import { type Condition, type MeshObject, type ObjectEvent, objectKey, type TokenReviewStatus } from '../../model/object.ts'
import { objectFailure } from '../../objects/errors.ts'
import { KINDS } from '../../objects/kinds.ts'

/** A mesh's names, as translation takes them. */
export const NAMES = {
  clusterId: 'Kubernetes',
  network: '',
  trustDomain: 'cluster.local',
  clusterDomain: 'cluster.local',
  rootNamespace: 'weft-system',
  cidrs: [],
}

/** Applies and deletes objects like the API does: fresh references, uid and generation filled in. */
export class FakeSource implements ConfigSource {
  readonly tokens = new Map<string, { audience: string; status: TokenReviewStatus }>()
  readonly patches: { kind: string; name: string; status: { conditions: Condition[] } }[] = []
  readonly #objects = new Map<string, Map<string, MeshObject>>()
  readonly #listeners: ((event: ObjectEvent) => void)[] = []
  #isStarted = false
  #next = 1

  apply(...objects: readonly MeshObject[]): void {
    for (const object of objects) {
      const kind = this.#kind(pluralOf(object))
      const old = kind.get(objectKey(object))
      const metadata = {
        uid: old?.metadata.uid ?? `uid-${this.#next++}`,
        generation: (old?.metadata.generation ?? 0) + 1,
        ...object.metadata,
      }
      const stored = { ...object, metadata }
      kind.set(objectKey(object), stored)
      this.#tell({ type: old === undefined ? 'ADDED' : 'MODIFIED', object: stored })
    }
  }

  delete(object: MeshObject): void {
    const kind = this.#kind(pluralOf(object))
    const old = kind.get(objectKey(object))
    if (old === undefined) throw new Error(`no ${object.kind} ${objectKey(object)}`)
    kind.delete(objectKey(object))
    this.#tell({ type: 'DELETED', object: old })
  }

  async start(): Promise<void> {
    this.#isStarted = true
  }

  objects(kind: SourceKind): Iterable<MeshObject> {
    return this.#kind(kind).values()
  }

  onChange(listener: (event: ObjectEvent) => void): void {
    this.#listeners.push(listener)
  }

  async reviewToken(token: string, audience: string): Promise<TokenReviewStatus> {
    const found = this.tokens.get(token)
    if (found === undefined) return { authenticated: false, error: 'bad signature' }
    return found.audience === audience ? found.status : { authenticated: false, error: 'wrong audience' }
  }

  async patchStatus(kind: SourceKind, namespace: string | undefined, name: string, status: object): Promise<void> {
    this.patches.push({ kind, name, status: status as { conditions: Condition[] } })
    const key = namespace === undefined ? name : `${namespace}/${name}`
    const old = this.#kind(kind).get(key)
    if (old === undefined) throw new Error('gone')
    const stored = { ...old, status }
    this.#kind(kind).set(key, stored)
    this.#tell({ type: 'MODIFIED', object: stored })
  }

  async create(object: MeshObject): Promise<void> {
    if (this.#kind(pluralOf(object)).has(objectKey(object))) throw objectFailure('CONFLICT', { what: objectKey(object) })
    this.apply(object)
  }

  async replace(object: MeshObject): Promise<void> {
    this.apply(object)
  }

  async remove(_kind: SourceKind, object: MeshObject): Promise<void> {
    this.delete(object)
  }

  #kind(plural: string): Map<string, MeshObject> {
    let kind = this.#objects.get(plural)
    if (kind === undefined) {
      kind = new Map()
      this.#objects.set(plural, kind)
    }
    return kind
  }

  #tell(event: ObjectEvent): void {
    if (this.#isStarted) for (const listener of this.#listeners) listener(event)
  }
}

/** The plural of an object's kind. */
export function pluralOf(object: MeshObject): string {
  const row = KINDS.find(({ kind }) => kind === object.kind)
  if (row === undefined) throw new Error(`kind ${object.kind} is not known`)
  return row.plural
}

/** A running, ready pod. */
export function pod(
  namespace: string,
  name: string,
  more: {
    readonly ip?: string
    readonly node?: string
    readonly serviceAccount?: string
    readonly phase?: string
    readonly uid?: string
    readonly labels?: Readonly<Record<string, string>>
    readonly annotations?: Readonly<Record<string, string>>
  } = {},
): MeshObject {
  const { ip = '10.244.1.5', node = 'node-1', serviceAccount = 'default', phase = 'Running', uid, labels = {}, annotations = {} } = more
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace, labels, annotations, ...(uid === undefined ? {} : { uid }) },
    spec: { nodeName: node, serviceAccountName: serviceAccount, containers: [] },
    status: { phase, podIP: ip, podIPs: [{ ip }], conditions: [{ type: 'Ready', status: 'True' }] },
  }
}
