// The object store: objects in memory, one JSON file per object as storage (written beside and renamed), a version that
// only grows, and a bounded history for watches. One process writes: `up`. Semantics follow Kubernetes' API server in small.
import { randomUUID } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import type { Clock } from '../kit/clock.ts'
import { objectFailure } from '../objects/errors.ts'
import { KINDS, type KindRow, kindOf } from '../objects/kinds.ts'
import { formatFault, validate } from '../objects/schema/validate.ts'
import type { MeshObject, ObjectEvent, ObjectMeta, StringMap } from '../model/object.ts'
import { objectKey } from '../model/object.ts'
import { COMPONENT_ANNOTATION } from './layout.ts'
import { mergePatch } from './merge-patch.ts'

/** An event with the version at which it happened. */
export interface StoredEvent {
  readonly version: number
  readonly kind: string
  readonly event: ObjectEvent
}

/** Annotation that remembers which labels and annotations `apply` set, so that the next apply may take them away. */
export const APPLIED_ANNOTATION = 'weft.dev/applied'

const MAX_OBJECTS = 20_000
const MAX_OBJECT_BYTES = 1_500_000
const MAX_HISTORY = 4096
const MAX_EVENT_OBJECTS = 1000
const DEFAULT_GRACE_S = 30

/**
 * All objects of a mesh. Kinds are lower-case plurals; `namespace` is undefined for cluster-scoped kinds.
 * Objects that come out are shared: never change them.
 */
export class ObjectStore {
  readonly #directory: string
  readonly #clock: Clock
  readonly #checksNamespaces: boolean
  readonly #kinds = new Map<string, Map<string, MeshObject>>(KINDS.map((row) => [row.plural, new Map()]))
  readonly #history: StoredEvent[] = []
  readonly #listeners = new Set<(event: StoredEvent) => void>()
  #version = 0
  #count = 0
  #forgotten = 0 // version of the newest event that left the history

