// The mesh's roots in every namespace, as ConfigMap `istio-ca-root-cert`: what pods that dial the control plane trust. The name and the
// key are Istio's. They are the mesh's, whoever made the object: a stale one would cut its readers off.
import type { Clock } from '../../kit/clock.ts'
import { codeOf, messageOf } from '../../kit/error.ts'
import type { Log } from '../../kit/log.ts'
import type { MeshObject, Namespace, ObjectEvent } from '../../model/object.ts'
import { ROOT_CONFIG_MAP, ROOT_KEY } from '../deploy/pod.ts'
import { KickedTask } from '../kicked-task.ts'
import type { Leader } from '../leader/leader.ts'
import type { ConfigSource, ObjectWriter } from '../source/source.ts'

const WRITES_AT_ONCE = 8
const EXPECTED: ReadonlySet<string> = new Set(['CONFLICT', 'NOT_FOUND'])

/** What it works with. */
export interface RootsOptions {
  readonly source: Pick<ConfigSource, 'objects'> & Pick<ObjectWriter, 'create' | 'replace'>
  readonly leader: Leader
  rootsPem(): string
  readonly log: Log
  readonly clock: Clock
}

interface Write {
  readonly object: MeshObject
  readonly isNew: boolean
}

/** Keeps the ConfigMaps while this replica leads; dispose of it to stop. */
export class RootsInNamespaces implements Disposable {
  readonly #options: RootsOptions
  readonly #task: KickedTask

  constructor(options: RootsOptions) {
    this.#options = options
    const { log, clock } = options
    this.#task = new KickedTask({ name: 'roots of the namespaces', run: () => this.#run(), log, clock })
  }

  /** Takes one event; only namespaces, Gateways and these ConfigMaps matter. */
  apply({ object: { kind, metadata } }: ObjectEvent): void {
    if (kind === 'Namespace' || kind === 'Gateway' || (kind === 'ConfigMap' && metadata.name === ROOT_CONFIG_MAP)) this.kick()
  }

  /** Asks for a look at all namespaces soon. */
  kick(): void {
    this.#task.kick()
  }

  [Symbol.dispose](): void {
    this.#task[Symbol.dispose]()
  }

  /** @returns whether all is written */
  async #run(): Promise<boolean> {
    const due = this.#due()
    const worker = async (): Promise<boolean> => {
      let isWhole = true
      for (let next = due.pop(); next !== undefined; next = due.pop()) isWhole = (await this.#write(next)) && isWhole
      return isWhole
    }
    const done = await Promise.all(Array.from({ length: Math.min(WRITES_AT_ONCE, due.length) }, worker))
    return !done.includes(false)
  }

  /** The ConfigMaps to be written. */
  #due(): Write[] {
    const { source, leader, rootsPem } = this.#options
    if (!leader.isLeader) return []
    const pem = rootsPem()
    const found = new Map<string, MeshObject>()
    for (const object of source.objects('configmaps')) {
      if (object.metadata.name === ROOT_CONFIG_MAP) found.set(object.metadata.namespace ?? '', object)
    }
    return [...this.#namespaces()].flatMap((namespace) => {
      const old = found.get(namespace)
      if (old?.data?.[ROOT_KEY] === pem) return []
      return [{ object: configMap(namespace, pem, old), isNew: old === undefined }]
    })
  }

  /** Every namespace that does not go, and on the local runtime those of Gateways, which need no Namespace object there. */
  #namespaces(): ReadonlySet<string> {
    const { source } = this.#options
    const names = new Set<string>()
    for (const { metadata } of source.objects('gateways')) names.add(metadata.namespace ?? 'default')
    for (const { metadata, status } of source.objects('namespaces') as Iterable<Namespace>) {
      if (metadata.deletionTimestamp !== undefined || status?.phase === 'Terminating') names.delete(metadata.name)
      else names.add(metadata.name)
    }
    return names
  }

  /** @returns whether it is as it should be, or somebody else's change will lead back here */
  async #write({ object, isNew }: Write): Promise<boolean> {
    const { source, leader, log } = this.#options
    if (this.#task.isStopped || !leader.isLeader) return true // the next leader does it
    const { namespace } = object.metadata
    try {
      await (isNew ? source.create(object) : source.replace(object))
      log.info('roots written', { namespace })
      return true
    } catch (error) {
      const fields = { namespace, code: codeOf(error), error: messageOf(error) }
      if (EXPECTED.has(codeOf(error))) log.debug('the roots of a namespace were changed meanwhile, or it goes', fields)
      else log.warn('the roots of a namespace could not be written', fields)
      return false
    }
  }
}

function configMap(namespace: string, rootsPem: string, old: MeshObject | undefined): MeshObject {
  const resourceVersion = old?.metadata.resourceVersion
  const metadata = {
    name: ROOT_CONFIG_MAP,
    namespace,
    labels: { 'istio.io/config': 'true' },
    ...(resourceVersion === undefined ? {} : { resourceVersion }),
  }
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata, data: { [ROOT_KEY]: rootsPem } }
}
