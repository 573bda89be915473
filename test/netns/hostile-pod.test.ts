// Root in a pod, with NET_RAW and NET_ADMIN, tries to leave the mesh, to take the proxy's place, and to reach what it must not.
// Each attempt is also made by a pod that is not enrolled (or by this process), where it works.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Flow } from '../../tap/flows.ts'
import { describeFlow, Tap } from '../../tap/tap.ts'
import { idOf, type Credentials } from '../support/certificates.ts'
import { ATTEMPTS, attempt, type RawTarget } from '../support/hostile.ts'
import { deployment, type TestMesh, type TestPod, testMesh } from '../support/mesh.ts'
import { type Dial, dialTcp, get, meshCredentials, metric, nodeNetns, tryConnect } from '../support/mesh-view.ts'

const SERVER = `require('node:net').createServer((s) => s.on('error', () => 0).end('served from ' + s.remoteAddress + '\\n')).listen(8080, '::')`
const readinessProbe = { tcpSocket: { port: 8080 }, periodSeconds: 1 }
const securityContext = { capabilities: { add: ['NET_ADMIN', 'NET_RAW'] } }
const namespace = (name: string, labels: object = {}): object => ({ apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } })
const onNode = (index: number, container: object): object => ({ pod: { nodeName: `node-${index}` }, container })
const OBJECTS = [
  namespace('shop', { 'istio.io/dataplane-mode': 'ambient' }),
  namespace('outside'),
  deployment('shop', 'hostile', ['node', '-e', SERVER], onNode(1, { securityContext, readinessProbe })),
  deployment('shop', 'server', ['node', '-e', SERVER], onNode(2, { readinessProbe })),
  deployment('outside', 'twin', ['node', '-e', SERVER], onNode(1, { securityContext, readinessProbe })),
]

