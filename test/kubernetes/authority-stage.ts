// Replicas of the control plane as processes of this machine against a test cluster's API server, and node proxies that ask them for
// certificates with tokens of that API server.
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { CaClient } from '../../identity/ca-client.ts'
import type { WorkloadCertificate } from '../../identity/ca-client.ts'
import { systemClock } from '../../kit/clock.ts'
import type { MeshObject } from '../../model/object.ts'
import type { Cluster } from './cluster/cluster.ts'
import { until } from './cluster/processes.ts'

const ROOT = join(import.meta.dirname, '../..')
const NODE_ENV_NAMES = ['PATH', 'HOME'] as const

/** Whose token: by default ztunnel's of node-1, for the audience of the mesh. `pod` empty = bound to none, `audience` empty = the API server's. */
export interface TokenOptions {
  readonly namespace?: string
  readonly account?: string
  readonly pod?: string
  readonly audience?: string
  readonly isTampered?: boolean
}

interface Line {
  readonly message?: string
  readonly grpcPort?: number
  readonly reason?: string
}

interface Replica {
  readonly child: ChildProcess
  readonly lines: Line[]
  port: number
}

/** A pod on a node that no kubelet looks after. */
export function boundPod(namespace: string, name: string, serviceAccountName: string, nodeName: string): object {
  const spec = {
    nodeName,
    serviceAccountName,
    automountServiceAccountToken: false,
    terminationGracePeriodSeconds: 0,
    tolerations: [{ operator: 'Exists' }],
  }
  return { apiVersion: 'v1', kind: 'Pod', metadata: { namespace, name }, spec: { ...spec, containers: [{ name: 'main', image: 'none' }] } }
}

/** The token with another signature. */
export function tamper(token: string): string {
  return `${token.slice(0, -8)}AAAAAAAA`
}

/** The processes; disposing of it kills what still runs. */
export class Replicas implements Disposable {
  readonly #cluster: Cluster
  readonly #replicas = new Map<string, Replica>()
  #roots: Buffer = Buffer.alloc(0)

  constructor(cluster: Cluster) {
    this.#cluster = cluster
  }

  /** Starts one and waits until it is ready. */
  async start(name: string): Promise<void> {
    const where = ['--source=kubernetes', `--kubeconfig=${this.#cluster.layout.kubeconfig}`, `--pod-name=${name}`]
    const listen = ['--listen=127.0.0.1:0', '--metrics-listen=127.0.0.1:0', '--serving-ips=127.0.0.1']
    const env = Object.fromEntries(NODE_ENV_NAMES.map((each) => [each, process.env[each] ?? '']))
    const child = spawn(process.execPath, [join(ROOT, 'controlplane/main.ts'), ...where, ...listen], {
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const replica: Replica = { child, lines: [], port: 0 }
    this.#replicas.set(name, replica)
    let rest = ''
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      const parts = (rest + text).split('\n')
      rest = parts.pop() ?? ''
      replica.lines.push(...parts.map((part) => JSON.parse(part) as Line))
    })
    await until(`replica ${name} is ready`, 60_000, () => this.#isReady(replica))
    const secret = await this.#cluster.get<MeshObject>('secret', '-n', 'weft-system', 'weft-ca')
    this.#roots = Buffer.from(secret.data?.['root-cert.pem'] ?? '', 'base64')
  }

  kill(name: string): void {
    this.#replica(name).child.kill('SIGKILL')
  }

  /** Port of xDS and certificates on 127.0.0.1. */
  port(name: string): number {
    return this.#replica(name).port
  }

  pid(name: string): number {
    return this.#replica(name).child.pid ?? 0
  }

  /** PEM of what the replicas' certificates end in. */
  get roots(): Buffer {
    return this.#roots
  }

  /** Ends one in order. */
  async end(name: string): Promise<void> {
    const { child } = this.#replica(name)
    child.kill('SIGTERM')
    await once(child, 'exit')
  }

  /** Who holds the lease. */
  async leader(): Promise<string> {
    const lease = await this.#cluster.get<MeshObject<{ holderIdentity: string }>>('lease', '-n', 'weft-system', 'weft-leader')
    return lease.spec?.holderIdentity ?? ''
  }

  /** A token as the kubelet gets it for a pod. */
  async token({
    namespace = 'weft-system',
    account = 'ztunnel',
    pod = 'ztunnel-1',
    audience = 'istio-ca',
  }: TokenOptions = {}): Promise<string> {
    const words = ['create', 'token', account, '-n', namespace, ...(audience === '' ? [] : ['--audience', audience])]
    if (pod === '') return (await this.#cluster.kubectl(...words)).trim()
    const { metadata } = await this.#cluster.get<MeshObject>('pod', '-n', namespace, pod)
    const bound = ['--bound-object-kind', 'Pod', '--bound-object-name', pod, '--bound-object-uid', metadata.uid ?? '']
    return (await this.#cluster.kubectl(...words, ...bound)).trim()
  }

  /** Asks for a certificate of `namespace/account`. */
  async ask(name: string, token: string, wants = 'shop/cart'): Promise<WorkloadCertificate> {
    const [namespace = '', serviceAccount = ''] = wants.split('/')
    const client = new CaClient({
      address: `127.0.0.1:${this.#replica(name).port}`,
      serverName: 'istiod.istio-system.svc',
      roots: () => this.#roots,
      token: () => token,
      clusterId: 'Kubernetes',
      ttlMs: 3_600_000,
      clock: systemClock,
    })
    try {
      return await client.fetch({ trustDomain: 'cluster.local', namespace, serviceAccount })
    } finally {
      client.close()
    }
  }

  async canAsk(name: string, token: string, wants?: string): Promise<boolean> {
    return this.ask(name, token, wants).then(
      () => true,
      () => false,
    )
  }

  /** Asks for what must be refused. @returns the reason in the audit log */
  async refusal(name: string, token: string, wants?: string): Promise<string> {
    const { lines } = this.#replica(name)
    const before = lines.length
    assert.equal(await this.canAsk(name, token, wants), false)
    const audited = (): readonly Line[] => lines.slice(before).filter(({ message }) => message === 'certificate refused')
    await until('an audit event', 2000, () => audited().length > 0)
    assert.equal(audited().length, 1)
    return audited()[0]?.reason ?? ''
  }

  [Symbol.dispose](): void {
    for (const { child } of this.#replicas.values()) if (child.exitCode === null) child.kill('SIGKILL')
  }

  #isReady(replica: Replica): boolean {
    assert.equal(replica.child.exitCode, null, 'the replica has ended')
    replica.port = replica.lines.find(({ message }) => message === 'control plane ready')?.grpcPort ?? 0
    return replica.port !== 0
  }

  #replica(name: string): Replica {
    const replica = this.#replicas.get(name)
    assert.ok(replica !== undefined)
    return replica
  }
}
