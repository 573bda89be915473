// The sequence-numbered exchange between pods of the mesh on a cluster: servers and clients on any node, sources brought in by a
// ConfigMap, accounts read from the containers' logs on the node, so that they can be had while the API server is away.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { SeqReport } from '../support/seq-client.ts'
import { until } from './cluster/processes.ts'
import type { MeshCluster } from './mesh-cluster.ts'
import { MeshNamespace } from './pods.ts'

const SUPPORT = join(import.meta.dirname, '../support')
const SOURCES = ['seq-client.ts', 'seq-server.ts', 'seq-lane.ts', 'seq-frame.ts']
const PORTS = { tcp: 9000, http: 9001 } as const
const TOLD_EVERY_S = 1
/** An answer that has not come by then is lost; long, so that a busy machine's delay is no loss. */
const TIMEOUT_MS = 30_000

/** One client. `fresh` = a connection for each request, else ten that stay. `server`: the name of a server, asked by its pod's address. */
export interface SeqClientPod {
  readonly name: string
  readonly node: number
  readonly server: string
  readonly mode: keyof typeof PORTS
  readonly rate: number
  readonly fresh?: boolean
  /** By the address of its Service. */
  readonly viaService?: boolean
}

/** What all clients did in a time. */
export interface SeqSums {
  readonly sent: number
  readonly answered: number
  readonly lost: number
  readonly twice: number
  readonly damaged: number
  readonly opened: number
  readonly broken: number
  readonly errors: Readonly<Record<string, number>>
  /** Since the clients began. */
  readonly longestGapMs: number
  readonly mostLateMs: number
  readonly stoodStillMs: number
  readonly p50Ms: number
  readonly p99Ms: number
}

/** Servers and clients; disposing of it removes them. */
export class SeqLoad implements AsyncDisposable {
  readonly space: MeshNamespace
  readonly #mesh: MeshCluster
  readonly #clients: SeqClientPod[] = []

  private constructor(mesh: MeshCluster, space: MeshNamespace) {
    this.#mesh = mesh
    this.space = space
  }

