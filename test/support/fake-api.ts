// Objects by name in memory, with versions that conflict as the API server's do; a test can make it fail or hang.
import type { MeshObject } from '../../model/object.ts'
import type { ObjectApi } from '../../objects/api.ts'
import { objectFailure } from '../../objects/errors.ts'

type Plain = Record<string, unknown>

/** Several clients may share one. */
export class FakeApi implements Pick<ObjectApi, 'get' | 'create' | 'patch'> {
  readonly objects = new Map<string, MeshObject>()
  /** Every call, e.g. `patch leases weft-system/weft-leader`. */
  readonly calls: string[] = []
  /** Called before each call is carried out; throw or wait in it. */
  before: (call: string) => void | Promise<void> = () => undefined
  #version = 1

  async get(kind: string, namespace: string | undefined, name: string): Promise<MeshObject> {
    const key = await this.#enter('get', kind, namespace, name)
    const found = this.objects.get(key)
    if (found === undefined) throw objectFailure('NOT_FOUND', { what: key })
    return found
  }

  async create(given: object): Promise<MeshObject> {
    const object = given as MeshObject
    const kind = `${object.kind.toLowerCase()}s`
    const key = await this.#enter('create', kind, object.metadata.namespace, object.metadata.name)
    if (this.objects.has(key)) throw objectFailure('CONFLICT', { what: key })
    return this.#store(key, object)
  }

  async patch(kind: string, namespace: string | undefined, name: string, mergePatch: object): Promise<MeshObject> {
    const key = await this.#enter('patch', kind, namespace, name)
    const old = this.objects.get(key)
    if (old === undefined) throw objectFailure('NOT_FOUND', { what: key })
    const version = (mergePatch as Partial<MeshObject>).metadata?.resourceVersion
    if (version !== undefined && version !== old.metadata.resourceVersion) throw objectFailure('CONFLICT', { what: key })
    return this.#store(key, merged(old, mergePatch) as MeshObject)
  }

  /** Puts an object there as somebody else would; undefined = deletes it. */
  set(kind: string, namespace: string, name: string, object: MeshObject | undefined): void {
    const key = `${kind} ${namespace}/${name}`
    if (object === undefined) this.objects.delete(key)
    else this.#store(key, object)
  }

  async #enter(verb: string, kind: string, namespace: string | undefined, name: string): Promise<string> {
    const key = `${kind} ${namespace ?? ''}/${name}`
    this.calls.push(`${verb} ${key}`)
    await this.before(`${verb} ${key}`)
    return key
  }

  #store(key: string, object: MeshObject): MeshObject {
    const stored = structuredClone({ ...object, metadata: { ...object.metadata, resourceVersion: String(this.#version++) } })
    this.objects.set(key, stored)
    return stored
  }
}

/** RFC 7386. */
function merged(old: unknown, patch: unknown): unknown {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch
  const result: Plain = typeof old === 'object' && old !== null && !Array.isArray(old) ? { ...(old as Plain) } : {}
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key]
    else if (value !== undefined) result[key] = merged(result[key], value)
  }
  return result
}
