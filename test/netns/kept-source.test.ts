// The client's address is kept toward the app: ztunnel's connection then differs from the client's own only by its port, and
// both meet in the pod's namespace. They must never be the same.
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { inNetns, openNetns } from '../../linux/netns.ts'
import { deployedPod, type TestMesh, type TestPod, testMesh } from '../support/mesh.ts'
import type { ServerReport } from '../support/seq-server.ts'
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

const IN = 'kept-in'
const OUT = 'kept-out'
/** So few that a port chosen from them by ztunnel is soon one that the client uses. */
const FEW_PORTS = '40000 40299'
/** Both loads together leave some of them: closed connections keep theirs for a minute. */
const OPEN = 60
const FRESH = 210
const AMBIENT = { 'istio.io/dataplane-mode': 'ambient' }
const [space, ...accounts] = namespaceWith(IN, ['server'])
const OBJECTS = [
  { ...space, metadata: { name: IN, labels: AMBIENT } },
  ...accounts,
  ...namespaceWith(OUT, ['client']),
  deployedPod(OUT, 'client', 'node-1', IDLE),
  deployedPod(IN, 'server', 'node-1', SEQ_SERVER, SEQ_PROBE),
]

describe('a kept source address', () => {
  let mesh: TestMesh

  before(async () => {
    mesh = await testMesh({ nodes: 1, objects: OBJECTS })
  })
  after(async () => {
    await mesh?.[Symbol.asyncDispose]()
  })

  const limitPorts = (pod: TestPod): void => {
    using netns = openNetns(pod.netnsPath)
    inNetns(netns.fd, () => writeFileSync('/proc/sys/net/ipv4/ip_local_port_range', FEW_PORTS))
  }

  it('comes with a port that the client itself does not use', async () => {
    const [client, server] = [await mesh.pod(`${OUT}/client`), await mesh.pod(`${IN}/server`)]
    for (const pod of [client, server]) limitPorts(pod)
    const open = startLoad(client, 1, { to: `${server.ip}:${SEQ_TCP_PORT}`, mode: 'tcp', rate: 40, connections: OPEN })
    const fresh = startLoad(client, 2, { to: `${server.ip}:${SEQ_TCP_PORT}`, mode: 'tcp', rate: 40, fresh: true, most: FRESH })
    await mesh.until('the server has seen enough', async () => {
      const { stdout } = await client.script(`console.log(await (await fetch('http://${server.ip}:${SEQ_HTTP_PORT}/report')).text())`)
      const { clients } = JSON.parse(stdout || '{"clients":{}}') as Pick<ServerReport, 'clients'>
      return (clients['2']?.distinct ?? 0) === FRESH
    })
    for (const report of [await endLoad(open), await endLoad(fresh)]) {
      assert.deepEqual([report.lost, report.connectionsBroken], [0, 0], describeReport(report))
      assert.ok(report.answered > 100)
    }
  })
})
