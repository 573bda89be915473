// A mesh with one client pod (node-1) and one server pod (node-2), taps on the bridge and on both pods' veths, and numbered
// requests, each on a connection of its own, while a test breaks something.
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { describeFlow, Tap } from '../../tap/tap.ts'
import { openNetns } from '../../linux/netns.ts'
import { NETNS_DIR } from '../../runtime/layout.ts'
import { getInNetns } from '../../runtime/node-http.ts'
import { deployment, type TestMesh, type TestMeshOptions, type TestPod, testMesh } from './mesh.ts'
import type { SeqReport } from './seq-client.ts'

const SUPPORT = import.meta.dirname
const PORT = 9000

/** Objects of the mesh: `shop/client` on node-1, `shop/server` on node-2 (port 9000), enrolled and STRICT. */
export const LOAD_OBJECTS: readonly object[] = [
  { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop', labels: { 'istio.io/dataplane-mode': 'ambient' } } },
  { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'plain' } },
  {
    apiVersion: 'security.istio.io/v1',
    kind: 'PeerAuthentication',
    metadata: { name: 'strict', namespace: 'shop' },
    spec: { mtls: { mode: 'STRICT' } },
  },
  deployment('shop', 'server', ['node', join(SUPPORT, 'seq-server.ts'), '--tcp-port', String(PORT)], {
    pod: { nodeName: 'node-2' },
    container: { readinessProbe: { tcpSocket: { port: PORT }, periodSeconds: 1 } },
  }),
  deployment('shop', 'client', ['sleep', 'infinity'], { pod: { nodeName: 'node-1' } }),
]

/** Requests under way; `finished` gives their account. */
export interface Load {
  hasBegun(): boolean
  readonly finished: Promise<SeqReport>
}

/** The mesh with its taps. */
export class LoadedMesh implements AsyncDisposable {
  readonly mesh: TestMesh
  readonly client: TestPod
  readonly server: TestPod
  readonly #taps: readonly (readonly [where: string, tap: Tap])[]
  #clients = 0

  private constructor(mesh: TestMesh, client: TestPod, server: TestPod, taps: readonly (readonly [string, Tap])[]) {
    this.mesh = mesh
    this.client = client
    this.server = server
    this.#taps = taps
  }

  /** Starts the mesh; `objects` come on top of LOAD_OBJECTS. */
  static async start(options: Omit<TestMeshOptions, 'objects'> & { readonly objects?: readonly object[] } = {}): Promise<LoadedMesh> {
    const mesh = await testMesh({ ...options, objects: [...LOAD_OBJECTS, ...(options.objects ?? [])] })
    const [client, server] = [await mesh.pod('shop/client'), await mesh.pod('shop/server')]
    const taps: [string, Tap][] = [['bridge', await Tap.open({ device: mesh.mesh.layout.bridge })]]
    for (const [name, pod, index] of [
      ['client', client, 1],
      ['server', server, 2],
    ] as const) {
      using netns = openNetns(join(NETNS_DIR, mesh.node(index).netns))
      taps.push([name, await Tap.open({ netnsFd: netns.fd, device: pod.hostInterface })])
    }
    const loaded = new LoadedMesh(mesh, client, server, taps)
    await mesh.until('both pods are enrolled', async () =>
      (await mesh.status()).pods.filter((pod) => pod.namespace === 'shop').every((pod) => pod.enrolment === 'enabled'),
    )
    await mesh.until('the path works', async () => (await loaded.load(50, 0.3).finished).lost === 0)
    return loaded
  }

  /** Requests to the server, each on a new connection (or, without `fresh`, over one that stays open), for some seconds. */
  load(rate: number, seconds: number, { fresh = true, from = this.client }: { fresh?: boolean; from?: TestPod } = {}): Load {
    const flags = { to: `${this.server.ip}:${PORT}`, rate, seconds, client: ++this.#clients, timeout: 5300 }
    const args = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, String(value)])
    const running = from.start([process.execPath, join(SUPPORT, 'seq-client.ts'), ...args, ...(fresh ? ['--fresh'] : [])])
    const reported = (): string | undefined => running.stdout.split('\n').find((each) => each.includes('"report"'))
    return {
      hasBegun: () => running.stdout.includes('"running"'),
      finished: this.mesh.until('the requests are done', reported).then(async (line) => {
        await running.stop()
        return JSON.parse(line) as SeqReport
      }),
    }
  }

  /** Fails unless everything between the two pods that passed a tap was TLS on 15008, and the server met only its mesh. */
  async assertNoPlaintext(): Promise<void> {
    const pods = [this.client, this.server].flatMap((pod) => [pod.ip, pod.ip6])
    for (const [where, tap] of this.#taps) {
      const faults = (await tap.meshFaults(pods)).filter((fault) => fault.reason !== 'begun before the tap')
      assert.deepEqual(
        faults.map((fault) => `${where}: ${fault.reason}: ${describeFlow(fault.flow)}`),
        [],
      )
    }
    assert.ok(
      (await this.#taps[0]?.[1].tcpBetween(pods))?.some((flow) => flow.serverPort === 15_008),
      'the taps saw the requests',
    )
  }

  /** Makes the taps forget what they have seen. */
  async clearTaps(): Promise<void> {
    for (const [, tap] of this.#taps) await tap.clear()
  }

  /** A counter of the node's agent; 0 when it has no such line yet. */
  async agentMetric(index: number, line: string): Promise<number> {
    const { body } = await getInNetns(this.mesh.node(index).netns, '127.0.0.1', 15_014, '/metrics')
    return Number(
      body
        .split('\n')
        .find((each) => each.startsWith(`${line} `))
        ?.split(' ')[1] ?? 0,
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const [, tap] of this.#taps) await tap[Symbol.asyncDispose]()
    await this.mesh[Symbol.asyncDispose]()
  }
}
