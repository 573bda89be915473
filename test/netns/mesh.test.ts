// The main story, on a whole mesh: the label on a namespace turns what its pods say to each other into mutual TLS between
// SPIFFE identities, on the wire between nodes and within one, while the apps notice nothing.
import assert from 'node:assert/strict'
import { deployedPod, service, type TestMesh, type TestPod, testMesh } from '../support/mesh.ts'
import { Wire } from '../support/wire.ts'
import { accessLines, type Sample, ztunnelMetrics } from '../support/ztunnel-facts.ts'

const SPACE = 'story'
const MARKER = 'in-plain-sight'
const AMBIENT = { 'istio.io/dataplane-mode': 'ambient' }
/** Says who called, as the app sees it, and repeats the marker that it was sent. */
const SERVER = `
import { createServer } from 'node:http'
createServer((request, response) => response.end(JSON.stringify({
  host: process.env.HOSTNAME, from: request.socket.remoteAddress.replace('::ffff:', ''), at: request.socket.localAddress.replace('::ffff:', ''), url: request.url,
}))).listen(8080, '::')
process.on('SIGTERM', () => process.exit(0))
`
const run = ['node', '--input-type=module', '-e', SERVER]
const probe = { readinessProbe: { httpGet: { path: '/ready', port: 8080 }, periodSeconds: 1 } }
const OBJECTS = [
  { apiVersion: 'v1', kind: 'Namespace', metadata: { name: SPACE } },
  ...['client', 'far', 'near'].map((name) => ({ apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace: SPACE } })),
  deployedPod(SPACE, 'client', 'node-1', ['node', '-e', 'process.on("SIGTERM", () => process.exit(0)); setInterval(() => {}, 1000)']),
  deployedPod(SPACE, 'near', 'node-1', run, probe),
  deployedPod(SPACE, 'far', 'node-2', run, probe),
  service(SPACE, 'near', { 80: 8080 }),
  service(SPACE, 'far', { 80: 8080 }),
]

interface Answer {
  readonly host?: string
  readonly from?: string
  readonly at?: string
  readonly error?: string
}