  /**
   * @param options.directory `/run/weft/NAME/objects`; made with mode 0700 if missing, read if not empty
   * @param options.checksNamespaces `apply` refuses objects of namespaces that do not exist or are going away
   */
  constructor(options: { readonly directory: string; readonly clock: Clock; readonly checksNamespaces?: boolean }) {
    this.#directory = options.directory
    this.#checksNamespaces = options.checksNamespaces === true
    this.#clock = options.clock
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 })
    this.#load()
  }

  /** Version of the newest change. */
  get version(): string {
    return String(this.#version)
  }

  /** @throws MeshError UNKNOWN_KIND */
  list(kind: string, namespace?: string): MeshObject[] {
    const all = [...this.#table(kind).values()]
    return namespace === undefined ? all : all.filter((object) => object.metadata.namespace === namespace)
  }

  find(kind: string, namespace: string | undefined, name: string): MeshObject | undefined {
    return this.#table(kind).get(namespace === undefined ? name : `${namespace}/${name}`)
  }

  /** @throws MeshError NOT_FOUND | UNKNOWN_KIND */
  get(kind: string, namespace: string | undefined, name: string): MeshObject {
    const found = this.find(kind, namespace, name)
    if (found === undefined) throw objectFailure('NOT_FOUND', { kind, namespace, name })
    return found
  }

  /**
   * Makes an object or replaces its spec and data. Status, uid and labels or annotations set by others stay.
   * @param input foreign input: it is validated
   * @param options.isNew it must not exist yet
   * @throws MeshError UNKNOWN_KIND | INVALID_OBJECT | CONFLICT (its resourceVersion is old, or it exists) | STORE_FULL
   */
  apply(input: unknown, options: { readonly isNew?: boolean } = {}): MeshObject {
    const { row, object } = admit(input)
    const old = this.find(row.plural, object.metadata.namespace, object.metadata.name)
    checkLock(object.metadata, old)
    if (options.isNew === true && old !== undefined) throw objectFailure('CONFLICT', { what: `${row.plural} ${objectKey(old)} exists` })
    if (old === undefined) this.#checkNamespace(object)
    const set: AppliedKeys = {
      labels: Object.keys(object.metadata.labels ?? {}),
      annotations: Object.keys(object.metadata.annotations ?? {}),
    }
    const before = readApplied(old)
    const { status: _, ...content } = object
    const metadata: ObjectMeta = {
      ...object.metadata,
      labels: mergeOwned(old?.metadata.labels, before.labels, object.metadata.labels),
      annotations: {
        ...mergeOwned(old?.metadata.annotations, before.annotations, object.metadata.annotations),
        [APPLIED_ANNOTATION]: JSON.stringify(set),
      },
      ...(old?.metadata.ownerReferences === undefined ? {} : { ownerReferences: old.metadata.ownerReferences }),
    }
    const status = old === undefined ? object.status : old.status
    return this.#put(row, { ...keepAssigned(content, old), metadata, ...(status === undefined ? {} : { status }) }, old)
  }

  /** Like `apply` for what the runtime itself makes: the object is taken as it is, with its status. */
  put(object: MeshObject): MeshObject {
    const row = rowOf(object)
    return this.#put(row, object, this.find(row.plural, object.metadata.namespace, object.metadata.name))
  }

  /**
   * JSON merge patch of labels, annotations, spec, data, … or (subresource `status`) of the status alone.
   * @throws MeshError NOT_FOUND | UNKNOWN_KIND | INVALID_OBJECT | CONFLICT
   */
  patch(kind: string, namespace: string | undefined, name: string, patch: unknown, subresource?: 'status'): MeshObject {
    const old = this.get(kind, namespace, name)
    if (typeof patch !== 'object' || patch === null || Array.isArray(patch))
      throw objectFailure('BAD_REQUEST', { what: 'a patch is an object' })
    const fields = patch as Partial<MeshObject>
    checkLock(fields.metadata ?? {}, old)
    if (subresource === 'status')
      return this.#put(rowOf(old), { ...old, status: mergePatch(old.status, fields.status ?? {}) } as MeshObject, old)
    const { status: _, apiVersion: __, kind: ___, ...rest } = fields
    const merged = mergePatch(old, rest) as MeshObject
    const metadata = { ...merged.metadata, ...identityOf(old.metadata) } as ObjectMeta
    const { row, object } = admit({ ...merged, metadata })
    return this.#put(row, object, old)
  }

  /**
   * Deletes. A pod that runs on a node first gets a deletionTimestamp; its kubelet deletes it with grace 0 when all ended.
   * A namespace gets one too and goes when it is empty.
   * @param uid only the object that has it
   * @throws MeshError NOT_FOUND | UNKNOWN_KIND | CONFLICT
   */
  delete(kind: string, namespace: string | undefined, name: string, graceSeconds?: number, uid?: string): void {
    const old = this.get(kind, namespace, name)
    if (uid !== undefined && uid !== old.metadata.uid) throw objectFailure('CONFLICT', { what: `${kind} ${name} is another object now` })
    const row = rowOf(old)
    const grace = graceSeconds ?? graceOf(old)
    const isOrderly = grace > 0 && (isRunningPod(old) || row.plural === 'namespaces')
    if (isOrderly) {
      if (old.metadata.deletionTimestamp !== undefined) return
      const deletionTimestamp = new Date(this.#clock.nowMs()).toISOString()
      this.#put(row, { ...old, metadata: { ...old.metadata, deletionTimestamp, deletionGracePeriodSeconds: grace } }, old)
      return
    }
    this.#table(kind).delete(objectKey(old))
    this.#count--
    rmSync(this.#file(row, old), { force: true })
    this.#record(row, 'DELETED', { ...old, metadata: { ...old.metadata, resourceVersion: String(++this.#version) } })
  }

  /**
   * Events after a version, oldest first.
   * @throws MeshError VERSION_TOO_OLD
   */
  eventsSince(version: number, kinds: ReadonlySet<string>): StoredEvent[] {
    if (version < this.#forgotten) throw objectFailure('VERSION_TOO_OLD', { since: version, oldest: this.#forgotten })
    return this.#history.filter((entry) => entry.version > version && kinds.has(entry.kind))
  }

  /** Calls `listener` after each change, synchronously. */
  onEvent(listener: (event: StoredEvent) => void): Disposable {
    this.#listeners.add(listener)
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) }
  }

  #put(row: KindRow, next: MeshObject, old: MeshObject | undefined): MeshObject {
    if (old === undefined) this.#makeRoom(row)
    const isSpecNew = old === undefined || !isDeepStrictEqual(contentOf(old), contentOf(next))
    const metadata: ObjectMeta = {
      ...next.metadata,
      uid: old?.metadata.uid ?? randomUUID(),
      creationTimestamp: old?.metadata.creationTimestamp ?? new Date(this.#clock.nowMs()).toISOString(),
      generation: (old?.metadata.generation ?? 0) + (isSpecNew ? 1 : 0),
      ...(old?.metadata.resourceVersion === undefined ? {} : { resourceVersion: old.metadata.resourceVersion }),
    }
    const same = withoutUndefined({ ...next, metadata })
    if (old !== undefined && isDeepStrictEqual(old, same)) return old
    const object = { ...same, metadata: { ...same.metadata, resourceVersion: String(++this.#version) } }
    this.#write(row, object)
    this.#table(row.plural).set(objectKey(object), object)
    if (old === undefined) this.#count++
    this.#record(row, old === undefined ? 'ADDED' : 'MODIFIED', object)
    return object
  }

  #checkNamespace({ metadata: { namespace } }: MeshObject): void {
    if (!this.#checksNamespaces || namespace === undefined) return
    const found = this.find('namespaces', undefined, namespace)
    if (found === undefined) throw objectFailure('INVALID_OBJECT', { what: `the namespace ${namespace} does not exist` })
    if (found.metadata.deletionTimestamp !== undefined)
      throw objectFailure('INVALID_OBJECT', { what: `the namespace ${namespace} is going away` })
  }

  #makeRoom(row: KindRow): void {
    if (this.#count >= MAX_OBJECTS) throw objectFailure('STORE_FULL', { limit: MAX_OBJECTS })
    const table = this.#table(row.plural)
    if (row.plural !== 'events' || table.size < MAX_EVENT_OBJECTS) return
    const [oldest] = table.values() // insertion order
    if (oldest !== undefined) this.delete('events', oldest.metadata.namespace, oldest.metadata.name)
  }

  #record(row: KindRow, type: ObjectEvent['type'], object: MeshObject): void {
    const entry = { version: this.#version, kind: row.plural, event: { type, object } }
    this.#history.push(entry)
    if (this.#history.length > MAX_HISTORY) this.#forgotten = this.#history.shift()?.version ?? this.#forgotten
    for (const listener of this.#listeners) listener(entry)
  }

  #write(row: KindRow, object: MeshObject): void {
    const text = JSON.stringify(object)
    if (text.length > MAX_OBJECT_BYTES) throw objectFailure('INVALID_OBJECT', { what: 'the object is larger than 1.5 MB' })
    const file = this.#file(row, object)
    mkdirSync(join(file, '..'), { recursive: true, mode: 0o700 })
    writeFileSync(`${file}.new`, text, { mode: 0o600 })
    renameSync(`${file}.new`, file)
  }

  #file(row: KindRow, object: MeshObject): string {
    return join(this.#directory, row.plural, object.metadata.namespace ?? '-', `${object.metadata.name}.json`)
  }

  #table(kind: string): Map<string, MeshObject> {
    const table = this.#kinds.get(kind)
    if (table === undefined) throw objectFailure('UNKNOWN_KIND', { kind })
    return table
  }

  #load(): void {
    for (const [kind, table] of this.#kinds)
      for (const file of readdirSync(this.#directory, { recursive: true, encoding: 'utf8' })) {
        if (!file.startsWith(`${kind}/`) || !file.endsWith('.json')) continue
        const object = JSON.parse(readFileSync(join(this.#directory, file), 'utf8')) as MeshObject // written by #write
        table.set(objectKey(object), object)
        this.#count++
        this.#version = Math.max(this.#version, Number(object.metadata.resourceVersion ?? 0))
      }
    this.#forgotten = this.#version
  }
}

interface AppliedKeys {
  readonly labels: readonly string[]
  readonly annotations: readonly string[]
}

function admit(input: unknown): { row: KindRow; object: MeshObject } {
  const result = validate(input)
  if (result.is === 'valid') return result
  if (result.is === 'unknown-kind') throw objectFailure('UNKNOWN_KIND', { apiVersion: result.apiVersion, kind: result.kind })
  throw objectFailure('INVALID_OBJECT', { what: result.faults.map(formatFault).join('; ') })
}

function rowOf(object: MeshObject): KindRow {
  const row = kindOf(object.apiVersion, object.kind)
  if (row === undefined) throw objectFailure('UNKNOWN_KIND', { apiVersion: object.apiVersion, kind: object.kind })
  return row
}

function checkLock(given: Partial<ObjectMeta>, old: MeshObject | undefined): void {
  if (given.resourceVersion === undefined || given.resourceVersion === old?.metadata.resourceVersion) return
  throw objectFailure('CONFLICT', { have: old?.metadata.resourceVersion, given: given.resourceVersion })
}

function readApplied(object: MeshObject | undefined): AppliedKeys {
  const text = object?.metadata.annotations?.[APPLIED_ANNOTATION]
  if (text === undefined) return { labels: [], annotations: [] }
  try {
    const { labels, annotations } = JSON.parse(text) as Partial<AppliedKeys>
    return { labels: Array.isArray(labels) ? labels : [], annotations: Array.isArray(annotations) ? annotations : [] }
  } catch {
    return { labels: [], annotations: [] } // somebody patched it: then everything counts as set by others
  }
}

/** What others set stays; what the last apply set and this one does not is gone. */
function mergeOwned(old: StringMap | undefined, appliedBefore: readonly string[], given: StringMap | undefined): StringMap {
  const kept = Object.entries(old ?? {}).filter(([key]) => !appliedBefore.includes(key))
  return { ...Object.fromEntries(kept), ...given }
}

/** Addresses that were allocated stay when an apply does not name any (kubectl apply of a Service without clusterIP). */
function keepAssigned(next: Omit<MeshObject, 'status'>, old: MeshObject | undefined): MeshObject {
  if (old === undefined || (next.kind !== 'Service' && next.kind !== 'Pod')) return next
  const before = (old.spec ?? {}) as Record<string, unknown>
  const spec = { ...(next.spec as Record<string, unknown>) }
  for (const field of ['clusterIP', 'clusterIPs', 'ipFamilies', 'nodeName', 'serviceAccountName'])
    if (spec[field] === undefined && before[field] !== undefined) spec[field] = before[field]
  return { ...next, spec }
}

function identityOf(metadata: ObjectMeta): Partial<ObjectMeta> {
  const { name, namespace, uid, creationTimestamp, generation, deletionTimestamp } = metadata
  return { name, ...(namespace === undefined ? {} : { namespace }), ...optional({ uid, creationTimestamp, generation, deletionTimestamp }) }
}

function optional(fields: Readonly<Record<string, unknown>>): Partial<ObjectMeta> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
}

function contentOf(object: MeshObject): unknown {
  const { metadata: _, status: __, ...content } = object
  return withoutUndefined(content)
}

/** As it will be after JSON, so that comparing with what is stored is exact. */
function withoutUndefined<T>(value: T): T {
  return JSON.parse(JSON.stringify(value)) as T
}

function isRunningPod(object: MeshObject): boolean {
  const spec = object.spec as { nodeName?: string } | undefined
  const isComponent = object.metadata.annotations?.[COMPONENT_ANNOTATION] !== undefined
  const phase = (object.status as { phase?: string } | undefined)?.phase
  return object.kind === 'Pod' && spec?.nodeName !== undefined && !isComponent && phase !== 'Failed' && phase !== 'Succeeded'
}

function graceOf(object: MeshObject): number {
  if (object.kind !== 'Pod') return DEFAULT_GRACE_S
  return (object.spec as { terminationGracePeriodSeconds?: number }).terminationGracePeriodSeconds ?? DEFAULT_GRACE_S
}
