// A live copy of several kinds: one reflector each, one callback for all. Says in the log, once per outage or missing right,
// what keeps it from following the cluster.
import { codeOf, messageOf } from '../../kit/error.ts'
import type { MeshObject } from '../../model/object.ts'
import type { Informer, InformOptions } from '../api.ts'
import { objectFailure } from '../errors.ts'
import { findKind } from '../kinds.ts'
import type { Discovery } from './discovery.ts'
import type { KubeHttp } from './http.ts'
import { Reflector } from './reflector.ts'
import { SharedValues } from './shared.ts'
import { trimmer } from './trim.ts'

/** What the informer works with, besides what its user wants. */
export interface KubeAccess {
  readonly http: KubeHttp
  readonly discovery: Discovery
}

/** Not worth a line while the API server is away: it is said once for all kinds. */
const AWAY = 'API_UNREACHABLE'

/** Starts at once and runs until the signal aborts. @throws UNKNOWN_KIND for a plural that we do not know */
export function kubeInformer(access: KubeAccess, options: InformOptions): Informer {
  const copy = new KubeInformer(access, options)
  copy.start()
  return copy
}

class KubeInformer implements Informer {
  readonly synced: Promise<void>
  readonly #options: InformOptions
  readonly #reflectors = new Map<string, Reflector>()
  readonly #resolve: () => void
  /** Kind -> sentence that was logged last and still holds. */
  readonly #said = new Map<string, string>()
  readonly #absent = new Set<string>()
  #isSynced = false
  #isAway = false
  #isConnected = false

  constructor(access: KubeAccess, options: InformOptions) {
    this.#options = options
    const { promise, resolve } = Promise.withResolvers<void>()
    this.synced = promise
    this.#resolve = resolve
    options.signal.addEventListener('abort', () => resolve(), { once: true })
    const shared = new SharedValues()
    for (const kind of new Set(options.kinds)) this.#reflectors.set(kind, this.#reflector(kind, access, shared))
  }

  start(): void {
    for (const reflector of this.#reflectors.values()) void reflector.run()
  }

  objects(kind: string): Iterable<MeshObject> {
    return this.#reflectors.get(kind)?.table.values() ?? []
  }

  get(kind: string, namespace: string | undefined, name: string): MeshObject | undefined {
    return this.#reflectors.get(kind)?.table.get(namespace === undefined ? name : `${namespace}/${name}`)
  }

  #reflector(kind: string, access: KubeAccess, shared: SharedValues): Reflector {
    const { clock, signal, log, fieldSelectors, labelSelectors } = this.#options
    const row = findKind(({ plural }) => plural === kind)
    if (row === undefined) throw objectFailure('UNKNOWN_KIND', { kind })
    const trim = trimmer(row, shared)
    return new Reflector({
      ...access,
      row,
      clock,
      signal,
      fieldSelector: fieldSelectors?.[kind],
      labelSelector: labelSelectors?.[kind],
      keep: (item) => {
        const object = trim(item)
        return object === undefined || this.#options.trim === undefined ? object : this.#options.trim(object)
      },
      onEvent: (event) => {
        if (this.#isSynced) this.#options.onEvent(event)
      },
      onSettled: () => this.#settled(),
      onState: (isFollowing, failure) => this.#report(kind, isFollowing, failure),
      onServed: (isServed) => {
        if (!isServed) log.info('kind is not installed on the cluster; it is taken up when it is', { kind, apiVersion: row.apiVersions[0] })
        else if (this.#absent.has(kind)) log.info('kind is installed now', { kind })
        if (isServed) this.#absent.delete(kind)
        else this.#absent.add(kind)
        this.#connection()
      },
    })
  }

  #settled(): void {
    if (this.#isSynced || ![...this.#reflectors.values()].every(({ isSettled }) => isSettled)) return
    this.#isSynced = true
    this.#options.onSync(new Map([...this.#reflectors].map(([kind, { table }]) => [kind, [...table.values()]])))
    this.#resolve()
  }

  #report(kind: string, isFollowing: boolean, failure: unknown): void {
    const { log } = this.#options
    if (isFollowing) {
      if (this.#said.delete(kind)) log.info('objects are followed again', { kind })
      if (this.#isAway) log.info('the API server answers again')
      this.#isAway = false
    } else if (codeOf(failure) === AWAY) {
      if (!this.#isAway) log.warn('the API server does not answer; what is known stays in force', { kind, error: messageOf(failure) })
      this.#isAway = true
    } else {
      const sentence = messageOf(failure)
      if (this.#said.get(kind) !== sentence) log.warn('objects cannot be followed', { kind, code: codeOf(failure), error: sentence })
      this.#said.set(kind, sentence)
    }
    this.#connection()
  }

  #connection(): void {
    const isConnected = [...this.#reflectors.values()].every(({ isFollowing }) => isFollowing)
    if (isConnected === this.#isConnected) return
    this.#isConnected = isConnected
    this.#options.onState?.(isConnected)
  }
}
