// Redirect mode `nftables`, with no BPF program on any node: what pods of the mesh say to each other is mutual TLS, apps see the
// client's address, names are resolved by ztunnel, probes reach STRICT pods and nobody else's plaintext does. IPv4 and IPv6.
import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import net from 'node:net'
import { readRedirections } from '../../cli/redirects.ts'
import { openNetns } from '../../linux/netns.ts'
import { tcpConnect } from '../../linux/socket.ts'
import { PROXY_MARK } from '../../linux/source-routing.ts'
import type { IpAddress } from '../../model/address.ts'
import { getInNetns } from '../../runtime/node-http.ts'
import { dialTcp, logLine, nodeNetns } from '../support/mesh-view.ts'
import { deployedPod, service, type TestMesh, type TestPod, testMesh } from '../support/mesh.ts'
import { nft } from '../support/nft.ts'
import { Wire } from '../support/wire.ts'
import { accessLines } from '../support/ztunnel-facts.ts'

const SPACE = 'story'
const MARKER = 'in-plain-sight'
const AMBIENT = { 'istio.io/dataplane-mode': 'ambient' }
/** Says who called, as the app sees it, and is ready as long as it is asked. */
const SERVER = `
import { createServer } from 'node:http'
createServer((request, response) => response.end(JSON.stringify({
  host: process.env.HOSTNAME, from: request.socket.remoteAddress.replace('::ffff:', ''), url: request.url,
}))).listen(8080, '::')
process.on('SIGTERM', () => process.exit(0))
`
const run = ['node', '--input-type=module', '-e', SERVER]
const probe = { readinessProbe: { httpGet: { path: '/ready', port: 8080 }, periodSeconds: 1, failureThreshold: 1 } }
const namespace = (name: string, labels: object): object => ({ apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } })
const account = (ns: string, name: string): object => ({ apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace: ns } })
const STRICT = {
  apiVersion: 'security.istio.io/v1',
  kind: 'PeerAuthentication',
  metadata: { name: 'strict', namespace: SPACE },
  spec: { mtls: { mode: 'STRICT' } },
}
const OBJECTS = [
  ...[namespace(SPACE, AMBIENT), namespace('outside', {})],
  ...['client', 'far', 'near'].map((name) => account(SPACE, name)),
  account('outside', 'visitor'),
  deployedPod(SPACE, 'client', 'node-1', run, probe),
  deployedPod(SPACE, 'near', 'node-1', run, probe),
  deployedPod(SPACE, 'far', 'node-2', run, probe),
  deployedPod('outside', 'visitor', 'node-2', run, probe),
  service(SPACE, 'near', { 80: 8080 }),
  service(SPACE, 'far', { 80: 8080 }),
  STRICT,
]

interface Answer {
  readonly host?: string
  readonly from?: string
  readonly error?: string
}

