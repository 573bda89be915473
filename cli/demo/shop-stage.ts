// The shop on a stage, and the few things that scenes do with it. Two stages exist: the local runtime's (stage.ts) and a real
// cluster's (test/kubernetes); each brings its way to objects, pods and logs.
import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { type Clock, pause } from '../../kit/clock.ts'
import type { Condition, MeshObject, Pod } from '../../model/object.ts'
import { parseFile } from '../../objects/document.ts'
import { kindOf } from '../../objects/kinds.ts'
import type { Tap } from '../../tap/tap.ts'
import type { Traffic } from './traffic.ts'

/** The namespace that the demo plays in. */
export const SHOP = 'shop'
/** Text that every request of the shop carries; seen on a link, the link carries plaintext. */
export const PLAINTEXT_MARKER = 'HTTP/1.1'
/** Text of every message with spans, which waypoints send to the collector in plaintext. */
export const SPANS_MARKER = 'POST /v1/traces'
/** Where the shop's files are. */
export const SHOP_DIR = join(resolve(import.meta.dirname, '../..'), 'samples/shop')

const POLL_MS = 200
const CHANGE_LIMIT_MS = 20_000

/** What a command in a pod printed and how it ended. */
export interface PodCommand {
  readonly status: number
  readonly output: string
}

/** Orders of the batch client as its log tells them. */
export interface Orders {
  readonly done: number
  readonly failed: number
}

/** What load.mjs has counted: answers by status, versions of the service that answered, errors, and how long it took. */
export interface LoadCounts {
  readonly requests: number
  readonly status: Readonly<Record<string, number>>
  readonly version: Readonly<Record<string, number>>
  readonly error: Readonly<Record<string, number>>
  readonly retryAfter?: string
  readonly ms: { readonly p50: number; readonly p99: number }
}

interface Judged {
  readonly conditions?: readonly Condition[]
  readonly parents?: readonly { readonly conditions?: readonly Condition[] }[]
}

/** A running shop with a tap on the wire between its nodes. Methods reject when the stage's way to the objects fails. */
export abstract class ShopStage {
  readonly tap: Tap
  readonly traffic: Traffic
  readonly #clock: Clock

  constructor(parts: { readonly tap: Tap; readonly traffic: Traffic; readonly clock: Clock }) {
    this.tap = parts.tap
    this.traffic = parts.traffic
    this.#clock = parts.clock
  }

  /** Runs a command in a pod, `NAMESPACE/NAME`; the name may be its Deployment's. */
  abstract exec(pod: string, command: readonly string[]): Promise<PodCommand>
  /** What a pod has written, the end of it. */
  abstract logs(pod: string): Promise<string>
  /** Pods of the shop. */
  abstract pods(): Promise<readonly Pod[]>
  /** An object of the shop. */
  abstract object(plural: string, name: string): Promise<MeshObject>
  /** Makes or replaces an object. */
  abstract apply(object: MeshObject): Promise<void>
  /** Removes an object; `namespace` is undefined for kinds of the whole cluster. */
  abstract remove(plural: string, namespace: string | undefined, name: string): Promise<void>
  /** Sets labels of the shop's namespace; null removes one. */
  abstract setLabels(labels: Readonly<Record<string, string | null>>): Promise<void>

  /** Waits for a condition. @returns false when the time is over or `signal` aborts */
  async until(condition: () => boolean | Promise<boolean>, limitMs: number, signal?: AbortSignal): Promise<boolean> {
    const endMs = this.#clock.monotonicMs() + limitMs
    while (!(await condition())) {
      if (this.#clock.monotonicMs() > endMs || signal?.aborted === true) return false
      await pause(this.#clock, POLL_MS, signal)
    }
    return true
  }

  /** Lets time go by. */
  pause(ms: number): Promise<void> {
    return pause(this.#clock, ms)
  }

  /** Every address of the shop's pods. */
  async podIps(): Promise<string[]> {
    return (await this.pods()).flatMap((pod) => (pod.status?.podIPs ?? []).map(({ ip }) => ip))
  }

  /** Sets or removes the label that puts the shop into the mesh, and waits until every pod follows. */
  async label(isMeshed: boolean): Promise<boolean> {
    await this.setLabels({ 'istio.io/dataplane-mode': isMeshed ? 'ambient' : null })
    const wanted = isMeshed ? 'enabled' : undefined
    return this.until(
      async () => (await this.pods()).every((pod) => pod.metadata.annotations?.['ambient.istio.io/redirection'] === wanted),
      CHANGE_LIMIT_MS,
    )
  }

  /** Applies (or deletes) the objects of one of the shop's files, `policies/strict.yaml`. */
  async objects(file: string, action: 'apply' | 'delete'): Promise<void> {
    const path = join(SHOP_DIR, file)
    for (const { object } of parseFile(readFileSync(path, 'utf8'), path).documents) {
      const kind = kindOf(object.apiVersion, object.kind)
      if (kind === undefined) throw new Error(`${path}: ${object.kind} is no kind of the mesh`)
      if (action === 'apply') await this.apply(object)
      else await this.remove(kind.plural, object.metadata.namespace, object.metadata.name)
    }
  }

  /** A request from a pod: the status code as text, or the error's code. */
  async get(pod: string, url: string): Promise<string> {
    const script = `fetch(${JSON.stringify(url)}, { signal: AbortSignal.timeout(4000) }).then((r) => console.log(r.status), (e) => console.log(e.cause?.code ?? e.name))`
    return (await this.exec(pod, ['node', '-e', script])).output
  }

  /** Sends requests from a pod and counts what becomes of them. @param options of load.mjs */
  async load(pod: string, url: string, options: readonly string[]): Promise<LoadCounts> {
    const { output } = await this.exec(pod, ['node', 'load.mjs', url, ...options])
    return JSON.parse(output) as LoadCounts
  }

  /** The last access lines of the waypoint. */
  async accessLines(): Promise<readonly Readonly<Record<string, unknown>>[]> {
    const text = await this.logs(`${SHOP}/waypoint`)
    return text.split('\n').flatMap((line) => (line.includes('"scope":"access"') ? [JSON.parse(line)] : []))
  }

  /** Whether an object of the shop says True to a condition, in its own status or in that of its parents. */
  async says(plural: string, name: string, condition: string): Promise<boolean> {
    const { status } = (await this.object(plural, name)) as MeshObject & { readonly status?: Judged }
    const all = [...(status?.conditions ?? []), ...(status?.parents ?? []).flatMap((parent) => parent.conditions ?? [])]
    return all.some((one) => one.type === condition && one.status === 'True')
  }

  /** What the batch client has ordered since it began. */
  async orders(): Promise<Orders> {
    const answer = await this.exec(`${SHOP}/batch`, [
      'node',
      '-e',
      "fetch('http://127.0.0.1:8080/').then((r) => r.text()).then(console.log)",
    ])
    const { ordered, failed } = JSON.parse(answer.output) as { ordered: number; failed: number }
    return { done: ordered, failed }
  }
}
