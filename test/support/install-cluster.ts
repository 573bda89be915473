// A cluster in memory as `weft install` and `uninstall` see one: objects by path, calls written down.
import type { AnyObject, KindPath } from '../../cli/cluster/any-objects.ts'

/** Keys are `plural namespace/name`; cluster-scoped objects have an empty namespace. */
export class FakeInstallCluster {
  readonly calls: string[] = []
  readonly #objects = new Map<string, AnyObject>()

  /** Puts an object there. */
  add(plural: string, object: AnyObject): this {
    this.#objects.set(keyOf(plural, object.metadata.namespace, object.metadata.name), object)
    return this
  }

  /** Keys of everything that is there. */
  keys(): string[] {
    return [...this.#objects.keys()].sort()
  }

  async list<T extends AnyObject>(
    { plural }: KindPath,
    namespace?: string,
    labels?: string,
    keeps: (object: T) => boolean = () => true,
  ): Promise<readonly T[]> {
    return [...this.#objects]
      .filter(([key]) => key.startsWith(`${plural} ${namespace === undefined ? '' : `${namespace}/`}`))
      .map(([, object]) => object as T)
      .filter((object) => (labels ?? '').split(',').every((one) => hasLabel(object, one)) && keeps(object))
  }

  async get<T extends AnyObject>({ plural }: KindPath, namespace: string | undefined, name: string): Promise<T | undefined> {
    return this.#objects.get(keyOf(plural, namespace, name)) as T | undefined
  }

  async patch({ plural }: KindPath, namespace: string | undefined, name: string, body: object): Promise<void> {
    const key = keyOf(plural, namespace, name)
    this.calls.push(`patch ${key}`)
    const old = this.#objects.get(key)
    if (old !== undefined) this.#objects.set(key, merged(old, body) as AnyObject)
  }

  async delete({ plural }: KindPath, namespace: string | undefined, name: string): Promise<boolean> {
    this.calls.push(`delete ${keyOf(plural, namespace, name)}`)
    return this.#objects.delete(keyOf(plural, namespace, name))
  }
}

function keyOf(plural: string, namespace: string | undefined, name: string): string {
  return `${plural} ${namespace ?? ''}/${name}`
}

function hasLabel({ metadata: { labels = {} } }: AnyObject, term: string): boolean {
  const [key = '', value] = term.split('=')
  return key === '' || (value === undefined ? key in labels : labels[key] === value)
}

/** RFC 7396. */
function merged(old: unknown, patch: unknown): unknown {
  if (typeof patch !== 'object' || patch === null) return patch
  const result: Record<string, unknown> = { ...(typeof old === 'object' ? old : {}) }
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key]
    else result[key] = merged(result[key], value)
  }
  return result
}
