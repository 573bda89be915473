// Taps on everything that carries a mesh's traffic: the bridge between the nodes and the host side of every pod's veth, so that
// neither traffic between nodes nor within one stays unseen.
import { join } from 'node:path'
import { openNetns } from '../../linux/netns.ts'
import { NETNS_DIR } from '../../runtime/layout.ts'
import type { Flow } from '../../tap/flows.ts'
import { describeFlow, Tap } from '../../tap/tap.ts'
import type { TestMesh, TestPod } from './mesh.ts'

/** Taps of one mesh; dispose of it before the mesh. */
export class Wire implements AsyncDisposable {
  readonly #taps: ReadonlyMap<string, Tap>
  readonly #pods: readonly TestPod[]
  readonly #old = new Map<Tap, { readonly flows: ReadonlyMap<string, string>; readonly seen: ReadonlyMap<string, number> }>()

  private constructor(taps: ReadonlyMap<string, Tap>, pods: readonly TestPod[]) {
    this.#taps = taps
    this.#pods = pods
  }

  /** @param markers texts to look for in payloads */
  static async open(mesh: TestMesh, pods: readonly TestPod[], markers: readonly string[]): Promise<Wire> {
    await using stack = new AsyncDisposableStack()
    const taps = new Map<string, Tap>()
    taps.set('bridge', stack.use(await Tap.open({ device: mesh.mesh.layout.bridge, markers })))
    for (const pod of pods) {
      const node = mesh.mesh.nodes.find((each) => each.name === pod.node)
      if (node === undefined) throw new Error(`no node ${pod.node}`)
      using netns = openNetns(join(NETNS_DIR, node.netns))
      taps.set(pod.name, stack.use(await Tap.open({ netnsFd: netns.fd, device: pod.hostInterface, markers })))
    }
    stack.move()
    return new Wire(taps, pods)
  }

  /** From now on only what is new counts. The taps remember how each connection began, so that those still open can be judged. */
  async mark(): Promise<void> {
    for (const tap of this.#taps.values()) {
      const { flows, sightings } = await tap.read()
      this.#old.set(tap, {
        flows: new Map(flows.map((flow) => [keyOf(flow), weightOf(flow)])),
        seen: new Map(sightings.map(({ marker, count }) => [marker, count])),
      })
    }
  }

  /** Where a marker was readable, and how often. */
  async seen(marker: string): Promise<Readonly<Record<string, number>>> {
    const counts: Record<string, number> = {}
    for (const [where, tap] of this.#taps) {
      const count = (await tap.seen(marker)) - (this.#old.get(tap)?.seen.get(marker) ?? 0)
      if (count > 0) counts[where] = count
    }
    return counts
  }

  /** TCP connections between pod addresses by tap. */
  async connections(): Promise<Readonly<Record<string, number>>> {
    const counts: Record<string, number> = {}
    for (const [where, tap] of this.#taps)
      counts[where] = (await tap.tcpBetween(this.#ips())).filter((flow) => this.#isNew(tap, flow)).length
    return counts
  }

  /** Every TCP connection between pod addresses that is not TLS on port 15008, one line each. */
  async faults(): Promise<string[]> {
    const faults: string[] = []
    for (const [where, tap] of this.#taps)
      for (const { reason, flow } of await tap.meshFaults(this.#ips()))
        if (this.#isNew(tap, flow)) faults.push(`${where}: ${reason}: ${describeFlow(flow)}`)
    return faults
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const tap of this.#taps.values()) await tap[Symbol.asyncDispose]()
  }

  #isNew(tap: Tap, flow: Flow): boolean {
    return this.#old.get(tap)?.flows.get(keyOf(flow)) !== weightOf(flow)
  }

  #ips(): string[] {
    return this.#pods.flatMap((pod) => [pod.ip, pod.ip6])
  }
}

function keyOf({ client, clientPort, server, serverPort }: Flow): string {
  return `${client} ${clientPort} ${server} ${serverPort}`
}

/** What changes when a connection opens or carries something; a late FIN does not. */
function weightOf(flow: Flow): string {
  return `${flow.syns} ${flow.bytesToServer} ${flow.bytesToClient}`
}