describe('a hostile pod', () => {
  let mesh: TestMesh
  let hostile: TestPod
  let twin: TestPod
  let server: TestPod
  let bridge: Tap

  before(async () => {
    mesh = await testMesh({ nodes: 2, objects: OBJECTS })
    hostile = await mesh.pod('shop/hostile')
    twin = await mesh.pod('outside/twin')
    server = await mesh.pod('shop/server')
    bridge = await Tap.open({ device: mesh.mesh.layout.bridge })
  })
  after(async () => {
    await bridge?.[Symbol.asyncDispose]()
    await mesh?.[Symbol.asyncDispose]()
  })

  /** What of a pod's TCP crossed the wire and was not TLS to 15008. */
  const leaked = async (pod: TestPod): Promise<readonly Flow[]> => {
    const ips = [pod, server].flatMap((each) => [each.ip, each.ip6])
    const faults = await bridge.meshFaults(ips)
    return faults.map(({ flow }) => flow).filter((flow) => flow.client === pod.ip || flow.client === pod.ip6)
  }
  const drops = (): Promise<number> => metric(mesh, 1, 15_014, 'weft_guard_dropped_total', { namespace: 'shop', pod: hostile.name })

  describe('opens a connection', () => {
    let sourcePort = 40_000
    const target = (pod: TestPod, isSix = false): RawTarget => ({
      ip: isSix ? server.ip6 : server.ip,
      port: 8080,
      own: isSix ? pod.ip6 : pod.ip,
      gateway: mesh.node(1).gateway.v4,
      sourcePort: ++sourcePort,
    })

    it('as everybody does: it is meshed; the twin is not', async () => {
      assert.match(await attempt(hostile, 'plain', target(hostile)), /^served/)
      assert.match(await attempt(twin, 'plain', target(twin)), /^served/)
      assert.deepEqual((await leaked(hostile)).map(describeFlow), [])
      assert.equal((await leaked(twin)).length, 1)
    })

    // name, IPv6, whether the guard counts it (the others are captured before they are packets)
    for (const [name, isSix, isCounted] of [
      ['mark', false, false],
      ['mark', true, false],
      ['transparent', false, false],
      ['raw', false, true],
      ['raw', true, true],
      ['frame', false, true],
      ['decorated', false, true],
      ['tunnelled', false, true],
      ['nested', false, true],
    ] as const) {
      it(`by ${name}${isSix ? ', IPv6' : ''}: nothing leaves unmeshed${isCounted ? ', and it is counted' : ''}`, async () => {
        const [before, twins] = [await drops(), (await leaked(twin)).length]
        const said = await attempt(hostile, name, target(hostile, isSix))
        if (isCounted) await mesh.until('the guard has counted it', async () => (await drops()) > before)
        else assert.match(said, /^served|^error/)
        const saidByTwin = await attempt(twin, name, target(twin, isSix))
        if (name !== 'tunnelled')
          await mesh.until(`the twin's got through (${saidByTwin})`, async () => (await leaked(twin)).length > twins)
        assert.deepEqual((await leaked(hostile)).map(describeFlow), [], said)
      })
    }
  })

  describe('takes the ports of the proxy', () => {
    const PORTS = [15_001, 15_006, 15_008, 15_053]
    let credentials: Credentials
    before(async () => {
      credentials = await meshCredentials(mesh, idOf('client'))
    })

    /** Everything that a connection to the pod brings back until it is silent. */
    const said = async (pod: TestPod, port: number, silentMs = 1000): Promise<string> => {
      const socket = dialTcp({ from: nodeNetns(mesh, 2), ip: pod.ip, port })
      socket.setTimeout(silentMs, () => socket.destroy())
      const chunks: string[] = []
      try {
        for await (const chunk of socket.setEncoding('latin1')) chunks.push(String(chunk))
      } catch (error) {
        return `${chunks.join('')}${(error as NodeJS.ErrnoException).code}`
      }
      return chunks.join('')
    }
    const door = (): Dial => ({ from: nodeNetns(mesh, 2), ip: hostile.ip })

    it('by joining their SO_REUSEPORT groups: it gets no connection, the proxy all', async () => {
      await using _thief = await steal(hostile, PORTS, true)
      for (let n = 0; n < 8; n++) {
        assert.equal(await tryConnect(door(), credentials, `${hostile.ip}:8080`), '200')
        assert.match(await said(hostile, 8080, 15_000), /^served/)
        assert.doesNotMatch(await said(hostile, n % 2 === 0 ? 15_006 : 15_001), /stolen/)
        if (n < 3) assert.match(await attempt(hostile, 'plain', { ip: server.ip, port: 8080 }), /^served/)
      }
    })

    it('while the proxy is dead: it gets no connection; the twin, who has no proxy, does', async () => {
      await mesh.mesh.supervisor.hold('ztunnel-node-1')
      try {
        await using _thief = await steal(hostile, PORTS, false)
        await using _twin = await steal(twin, PORTS, false)
        for (const port of [...PORTS, 8080]) assert.doesNotMatch(await said(hostile, port), /stolen|served/, `port ${port}`)
        await mesh.until('the twin gets one', async () => /stolen/.test(await said(twin, 15_008)))
        assert.match(await attempt(hostile, 'plain', { ip: server.ip, port: 8080 }), /^error/)
      } finally {
        mesh.mesh.supervisor.resume('ztunnel-node-1')
      }
      await mesh.until('the pod is served again', async () => (await tryConnect(door(), credentials, `${hostile.ip}:8080`)) === '200')
      assert.deepEqual((await leaked(hostile)).map(describeFlow), [])
    })
  })

  describe('reaches for', () => {
    const NOTHING = /^refused$|^closed$/
    const own = (name: string): string => (name === 'hostile' ? hostile : server).ip
    const MESH_PORTS = [15_001, 15_006, 15_008, 15_053, 15_000, 15_020, 15_021]
    const sockets = (): Promise<number> => metric(mesh, 1, 15_020, 'istio_tcp_sockets_open')

    it("the mesh's ports on itself, a peer, the node and localhost: nothing answers, nothing loops", async () => {
      const before = await sockets()
      const places = {
        own: own('hostile'),
        peer: own('server'),
        node: mesh.node(1).ip.v4,
        gateway: mesh.node(1).gateway.v4,
        localhost: '127.0.0.1',
      }
      const asked = Object.entries(places).flatMap(([place, ip]) => MESH_PORTS.map((port) => ({ place, ip, port })))
      const script = `import { ATTEMPTS } from '${new URL('../support/hostile.ts', import.meta.url)}'
        console.log(JSON.stringify(await Promise.all(${JSON.stringify(asked)}.map((one) => ATTEMPTS.visit(one)))))`
      const { stdout, stderr } = await hostile.script(script)
      const answers = JSON.parse(stdout || JSON.stringify([stderr])) as string[]
      const bad = asked.map((one, i) => ({ ...one, said: answers[i] ?? '' })).filter(({ said }) => !NOTHING.test(said))
      assert.deepEqual(bad, [])
      assert.equal(answers.length, asked.length)
      await mesh.until('no socket stays', async () => (await sockets()) <= before)
      // Each visit is at most one connection out and one in: one that went round would be many.
      assert.ok((await metric(mesh, 1, 15_020, 'istio_tcp_connections_opened_total')) < 200)
    })

    it("the mesh's processes: control plane, agents, kubelets, object API", async () => {
      const control = mesh.mesh.layout.controlIp.v4
      for (const [ip, port] of [
        [control, 15_014],
        [control, 15_010],
        [mesh.node(1).ip.v4, 15_014],
        [mesh.node(2).ip.v4, 15_014],
        [mesh.node(2).ip.v4, 15_020],
        [mesh.node(2).ip.v4, 15_021],
        [mesh.node(2).ip.v4, 10_250],
      ] as const) {
        for (const pod of [hostile, twin])
          assert.match(await attempt(pod, 'visit', { ip, port }), NOTHING, `${ip}:${port} from ${pod.name}`)
      }
      const node = { from: nodeNetns(mesh, 2), ip: '127.0.0.1' }
      assert.match(await get({ ...node, port: 15_020 }, '/metrics'), /200 OK/, 'they answer those who may ask')
      assert.match(await get({ ...node, port: 15_014 }, '/metrics'), /200 OK/)
    })

    const ROWS: readonly (readonly [name: string, command: string, want: RegExp])[] = [
      [
        'keys and sockets of the mesh',
        'find / -xdev -name "weft*" -path "/run/*" 2>/dev/null; ls -d /run/weft 2>&1',
        /^ls: .*No such file/,
      ],
      ['them through other roots', 'ls /proc/*/root/run/weft 2>&1 | grep -v "No such file"; true', /^$/],
      [
        "other pods' processes and ztunnel",
        'cat /proc/[0-9]*/cmdline | tr "\\0" " " | grep -c "[z]tunnel/main\\|[c]ni/main\\|[k]ubelet/main"',
        /^0$/,
      ],
      ['signals to processes of the host', `kill -0 ${process.pid} 2>&1`, /[Nn]o such process/],
      ['a cgroup mount', 'mount -t cgroup2 none /tmp 2>&1', /permission denied|superuser/],
      [
        'a cgroup mount in a user namespace',
        'unshare -Urm sh -c "mount -t cgroup2 none /tmp && find /tmp -name ztunnel" 2>&1',
        /^$|denied|not permitted/,
      ],
      [
        "ztunnel's cgroup in a user and cgroup namespace",
        `unshare -UrmC sh -c 'mount -t cgroup2 none /tmp && find /tmp -name ztunnel; ls -d /tmp/../ztunnel /tmp/weft 2>/dev/null' 2>&1`,
        /^$|denied|not permitted/,
      ],
      ['bpffs', 'ls -A /sys/fs/bpf; mount -t bpf none /tmp 2>&1', /permission denied|superuser/],
      ['bpffs in a user namespace', 'unshare -Urm sh -c "mount -t bpf none /tmp && ls -R /tmp" 2>&1', /denied|not permitted|^\/tmp:$/],
      [
        'other network namespaces',
        'nsenter --net=/proc/1/ns/net ip netns list 2>&1; ls /run/netns /var/run/netns 2>&1 | grep -v "No such file"; true',
        /^(nsenter: .*)?$/,
      ],
      [
        'devices of its own making',
        'mknod /dev/own c 1 5 2>&1 && head -c1 /dev/own 2>&1; ls /dev/sd* /dev/vd* /dev/nvme* /dev/mem 2>/dev/null; true',
        /^head: .*[Pp]ermission denied$/,
      ],
      ['settings of the kernel', 'echo 1 > /proc/sys/net/ipv4/ip_forward', /^$/],
    ]
    for (const [name, command, want] of ROWS) {
      it(name, async () => {
        const { stdout, stderr } = await hostile.exec(['sh', '-c', command])
        assert.match(stdout.trim() || (want.test('') ? '' : stderr.trim()), want)
        if (name === 'settings of the kernel') assert.match(stderr, /Read-only/)
      })
    }

    it('BPF programs, maps and links by their ids', async () => {
      type Row = { readonly id: number }
      const ids = (what: string): number =>
        (JSON.parse(execFileSync('bpftool', ['-j', what, 'list'], { encoding: 'utf8' })) as Row[]).at(-1)?.id ?? 0
      const NEXT_ID = 11
      const byId = { prog: 13, map: 14, link: 30 }
      for (const [what, command] of Object.entries(byId)) {
        const asked = { command, id: ids(what) }
        assert.equal(ATTEMPTS.bpf(asked), 'granted', 'to this process')
        assert.equal(await attempt(hostile, 'bpf', asked), 'refused', what)
      }
      assert.equal(ATTEMPTS.bpf({ command: NEXT_ID, id: 0 }), 'granted')
      assert.equal(await attempt(hostile, 'bpf', { command: NEXT_ID, id: 0 }), 'refused')
    })

    it('a trace of ztunnel, whose pid it has learned', async () => {
      const pid = mesh.mesh.supervisor.states().find((one) => one.name === 'ztunnel-node-1')?.pid ?? 0
      assert.ok(readFileSync(join('/proc', String(pid), 'cmdline'), 'utf8').includes('ztunnel'))
      const { stdout } = await hostile.exec([
        'sh',
        '-c',
        `ls /proc/${pid}/mem 2>&1; kill -STOP ${pid} 2>&1; nsenter -t ${pid} -n true 2>&1`,
      ])
      assert.match(stdout, /cannot access|No such file/)
      assert.match(stdout, /[Nn]o such process/)
      assert.doesNotMatch(readFileSync(`/proc/${pid}/status`, 'utf8'), /State:\s+T/)
    })

    it('after all of that it is still enrolled, and so is its peer', async () => {
      assert.match(await attempt(hostile, 'plain', { ip: server.ip, port: 8080 }), /^served/)
      assert.deepEqual((await leaked(hostile)).map(describeFlow), [])
    })
  })
})

/** Starts the thief in a pod; disposing ends it. */
async function steal(pod: TestPod, ports: readonly number[], reusePort: boolean): Promise<AsyncDisposable> {
  const text = `import { ATTEMPTS } from '${new URL('../support/hostile.ts', import.meta.url)}'; await ATTEMPTS.steal(${JSON.stringify({ ports, reusePort })})`
  const thief = pod.start([process.execPath, '--input-type=module', '-e', text])
  for (let n = 0; n < 200 && !thief.stdout.includes('listening'); n++) await new Promise((resolve) => setTimeout(resolve, 20))
  assert.match(thief.stdout, /listening/)
  return {
    async [Symbol.asyncDispose]() {
      await thief.stop()
    },
  }
}