  static async open(mesh: MeshCluster, namespace: string): Promise<SeqLoad> {
    const load = new SeqLoad(mesh, await MeshNamespace.make(mesh, namespace))
    const texts = SOURCES.map((name) => [name, readFileSync(join(SUPPORT, name), 'utf8')])
    const data = { ...Object.fromEntries(texts), 'package.json': '{"type":"module"}' }
    await mesh.cluster.apply({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'seq', namespace }, data })
    return load
  }

  /** Starts a server with a Service of its name. */
  async server(name: string, node: number): Promise<void> {
    const probe = { httpGet: { path: '/healthz', port: PORTS.http }, periodSeconds: 1 }
    const args = ['seq-server.ts', '--tcp-port', `${PORTS.tcp}`, '--http-port', `${PORTS.http}`]
    const ports = Object.entries(PORTS).map(([mode, port]) => ({ name: mode, port }))
    const metadata = { name, namespace: this.space.name }
    await this.#mesh.cluster.apply(this.#pod(name, node, args, { readinessProbe: probe }), {
      apiVersion: 'v1',
      kind: 'Service',
      metadata,
      spec: { selector: { app: name }, ports },
    })
    await this.space.ready(name)
  }

  /** Starts clients and waits until each has been answered. */
  async clients(...clients: readonly SeqClientPod[]): Promise<void> {
    for (const [index, client] of clients.entries()) {
      const args = ['seq-client.ts', '--to', `${await this.#addressOf(client)}:${PORTS[client.mode]}`, '--mode', client.mode]
      args.push('--rate', `${client.rate}`, '--client', `${this.#clients.length + index + 1}`, '--tell-every', `${TOLD_EVERY_S}`)
      args.push('--timeout', `${TIMEOUT_MS}`)
      args.push(...(client.fresh === true ? ['--fresh'] : ['--connections', '10']))
      await this.#mesh.cluster.apply(this.#pod(client.name, client.node, args))
    }
    this.#clients.push(...clients)
    await Promise.all(clients.map(({ name }) => this.space.ready(name)))
    for (const { name } of clients) await until(`${name} is answered`, 60_000, () => (this.#lastReport(name)?.answered ?? 0) > 0)
  }

  /** Requests per second of all clients. */
  get rate(): number {
    return this.#clients.reduce((sum, { rate }) => sum + rate, 0)
  }

  /** What was done while something played, and until what was under way then is answered or lost. */
  async during(play: () => Promise<void>): Promise<SeqSums> {
    const before = this.reports()
    await play()
    await sleep(TIMEOUT_MS + 2 * TOLD_EVERY_S * 1000) // what was under way is answered or lost, and told
    const after = this.reports()
    const sum = (value: (report: SeqReport) => number): number =>
      after.reduce((all, report, index) => all + value(report) - value(before[index] as SeqReport), 0)
    const codes = [...new Set(after.flatMap(({ errors }) => Object.keys(errors)))]
    const counts = codes.map((code) => [code, sum(({ errors }) => errors[code] ?? 0)] as const)
    return {
      sent: sum(({ sent }) => sent),
      answered: sum(({ answered }) => answered),
      lost: sum(({ lost }) => lost),
      twice: sum(({ duplicates }) => duplicates),
      damaged: sum(({ corrupted }) => corrupted),
      opened: sum(({ connectionsOpened }) => connectionsOpened),
      broken: sum(({ connectionsBroken }) => connectionsBroken),
      errors: Object.fromEntries(counts.filter(([, count]) => count > 0)),
      longestGapMs: Math.max(...after.map(({ longestGapMs }) => longestGapMs)),
      mostLateMs: Math.max(...after.map(({ mostLateMs }) => mostLateMs)),
      stoodStillMs: Math.max(...after.map(({ stoodStillMs }) => stoodStillMs)),
      p50Ms: Math.max(...after.map(({ latencyMs }) => latencyMs.p50)),
      p99Ms: Math.max(...after.map(({ latencyMs }) => latencyMs.p99)),
    }
  }

  /** Answers that a client has had. */
  answered(name: string): number {
    return this.#lastReport(name)?.answered ?? 0
  }

  /** The last account of each client. */
  reports(): readonly SeqReport[] {
    return this.#clients.map(({ name }) => {
      const report = this.#lastReport(name)
      assert.ok(report !== undefined, `${name} has said nothing yet`)
      return report
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.space[Symbol.asyncDispose]()
  }

  async #addressOf({ server, viaService }: SeqClientPod): Promise<string> {
    const service = { spec: { clusterIP: '' } }
    if (viaService === true) {
      const found = await this.#mesh.cluster.get<typeof service>('-n', this.space.name, 'service', server)
      return found.spec.clusterIP
    }
    return (await this.space.get(server)).status?.podIP ?? ''
  }

  #pod(name: string, node: number, args: readonly string[], more: object = {}): object {
    const volumeMounts = [{ name: 'seq', mountPath: '/seq' }]
    const volumes = [{ name: 'seq', configMap: { name: 'seq' } }]
    return this.space.pod(name, node, '', { command: ['node', ...args], workingDir: '/seq', volumeMounts, ...more }, { volumes })
  }

  #lastReport(name: string): SeqReport | undefined {
    const node = this.#clients.find((client) => client.name === name)?.node
    const pods = join(this.#mesh.cluster.layout.dir, `node${node}`, 'var/log/pods')
    const folder = readdirSync(pods).find((each) => each.startsWith(`${this.space.name}_${name}_`))
    if (folder === undefined) return undefined
    const text = readFileSync(join(pods, folder, 'app', '0.log'), 'utf8')
    const line = text
      .trimEnd()
      .split('\n')
      .findLast((each) => each.includes('"so far"') && each.endsWith('}'))
    return line === undefined ? undefined : (JSON.parse(line.slice(line.indexOf('{'))) as SeqReport)
  }
}

/** One line for a message. */
export function describeSums(sums: SeqSums): string {
  const { sent, answered, lost, errors, twice, damaged, opened, broken, longestGapMs, mostLateMs, stoodStillMs, p50Ms, p99Ms } = sums
  const faults = `${lost} lost ${JSON.stringify(errors)}, ${twice} twice, ${damaged} damaged, ${broken} connections broken`
  const times = `slowest client's p50 ${p50Ms} p99 ${p99Ms} ms, longest gap ${longestGapMs} ms, sent late by ${mostLateMs} ms at most`
  const pause = stoodStillMs > 0 ? `, ${stoodStillMs} ms left out in which the machine stood still` : ''
  return `${sent} sent, ${answered} answered, ${faults}, ${opened} opened, ${times}${pause}`
}
