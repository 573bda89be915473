// The local runtime alone (no proxies): nodes, pods, probes, services, isolation of containers, and that nothing stays behind.
import assert from 'node:assert/strict'
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stringify } from 'yaml'
import type { EndpointSlice, Pod } from '../../model/object.ts'
import { isOwnerAlive, readRecord } from '../../runtime/state.ts'
import { leftovers } from '../support/leftovers.ts'
import { deployment, type TestMesh, testMesh } from '../support/mesh.ts'

const ROOT = join(import.meta.dirname, '..', '..')
const SERVER = `
import { createServer } from 'node:http'
import { readFileSync } from 'node:fs'
const answer = (request, response) => response.end(JSON.stringify({
  host: process.env.HOSTNAME, from: request.socket.remoteAddress, greeting: readFileSync('/etc/conf/greeting', 'utf8'),
  word: process.env.WORD, token: readFileSync('/var/run/secrets/kubernetes.io/serviceaccount/token', 'utf8').length > 100,
}))
createServer(answer).listen(8080, '::', () => console.log('listening'))
process.on('SIGTERM', () => process.exit(0))
`
const OBJECTS = [
  { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } },
  { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'conf', namespace: 'shop' }, data: { greeting: 'hello' } },
  { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'word', namespace: 'shop' }, stringData: { word: 'open sesame' } },
  deployment('shop', 'web', ['node', '--input-type=module', '-e', SERVER], {
    replicas: 2,
    container: {
      ports: [{ name: 'http', containerPort: 8080 }],
      readinessProbe: { httpGet: { path: '/', port: 'http' }, periodSeconds: 1 },
      env: [{ name: 'WORD', valueFrom: { secretKeyRef: { name: 'word', key: 'word' } } }],
      volumeMounts: [{ name: 'conf', mountPath: '/etc/conf' }],
    },
    pod: {},
  }),
  deployment('shop', 'client', ['node', '-e', 'process.on("SIGTERM", () => process.exit(0)); setInterval(() => {}, 1000)']),
  {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'web', namespace: 'shop' },
    spec: { selector: { app: 'web' }, ipFamilyPolicy: 'PreferDualStack', ports: [{ port: 80, targetPort: 'http' }] },
  },
]
// The volume stands in the pod template, beside the containers that `deployment` writes.
const web = OBJECTS[3] as unknown as { spec: { template: { spec: Record<string, unknown> } } }
web.spec.template.spec.volumes = [{ name: 'conf', configMap: { name: 'conf' } }]