describe('a mesh that redirects by nftables', () => {
  let mesh: TestMesh
  let wire: Wire
  let pods: Record<'client' | 'near' | 'far' | 'visitor', TestPod>

  before(async () => {
    mesh = await testMesh({ nodes: 2, objects: OBJECTS, componentArgs: { cni: ['--redirect=nftables', '--reconcile-interval=1s'] } })
    const pod = (name: string): Promise<TestPod> => mesh.pod(`${name === 'visitor' ? 'outside' : SPACE}/${name}`)
    const [client, near, far, visitor] = [await pod('client'), await pod('near'), await pod('far'), await pod('visitor')]
    pods = { client, near, far, visitor }
    await mesh.until('all are enrolled', async () =>
      (await mesh.status()).pods.every(({ namespace: ns, enrolment }) => enrolment === (ns === SPACE ? 'enabled' : '-')),
    )
    wire = await Wire.open(mesh, [client, near, far], [MARKER])
    await mesh.until('the paths are known', async () =>
      (await ask('client', ...ips('far', 'near'))).every(({ host }) => host !== undefined),
    )
    await wire.mark()
  })
  after(async () => {
    await wire?.[Symbol.asyncDispose]()
    await mesh?.[Symbol.asyncDispose]()
  })

  /** One request to each host from a pod. */
  const ask = async (from: keyof typeof pods, ...hosts: string[]): Promise<Answer[]> => {
    const urls = hosts.map((host) => `http://${host}/${MARKER}`)
    const { stdout, stderr } = await pods[from].script(`
      const answers = []
      for (const url of ${JSON.stringify(urls)})
        answers.push(await fetch(url, { headers: { connection: 'close' }, signal: AbortSignal.timeout(6000) })
          .then((r) => r.json(), (e) => ({ error: e.cause?.code ?? e.name })))
      console.log(JSON.stringify(answers))`)
    assert.notEqual(stdout, '', stderr)
    return JSON.parse(stdout)
  }
  const ips = (...names: (keyof typeof pods)[]): string[] => [
    ...names.map((name) => `${pods[name].ip}:8080`),
    ...names.map((name) => `[${pods[name].ip6}]:8080`),
  ]
  const agentDump = async (index: number): Promise<{ redirect: object; pods: object[] }> =>
    JSON.parse((await getInNetns(mesh.node(index).netns, '127.0.0.1', 15_014, '/config_dump')).body)
  const isReady = async (name: string): Promise<boolean> => (await mesh.status()).pods.find((pod) => pod.name === name)?.ready === true

  it('has no BPF program or map, and says which way it goes and why', async () => {
    for (const index of [1, 2]) {
      assert.deepEqual(readdirSync(mesh.node(index).bpfDir), [])
      assert.deepEqual((await agentDump(index)).redirect, { mode: 'nftables', reason: 'asked for' })
      await logLine(mesh, `cni-node-${index}`, 0, (line) => line.message === 'redirect mode' && line.mode === 'nftables')
    }
    const shown = await readRedirections({ kind: 'local', name: mesh.mesh.layout.name }, '')
    const one = { mode: 'nftables', reason: 'asked for' }
    assert.deepEqual(Object.fromEntries(shown), { 'node-1': one, 'node-2': one })
  })

  it('shows the app the client by its own address, IPv4 and IPv6', async () => {
    const answers = await ask('client', ...ips('far', 'near'))
    const { ip, ip6 } = pods.client
    assert.deepEqual(
      answers.map(({ host, from }) => [host, from]),
      [
        ['far', ip],
        ['near', ip],
        ['far', ip6],
        ['near', ip6],
      ],
    )
  })

  it("resolves every form of a name by ztunnel's server, over UDP and TCP, and reaches the services", async () => {
    const answers = await ask('client', 'far', `near.${SPACE}`, `far.${SPACE}.svc`, `near.${SPACE}.svc.cluster.local`)
    assert.deepEqual(
      answers.map(({ host, error }) => host ?? error),
      ['far', 'near', 'far', 'near'],
    )
    const { stdout, stderr } = await pods.client.script(DNS_OVER_TCP(`far.${SPACE}.svc.cluster.local`))
    const vip = ((await mesh.client.get('services', SPACE, 'far')).spec as { clusterIP: string }).clusterIP
    assert.equal(stdout.trim(), vip, stderr)
  })

  it('puts nothing but TLS to port 15008 on any link, within a node too', async () => {
    const counts = await wire.connections()
    for (const where of ['bridge', 'client', 'far', 'near']) assert.ok((counts[where] ?? 0) > 0, `nothing passed ${where}`)
    assert.deepEqual(await wire.faults(), [])
    assert.deepEqual(await wire.seen(MARKER), {})
  })

  it('names both identities in the access log of either side', () => {
    const id = (name: string): string => `spiffe://cluster.local/ns/${SPACE}/sa/${name}`
    for (const [node, name, direction] of [
      [2, 'far', 'inbound'],
      [1, 'near', 'inbound'],
      [1, 'far', 'outbound'],
    ] as const) {
      const line = accessLines(mesh, node).findLast((each) => each.direction === direction && each['dst.workload'] === name)
      assert.deepEqual([line?.['src.identity'], line?.['dst.identity']], [id('client'), id(name)])
    }
  })

  it('lets a pod call itself', async () => {
    assert.deepEqual(
      (await ask('client', ...ips('client'), '127.0.0.1:8080', '[::1]:8080')).map(({ host, error }) => host ?? error),
      ['client', 'client', 'client', 'client'],
    )
  })

  it('refuses plaintext of a stranger to a STRICT pod, and serves it where it is PERMISSIVE', async () => {
    const refused = await ask('visitor', ...ips('far', 'near'))
    assert.deepEqual(
      refused.map(({ host, error }) => [host, error]),
      Array.from({ length: 4 }, () => [undefined, 'ECONNRESET']),
    )
    await mesh.client.delete('peerauthentications', SPACE, 'strict')
    const { ip, ip6 } = pods.visitor
    const served = await mesh.until('plaintext is served', async () => {
      const answers = await ask('visitor', ...ips('far', 'near'))
      return answers.every(({ host }) => host !== undefined) && answers
    })
    assert.deepEqual(
      served.map(({ host, from }) => [host, from]),
      [
        ['far', ip],
        ['near', ip],
        ['far', ip6],
        ['near', ip6],
      ],
    )
    await mesh.apply(STRICT)
    await mesh.until('it is refused again', async () =>
      (await ask('visitor', ...ips('far', 'near'))).every(({ error }) => error !== undefined),
    )
  })

  it("refuses whoever dials ztunnel's own ports from outside", async () => {
    for (const ip of [pods.far.ip, pods.far.ip6]) {
      for (const port of [15_001, 15_006, 15_053]) {
        const socket = dialTcp({ from: pods.visitor.netnsPath, ip, port })
        socket.end('GET / HTTP/1.0\r\n\r\n')
        const said = await socket.toArray().then(
          (chunks) => Buffer.concat(chunks).toString(),
          (error: { code: string }) => error.code,
        )
        assert.equal(said, 'ECONNRESET', `${ip} ${port}`)
      }
    }
  })

  it('takes probes of the node for probes: a STRICT pod is ready, and is not when they are not recognised', async () => {
    assert.ok(await isReady('far'))
    assert.match(nft(nodeNetns(mesh, 2), 'list', 'table', 'inet', 'weft-node'), new RegExp(pods.far.ip.replaceAll('.', '\\.')))
    // The control: the rules of the node say something else until the agent compares again.
    const seen = accessLines(mesh, 2).length
    for (let n = 0; n < 40 && accessLines(mesh, 2).length === seen; n++) {
      nft(nodeNetns(mesh, 2), 'flush chain inet weft-node probes')
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    const line = accessLines(mesh, 2)[seen]
    assert.deepEqual(
      [line?.direction, line?.code, line?.['src.addr']?.split(':')[0]],
      ['inbound', 'POLICY_DENIED', mesh.node(2).gateway.v4],
    )
    await mesh.until('the rules are back, and the pod is ready', async () => {
      const rules = nft(nodeNetns(mesh, 2), 'list', 'chain', 'inet', 'weft-node', 'probes')
      return rules.includes('169.254.7.127') && (await isReady('far'))
    })
  })

  it('what this mode cannot do (docs/redirect.md): whoever may set marks goes past it', async () => {
    const dial = async (mark: number | undefined): Promise<string> => {
      using netns = openNetns(pods.client.netnsPath)
      const to = { ip: pods.visitor.ip as IpAddress, port: 8080 }
      const socket = new net.Socket({ fd: tcpConnect({ netnsFd: netns.fd, to, ...(mark === undefined ? {} : { mark }) }) })
      socket.end('GET / HTTP/1.0\r\n\r\n')
      return (await socket.setEncoding('utf8').toArray()).join('')
    }
    const outbound = (): number => accessLines(mesh, 1).filter((line) => line['dst.workload'] === 'visitor').length
    assert.match(await dial(undefined), /200 OK/)
    await mesh.until('the proxy has carried it', () => outbound() === 1)
    assert.match(await dial(PROXY_MARK), /200 OK/)
    assert.match(await dial(undefined), /200 OK/)
    await mesh.until('the proxy has carried two of three', () => outbound() === 2)
  })

  it('the control: without the rules of the pod, the same requests are plaintext', async () => {
    await mesh.mesh.supervisor.hold('cni-node-1')
    nft(pods.client.netnsPath, 'flush chain inet weft-pod outbound')
    await mesh.client.delete('peerauthentications', SPACE, 'strict')
    await wire.mark()
    await mesh.until('plaintext goes through', async () => (await ask('client', ...ips('far'))).every(({ host }) => host === 'far'))
    assert.ok((await wire.faults()).length > 0)
    assert.ok('bridge' in (await wire.seen(MARKER)))
    mesh.mesh.supervisor.resume('cni-node-1')
    await mesh.until('the agent has put them back', () => nft(pods.client.netnsPath, 'list table inet weft-pod').includes(':15001'))
    await mesh.ready()
    await wire.mark()
    await mesh.until('requests work', async () => (await ask('client', ...ips('far'))).every(({ host }) => host === 'far'))
    assert.deepEqual(await wire.faults(), [])
  })
})

/** Asks the resolver for an A record over TCP; prints the address. */
function DNS_OVER_TCP(name: string): string {
  return `
    import net from 'node:net'
    import { readFileSync } from 'node:fs'
    const resolver = /^nameserver (\\S+)/m.exec(readFileSync('/etc/resolv.conf', 'utf8'))[1]
    const labels = '${name}'.split('.').flatMap((label) => [Buffer.from([label.length]), Buffer.from(label)])
    const body = Buffer.concat([Buffer.from('000701000001000000000000', 'hex'), ...labels, Buffer.from('0000010001', 'hex')])
    const length = Buffer.alloc(2)
    length.writeUInt16BE(body.length)
    const socket = net.connect({ host: resolver, port: 53 })
    socket.write(Buffer.concat([length, body]))
    socket.once('data', (answer) => {
      console.log([...answer.subarray(-4)].join('.'))
      socket.destroy()
    })`
}