describe('a mesh', () => {
  let mesh: TestMesh
  let wire: Wire
  let pods: Record<'client' | 'near' | 'far', TestPod>

  before(async () => {
    mesh = await testMesh({ nodes: 2, objects: OBJECTS })
    const [client, near, far] = await Promise.all(['client', 'near', 'far'].map((name) => mesh.pod(`${SPACE}/${name}`)))
    if (client === undefined || near === undefined || far === undefined) throw new Error('a pod is missing')
    pods = { client, near, far }
    wire = await Wire.open(mesh, Object.values(pods), [MARKER])
  })
  after(async () => {
    await wire?.[Symbol.asyncDispose]()
    await mesh?.[Symbol.asyncDispose]()
  })

  /** One request to each URL from the client pod. */
  const ask = async (...hosts: string[]): Promise<Answer[]> => {
    const urls = hosts.map((host) => `http://${host}/${MARKER}`)
    const { stdout, stderr } = await pods.client.script(`
      const answers = []
      for (const url of ${JSON.stringify(urls)})
        answers.push(await fetch(url, { headers: { connection: 'close' } }).then((r) => r.json(), (e) => ({ error: e.cause?.code ?? String(e) })))
      console.log(JSON.stringify(answers))`)
    assert.notEqual(stdout, '', stderr)
    return JSON.parse(stdout)
  }
  const ips = (): string[] => [
    ...[pods.far, pods.near].map(({ ip }) => `${ip}:8080`),
    ...[pods.far, pods.near].map(({ ip6 }) => `[${ip6}]:8080`),
  ]
  const vips = async (): Promise<string[]> => {
    const found = await Promise.all(['far', 'near'].map((name) => mesh.client.get('services', SPACE, name)))
    return found.flatMap(({ spec }) => (spec as { clusterIPs: string[] }).clusterIPs).map((ip) => (ip.includes(':') ? `[${ip}]` : ip))
  }
  const names = ['far', `near.${SPACE}`, `far.${SPACE}.svc`, `near.${SPACE}.svc.cluster.local`]
  const isEnrolled = async (wanted: string): Promise<true | undefined> =>
    (await mesh.status()).pods.every((pod) => pod.enrolment === wanted) || undefined
  /** What is published has arrived at both proxies. */
  const settled = (wanted: 'enabled' | '-'): Promise<true> => mesh.until(`all pods are ${wanted}`, () => isEnrolled(wanted))

  describe('without the label', () => {
    it('carries requests by address, service address and name', async () => {
      for (const answer of await ask(...ips(), ...(await vips()), ...names)) {
        assert.equal(answer.error, undefined)
        assert.ok([pods.client.ip, pods.client.ip6].includes(answer.from ?? ''), JSON.stringify(answer))
      }
    })

    it('shows them in plaintext on every link that they pass', async () => {
      assert.deepEqual(Object.keys(await wire.seen(MARKER)).sort(), ['bridge', 'client', 'far', 'near'])
      assert.ok((await wire.faults()).length > 0)
    })
  })

  describe('with the label', () => {
    before(async () => {
      await mesh.label(SPACE, AMBIENT)
      await settled('enabled')
      await ask(...ips()) // to peers whose new state may still be on its way: either way is right until it has arrived
      await mesh.until('proxies know that both servers speak HBONE', async () => {
        const before = accessLines(mesh, 1).length
        await ask(...ips())
        const lines = await mesh.until('access lines', () => {
          const all = accessLines(mesh, 1).slice(before)
          return all.filter((line) => line.direction === 'outbound').length >= ips().length && all
        })
        return lines.filter((line) => line.direction === 'outbound').every((line) => line['dst.identity'] !== undefined)
      })
      await wire.mark()
    })

    it('shows the app the client by its own address, IPv4 and IPv6', async () => {
      const answers = await ask(...ips())
      const { client, far, near } = pods
      assert.deepEqual(
        answers.map(({ from, at }) => [from, at]),
        [
          [client.ip, far.ip],
          [client.ip, near.ip],
          [client.ip6, far.ip6],
          [client.ip6, near.ip6],
        ],
      )
    })

    it('reaches services by both addresses and by every form of their names', async () => {
      const answers = await ask(...(await vips()), ...names)
      const hosts = answers.map((answer) => answer.host ?? answer.error)
      assert.deepEqual(hosts, ['far', 'far', 'near', 'near', 'far', 'near', 'far', 'near'])
      for (const { from } of answers) assert.ok([pods.client.ip, pods.client.ip6].includes(from ?? ''))
    })

    it('puts nothing but TLS to port 15008 on any link, within a node too', async () => {
      const counts = await wire.connections()
      for (const where of ['bridge', 'client', 'far', 'near']) assert.ok((counts[where] ?? 0) > 0, `nothing passed ${where}`)
      assert.deepEqual(await wire.faults(), [])
      assert.deepEqual(await wire.seen(MARKER), {})
    })

    it('names both identities in the access log of either side', async () => {
      const id = (account: string): string => `spiffe://cluster.local/ns/${SPACE}/sa/${account}`
      for (const [node, name, direction] of [
        [2, 'far', 'inbound'],
        [1, 'near', 'inbound'],
        [1, 'far', 'outbound'],
      ] as const) {
        const line = accessLines(mesh, node).findLast((each) => each.direction === direction && each['dst.workload'] === name)
        assert.deepEqual([line?.['src.identity'], line?.['dst.identity']], [id('client'), id(name)])
        assert.equal(line?.message, 'connection complete')
        assert.ok(Number(line?.bytes_sent) > 0 && Number(line?.bytes_recv) > 0, JSON.stringify(line))
      }
    })

    it('counts connections with both principals as mutual TLS on either side', async () => {
      const find = (samples: Sample[], name: string, reporter: string): number =>
        samples
          .filter(({ labels }) => labels.reporter === reporter && labels.connection_security_policy === 'mutual_tls')
          .filter(({ labels }) => labels.source_principal === `spiffe://cluster.local/ns/${SPACE}/sa/client`)
          .filter(({ labels }) => labels.destination_principal === `spiffe://cluster.local/ns/${SPACE}/sa/far`)
          .filter((sample) => sample.name === name)
          .reduce((sum, { value }) => sum + value, 0)
      const sides = [await ztunnelMetrics(mesh, 1), await ztunnelMetrics(mesh, 2)] as const
      await ask(...ips())
      for (const [index, reporter] of [
        [0, 'source'],
        [1, 'destination'],
      ] as const) {
        const after = await ztunnelMetrics(mesh, index + 1)
        const grown = (name: string): number => find(after, name, reporter) - find(sides[index] ?? [], name, reporter)
        assert.equal(grown('istio_tcp_connections_opened_total'), 2, reporter) // IPv4 and IPv6
        assert.ok(grown('istio_tcp_received_bytes_total') > 0 && grown('istio_tcp_sent_bytes_total') > 0, reporter)
      }
    })

    it('carries TCP exactly, with half-closes, in both directions at once', async () => {
      const { stdout, stderr } = await pods.client.script(HALF_CLOSE(pods.far.ip))
      assert.deepEqual(JSON.parse(stdout || '{}'), { status: 'HTTP/1.1 200 OK', hasEnded: true }, stderr)
    })
  })

  describe('with the label removed again', () => {
    it('goes back to plaintext without a restart of any pod', async () => {
      await mesh.label(SPACE, { 'istio.io/dataplane-mode': null })
      await settled('-')
      await wire.mark()
      await mesh.until('plaintext everywhere', async () => {
        for (const answer of await ask(...ips(), ...names)) assert.equal(answer.error, undefined)
        return Object.keys(await wire.seen(MARKER)).length === 4
      })
      assert.deepEqual(
        (await mesh.status()).pods.map((pod) => pod.restarts),
        [0, 0, 0],
      )
    })
  })
})

/** A request whose sender ends its side at once: the answer must still come whole. */
function HALF_CLOSE(ip: string): string {
  return `
    import net from 'node:net'
    const socket = net.connect({ host: '${ip}', port: 8080, allowHalfOpen: true })
    socket.end('GET /half HTTP/1.1\\r\\nhost: far\\r\\nconnection: close\\r\\n\\r\\n')
    const chunks = []
    for await (const chunk of socket) chunks.push(chunk)
    console.log(JSON.stringify({ status: Buffer.concat(chunks).toString().split('\\r\\n')[0], hasEnded: socket.readableEnded }))`
}