describe('runtime without proxies', () => {
  let mesh: TestMesh

  before(async () => {
    mesh = await testMesh({ nodes: 2, objects: OBJECTS, hasMesh: false })
  })
  after(async () => {
    await mesh?.[Symbol.asyncDispose]()
  })

  it('spreads replicas over nodes and gives both addresses', async () => {
    const { items } = await mesh.client.list('pods', 'shop')
    const pods = (items as Pod[]).filter((pod) => pod.metadata.labels?.app === 'web')
    assert.deepEqual(pods.map((pod) => pod.spec?.nodeName).sort(), ['node-1', 'node-2'])
    for (const pod of pods)
      assert.match(pod.status?.podIPs?.map(({ ip }) => ip).join(' ') ?? '', /^10\.244\.\d\.\d+ fd00:10:244:\d::[0-9a-f]+$/)
  })

  it('connects pods of different nodes by IPv4 and IPv6, with the client address kept', async () => {
    const client = await mesh.pod('shop/client')
    const pods = ((await mesh.client.list('pods', 'shop')).items as Pod[]).filter((pod) => pod.metadata.labels?.app === 'web')
    for (const pod of pods)
      for (const { ip } of pod.status?.podIPs ?? []) {
        const url = `http://${ip.includes(':') ? `[${ip}]` : ip}:8080/`
        const { stdout, stderr } = await client.script(`console.log(await (await fetch('${url}')).text())`)
        const answer = JSON.parse(stdout || `{"stderr":${JSON.stringify(stderr)}}`)
        const from = ip.includes(':') ? client.ip6 : `::ffff:${client.ip}`
        assert.deepEqual(answer, { host: pod.metadata.name, from, greeting: 'hello', word: 'open sesame', token: true })
      }
  })

  it('gives the host no way into the mesh', async () => {
    const { ip } = await mesh.pod('shop/web')
    const routes = execFileSync('ip', ['route'], { encoding: 'utf8' }) + execFileSync('ip', ['-6', 'route'], { encoding: 'utf8' })
    assert.ok(!routes.includes('10.244.') && !routes.includes('172.30.0.') && !routes.includes('fd00:10:244'), ip)
    const addresses = execFileSync('ip', ['-br', 'addr', 'show', 'dev', mesh.mesh.layout.bridge], { encoding: 'utf8' })
    assert.ok(!/[0-9a-f]{4}::|\d+\.\d+\.\d+\.\d+\//.test(addresses), addresses)
  })

  it('keeps EndpointSlices of both families, and a service address of each', async () => {
    const service = await mesh.client.get('services', 'shop', 'web')
    assert.equal((service.spec as { clusterIPs: string[] }).clusterIPs.length, 2)
    const { items } = await mesh.client.list('endpointslices', 'shop')
    const found = (items as EndpointSlice[]).map((slice) => [
      slice.addressType,
      slice.endpoints?.filter((one) => one.conditions?.ready).length,
      slice.ports?.[0]?.port,
    ])
    assert.deepEqual(found.sort(), [
      ['IPv4', 2, 8080],
      ['IPv6', 2, 8080],
    ])
  })

  it('answers names of services, and nothing of the world', async () => {
    const client = await mesh.pod('shop/client')
    const ask = `import { Resolver } from 'node:dns/promises'
      const resolver = new Resolver(); resolver.setServers(['172.30.0.2'])
      const ask = (name, type) => resolver.resolve(name, type).catch((error) => error.code)
      console.log(JSON.stringify([await ask('web.shop.svc.cluster.local', 'A'), await ask('nothing.shop.svc.cluster.local', 'A'), await ask('example.com', 'A')]))`
    const { stdout } = await client.script(ask)
    const service = await mesh.client.get('services', 'shop', 'web')
    assert.deepEqual(JSON.parse(stdout), [[(service.spec as { clusterIP: string }).clusterIP], 'ENOTFOUND', 'EREFUSED'])
  })

  it('isolates containers: no mesh files, cgroups or bpf, read-only root, few capabilities', async () => {
    const client = await mesh.pod('shop/client')
    const table: { name: string; command: string; want: RegExp }[] = [
      { name: 'state of the mesh', command: 'ls /run/weft 2>&1', want: /No such file/ },
      { name: 'network namespaces', command: 'ls /run/netns 2>&1', want: /No such file/ },
      { name: 'cgroups', command: 'ls -A /sys/fs/cgroup | wc -l', want: /^0$/ },
      { name: 'bpf', command: 'ls -A /sys/fs/bpf | wc -l', want: /^0$/ },
      { name: 'root file system', command: 'touch /usr/x 2>&1', want: /Read-only file system/ },
      { name: 'kernel settings', command: 'echo 1 > /proc/sys/kernel/panic; true', want: /^$/ },
      { name: 'private /tmp', command: 'ls -A /tmp | wc -l', want: /^0$/ },
      { name: 'mounting', command: 'mount -t tmpfs tmpfs /tmp 2>&1', want: /permission denied|must be superuser/ },
      { name: 'own processes only', command: 'ls /proc | grep -c "^[0-9]"', want: /^[2-6]$/ },
      { name: 'capabilities', command: 'grep CapBnd /proc/self/status', want: /00000000a80425fb/ },
      { name: 'other network', command: 'ls /sys/class/net', want: /^eth0\s+lo$/ },
      { name: 'name server', command: 'grep -c 10.96.0.10 /etc/resolv.conf', want: /^1$/ },
    ]
    for (const row of table) {
      const { stdout } = await client.exec(['sh', '-c', row.command])
      assert.match(stdout.trim(), row.want, row.name)
    }
  })

  it('refuses capabilities that lead out of the sandbox, and says so', async () => {
    for (const capability of ['SYS_ADMIN', 'CAP_SYS_PTRACE', 'BPF']) {
      const name = `bad-${capability.toLowerCase().replaceAll('_', '-')}`
      const container = { securityContext: { capabilities: { add: [capability] } } }
      await mesh.apply(deployment('shop', name, ['sleep', '1'], { container }))
      await mesh.until(`${name} is refused`, async () => {
        const pod = ((await mesh.client.list('pods', 'shop')).items as Pod[]).find((one) => one.metadata.labels?.app === name)
        return pod?.status?.containerStatuses?.[0]?.state.waiting?.reason === 'CreateContainerConfigError'
      })
      await mesh.client.delete('deployments', 'shop', name)
    }
  })

  it('honours added capabilities and runAsUser', async () => {
    const container = { securityContext: { capabilities: { add: ['NET_ADMIN'], drop: ['ALL'] } } }
    await mesh.apply(deployment('shop', 'admin', ['sleep', 'infinity'], { container }))
    const user = { securityContext: { runAsUser: 1234, runAsGroup: 99 } }
    await mesh.apply(deployment('shop', 'user', ['sleep', 'infinity'], { container: user }))
    const admin = await (await mesh.pod('shop/admin')).exec(['grep', 'CapEff', '/proc/1/status'])
    assert.match(admin.stdout, /0000000000001000/)
    const plain = await (await mesh.pod('shop/user')).exec(['grep', '-E', '^(Uid|Gid|CapEff)', '/proc/1/status'])
    assert.match(plain.stdout, /Uid:\t1234\t[\s\S]*Gid:\t99\t[\s\S]*CapEff:\t0000000000000000/)
    for (const name of ['admin', 'user']) await mesh.client.delete('deployments', 'shop', name)
  })

  it('starts a container again that ends, with back-off', async () => {
    await mesh.apply(deployment('shop', 'crash', ['sh', '-c', 'echo started; sleep 0.2; exit 3']))
    await mesh.until('it was started again', async () => {
      const pod = ((await mesh.client.list('pods', 'shop')).items as Pod[]).find((one) => one.metadata.labels?.app === 'crash')
      const status = pod?.status?.containerStatuses?.[0]
      return (status?.restartCount ?? 0) >= 1 && status?.lastState?.terminated?.exitCode === 3
    })
    await mesh.client.delete('deployments', 'shop', 'crash')
  })

  it('takes a pod out of the endpoints when its readiness probe fails, and restarts it when its liveness probe does', async () => {
    const server = `import { createServer } from 'node:http'; let bad = false
      createServer((q, r) => { if (q.url === '/break') bad = true; r.statusCode = bad && q.url !== '/ready' ? 500 : 200; r.end() }).listen(8080)`
    const probes = {
      readinessProbe: { httpGet: { path: '/ready', port: 8080 }, periodSeconds: 1 },
      livenessProbe: { httpGet: { path: '/live', port: 8080 }, periodSeconds: 1, failureThreshold: 1 },
    }
    await mesh.apply(deployment('shop', 'fragile', ['node', '--input-type=module', '-e', server], { container: probes }))
    const pod = await mesh.pod('shop/fragile')
    await pod.script(`await fetch('http://127.0.0.1:8080/break').then((r) => r.text())`)
    await mesh.until('it was killed and is ready again', () => {
      const found = mesh.mesh.store.find('pods', 'shop', pod.name) as Pod | undefined
      const status = found?.status?.containerStatuses?.[0]
      return status?.restartCount === 1 && status.ready
    })
    await mesh.client.delete('deployments', 'shop', 'fragile')
  })

  it('replaces pods step by step when the template changes', async () => {
    const make = (word: string): object => deployment('shop', 'roll', ['sh', '-c', `echo ${word}; exec sleep infinity`], { replicas: 3 })
    await mesh.apply(make('one'))
    const pods = (): Pod[] => (mesh.mesh.store.list('pods', 'shop') as Pod[]).filter((pod) => pod.metadata.labels?.app === 'roll')
    const ready = (pod: Pod): boolean =>
      pod.metadata.deletionTimestamp === undefined && pod.status?.conditions?.find((one) => one.type === 'Ready')?.status === 'True'
    await mesh.until('three run', () => pods().filter(ready).length === 3)
    const before = new Set(pods().map((pod) => pod.metadata.uid))
    await mesh.apply(make('two'))
    let fewest = 3
    await mesh.until('all are new', () => {
      fewest = Math.min(fewest, pods().filter(ready).length)
      return pods().every((pod) => !before.has(pod.metadata.uid)) && pods().filter(ready).length === 3
    })
    assert.ok(fewest >= 3, `only ${fewest} were ready meanwhile`)
    await mesh.client.delete('deployments', 'shop', 'roll')
  })

  it('follows the file: changed, broken and removed documents', async () => {
    const text = readFileSync(mesh.sourceFile, 'utf8')
    writeFileSync(
      mesh.sourceFile,
      `${text}---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: extra, namespace: shop}\ndata: {a: "1"}\n`,
    )
    await mesh.until('the new document is there', () => mesh.mesh.store.find('configmaps', 'shop', 'extra'))
    writeFileSync(
      mesh.sourceFile,
      `${text}---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: extra, namespace: shop}\ndata: {a: 1}\n---\napiVersion: x/v1\nkind: Toaster\nmetadata: {name: t}\n`,
    )
    await mesh.until('the fault is told', () => mesh.told.some((line) => /objects\.yaml:\d+: data\.a: must be text/.test(line)))
    assert.equal(mesh.told.filter((line) => line.includes('Toaster')).length, 1)
    assert.notEqual(mesh.mesh.store.find('configmaps', 'shop', 'extra'), undefined)
    writeFileSync(mesh.sourceFile, text)
    await mesh.until('the document is gone', () => mesh.mesh.store.find('configmaps', 'shop', 'extra') === undefined)
  })

  it('removes a deleted pod with everything of it', async () => {
    const pod = await mesh.pod('shop/client')
    await mesh.client.delete('deployments', 'shop', 'client')
    await mesh.until('it is gone', () => mesh.mesh.store.find('pods', 'shop', pod.name) === undefined)
    assert.ok(!execFileSync('ip', ['netns'], { encoding: 'utf8' }).includes(pod.netnsPath.split('/').at(-1) ?? ''))
    assert.ok(!readdirSync(join(pod.cgroup, '..')).includes(pod.uid))
    assert.ok(!readdirSync(mesh.mesh.layout.podsDir).includes(pod.uid))
  })

  it('starts a killed component again within 100 ms', async () => {
    const { pid } = (await mesh.status()).components.find((one) => one.name === 'cluster-dns') ?? {}
    process.kill(pid ?? 0, 'SIGKILL')
    const killedMs = performance.now()
    await mesh.until('it runs again', async () => {
      const now = (await mesh.status()).components.find((one) => one.name === 'cluster-dns')
      return now?.state === 'running' && now.pid !== pid
    })
    assert.ok(performance.now() - killedMs < 500)
  })
})

describe('weft up and down', () => {
  const name = `u${process.pid}`
  let directory: string

  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'weft-up-'))
    writeFileSync(join(directory, 'objects.yaml'), OBJECTS.map((object) => stringify(object)).join('---\n'))
  })
  after(() => rmSync(directory, { recursive: true }))

  const up = async (): Promise<ChildProcess> => {
    const child = spawn(join(ROOT, 'weft'), ['up', '-f', directory, '--no-mesh', '--name', name], { stdio: ['ignore', 'pipe', 'pipe'] })
    let text = ''
    child.stderr?.on('data', (chunk) => {
      text += chunk
    })
    await new Promise<void>((resolve, reject) => {
      child.stdout?.on('data', (chunk) => String(chunk).includes('ready after') && resolve())
      child.once('exit', (status) => reject(new Error(`up ended with ${status}: ${text}`)))
    })
    return child
  }
  const ended = (child: ChildProcess): Promise<number | null> => new Promise((resolve) => child.once('exit', (status) => resolve(status)))

  it('leaves nothing behind after Ctrl-C', async () => {
    const child = await up()
    assert.notDeepEqual(leftovers(name), [])
    child.kill('SIGINT')
    assert.equal(await ended(child), 0)
    assert.deepEqual(leftovers(name), [])
  })

  it('leaves nothing behind after down, also when up was killed', async () => {
    const child = await up()
    child.kill('SIGKILL')
    await ended(child)
    const record = readRecord(name)
    assert.ok(record !== undefined && !isOwnerAlive(record))
    execFileSync(join(ROOT, 'weft'), ['down', '--name', name])
    assert.deepEqual(leftovers(name), [])
  })

  it('refuses a second mesh of the same name, and lets one of another name run beside it', async () => {
    const child = await up()
    assert.throws(
      () => execFileSync(join(ROOT, 'weft'), ['up', '--name', name, '--no-mesh'], { stdio: 'pipe' }),
      /a mesh of this name is running/,
    )
    await using other = await testMesh({
      hasMesh: false,
      nodes: 1,
      objects: [{ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'other' } }, deployment('other', 'a', ['sleep', 'infinity'])],
    })
    assert.equal((await other.pod('other/a')).ip, '10.244.1.10')
    execFileSync(join(ROOT, 'weft'), ['down', '--name', name])
    assert.equal(await new Promise((resolve) => (child.exitCode === null ? child.once('exit', resolve) : resolve(child.exitCode))), 0)
    assert.equal((await other.status()).isReady, true)
  })
})
