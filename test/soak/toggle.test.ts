// The label goes on and off while requests run: not one of them is lost, and no connection that is open breaks, whether it was
// opened before the pod was enrolled or while it was.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Stage } from '../../cni/machine.ts'
import { deployedPod, service, type RunningCommand, type TestMesh, type TestPod, testMesh } from '../support/mesh.ts'
import type { SeqReport } from '../support/seq-client.ts'
import {
  describeReport,
  endLoad,
  IDLE,
  namespaceWith,
  SEQ_HTTP_PORT,
  SEQ_PROBE,
  SEQ_SERVER,
  SEQ_TCP_PORT,
  startLoad,
} from '../support/seq-pods.ts'
import { accessLines } from '../support/ztunnel-facts.ts'

const SPACE = 'toggled'
const FLIPS = Number(process.env.WEFT_TEST_FLIPS ?? 50)
/** Shorter than the default, so that many flips fit into a test; what is published must have arrived by then. */
const RELEASE_WAIT = '500ms'
const PORTS = { [SEQ_TCP_PORT]: SEQ_TCP_PORT, 80: SEQ_HTTP_PORT }
const OBJECTS = [
  ...namespaceWith(SPACE, ['client', 'near', 'far']),
  deployedPod(SPACE, 'client', 'node-1', IDLE),
  deployedPod(SPACE, 'near', 'node-1', SEQ_SERVER, SEQ_PROBE),
  deployedPod(SPACE, 'far', 'node-2', SEQ_SERVER, SEQ_PROBE),
  service(SPACE, 'near', PORTS),
  service(SPACE, 'far', PORTS),
]

describe('toggling the label under load', function () {
  this.timeout('120s')
  let mesh: TestMesh
  let client: TestPod

  before(async () => {
    mesh = await testMesh({ nodes: 2, objects: OBJECTS, componentArgs: { cni: ['--release-wait', RELEASE_WAIT] } })
    client = await mesh.pod(`${SPACE}/client`)
  })
  after(async () => {
    await mesh?.[Symbol.asyncDispose]()
  })

  const flip = (isOn: boolean): Promise<void> => mesh.label(SPACE, { 'istio.io/dataplane-mode': isOn ? 'ambient' : null })
  /** Where the agents are with each pod, by their own files. */
  const stages = (): Stage[] =>
    mesh.mesh.nodes.flatMap(({ dir }) =>
      readdirSync(join(dir, 'cni'))
        .filter((file) => file.endsWith('.json'))
        .map((file) => (JSON.parse(readFileSync(join(dir, 'cni', file), 'utf8')) as { stage: Stage }).stage),
    )
  /** `parting`: nothing is captured any more, and ztunnel serves the connections that are still open. */
  const settled = (isOn: boolean): Promise<true> =>
    mesh.until(`the pods are ${isOn ? 'in' : 'out'}`, () => {
      const wanted: readonly Stage[] = isOn ? ['enrolled'] : ['parting', 'retracting', 'out']
      const found = stages()
      return (found.length === 3 && found.every((stage) => wanted.includes(stage))) || undefined
    })

  it(`loses no request and breaks no connection in ${FLIPS} flips under 200 requests/s`, async () => {
    const { ip: near, ip6: near6 } = await mesh.pod(`${SPACE}/near`)
    const { ip: far } = await mesh.pod(`${SPACE}/far`)
    const loads = startLoads(client, { near, near6, far })
    const reports: Record<string, SeqReport> = {}
    let begunWhileIn: RunningCommand | undefined
    for (const load of Object.values(loads)) await mesh.until('a client runs', () => load.stdout.includes('running'))
    for (let count = 1; count <= FLIPS; count++) {
      const isOn = count % 2 === 1
      await flip(isOn)
      if (count % 5 === 4) continue // every now and then the next flip comes before this one has been carried out
      await settled(isOn)
      if (count === 1) {
        begunWhileIn = startLoad(client, 6, { to: `far:${SEQ_TCP_PORT}`, mode: 'tcp', rate: 10, connections: 4, bytes: 20_000 })
        loads['connections opened as captured, other node'] = begunWhileIn
        await mesh.until('a client runs', () => begunWhileIn?.stdout.includes('running'))
      }
    }
    for (const [name, load] of Object.entries(loads)) reports[name] = await endLoad(load)
    assertWhole(reports)
    const total = Object.values(reports).reduce((sum, { sent }) => sum + sent, 0)
    const meshed = [1, 2]
      .flatMap((node) => accessLines(mesh, node))
      .filter((line) => line.direction === 'inbound' && line['src.identity'] !== undefined)
    assert.ok(
      meshed.length > total / 50 && meshed.length < total / 2,
      `${meshed.length} of ${total} requests over mutual TLS: it was not switched`,
    )
  })
})

/** Every kind of connection, all at once: new and open, by name and by address, to both nodes. */
function startLoads(client: TestPod, to: { near: string; near6: string; far: string }): Record<string, RunningCommand> {
  const { near, near6, far } = to
  return {
    'new HTTP connections by name, other node': startLoad(client, 1, { to: 'far:80', mode: 'http', rate: 60, fresh: true }),
    'new TCP connections by address, other node': startLoad(client, 2, {
      to: `${far}:${SEQ_TCP_PORT}`,
      mode: 'tcp',
      rate: 50,
      fresh: true,
    }),
    'new TCP connections by IPv6 address, same node': startLoad(client, 3, {
      to: `[${near6}]:${SEQ_TCP_PORT}`,
      mode: 'tcp',
      rate: 50,
      fresh: true,
    }),
    'open TCP connections, other node': startLoad(client, 4, { to: `far:${SEQ_TCP_PORT}`, mode: 'tcp', rate: 20, connections: 8 }),
    'open HTTP connections, same node': startLoad(client, 5, { to: `${near}:${SEQ_HTTP_PORT}`, mode: 'http', rate: 20, connections: 4 }),
  }
}

function assertWhole(reports: Readonly<Record<string, SeqReport>>): void {
  const text = Object.entries(reports)
    .map(([name, report]) => `${name}: ${describeReport(report)}`)
    .join('\n')
  if (process.env.WEFT_TEST_TALK) console.log(text)
  for (const [name, { sent, answered, lost, duplicates, corrupted, connectionsBroken }] of Object.entries(reports)) {
    assert.deepEqual(
      { name, lost, duplicates, corrupted, connectionsBroken },
      { name, lost: 0, duplicates: 0, corrupted: 0, connectionsBroken: 0 },
      text,
    )
    assert.equal(answered, sent, name)
  }
}
