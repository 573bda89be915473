// weft install, upgrade and uninstall on a cluster of their own, with pods that talk all the while. WEFT_INSTALL_CLUSTER=NAME uses a
// cluster that is up, has no mesh, and runs kube-proxy and DNS; it is left as it was.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { cgroup2Root } from '../../linux/cgroup.ts'
import { makeImage } from '../../scripts/image.ts'
import { Cluster, guard } from './cluster/cluster.ts'
import { attempt, until } from './cluster/processes.ts'

const ROOT = join(import.meta.dirname, '../..')
const IMAGE = `localhost/weft:install-${process.pid}`
const GROUPS = ['namespaces', 'customresourcedefinitions', 'clusterroles', 'clusterrolebindings']
const SERVER = "require('http').createServer((q, r) => r.end('hello')).listen(8080)"
/**
 * One new connection every 50 ms, until the file appears; then it writes how many were answered, and each failure, and ends. Its time is
 * counted in ticks of its own: a machine that stands still for a while is no failure of the mesh.
 */
const LOAD = `const http = require('http'), fs = require('fs'); let ok = 0, ticks = 0; const bad = []
setInterval(() => ticks++, 500).unref()
const one = () => new Promise((done) => { const end = ticks + 24
  const q = http.get({ host: 'server.try', agent: false }, (s) => { s.resume(); s.on('end', () => { ok++; clearInterval(watch); done() }) })
  const watch = setInterval(() => ticks > end && q.destroy(new Error('no answer within 12 s')), 500)
  q.on('error', (e) => { bad.push(new Date().toISOString() + ' ' + (e.code || e.message)); clearInterval(watch); done() }) })
;(async () => { while (!fs.existsSync('/tmp/stop')) { await one(); await new Promise((r) => setTimeout(r, 50)) } fs.writeFileSync('/tmp/new', JSON.stringify({ ok, bad })); fs.renameSync('/tmp/new', '/tmp/result') })()`
/** Starts it as a process that outlives the exec: a long exec breaks off when the API server or the kubelet is slow. */
const START = `const fs = require('fs'); for (const f of ['stop', 'result']) fs.rmSync('/tmp/' + f, { force: true })
require('child_process').spawn(process.execPath, ['-e', ${JSON.stringify(LOAD)}], { detached: true, stdio: 'ignore' }).unref()`

let cluster: Cluster
let folder: string

const weft = (...words: readonly string[]) => attempt(process.execPath, [join(ROOT, 'cli/main.ts'), ...words], { env: cluster.env })
const valueFlags = (): string[] => ['--image', IMAGE, '--set', `cni.cgroup=${join(cgroup2Root(), `${cluster.layout.id}-$(NODE_NAME)`)}`]
async function good(...words: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await weft(...words)
  assert.equal(status, 0, `weft ${words.join(' ')}\n${stdout}${stderr}`)
  return `${stdout}${stderr}`
}
async function refused(pattern: RegExp, ...words: readonly string[]): Promise<void> {
  const { status, stderr } = await weft(...words)
  assert.equal(status, 1, stderr)
  const lines = stderr.trim().split('\n')
  assert.match(lines.at(-1) ?? '', pattern)
  assert.equal(lines.length, 1, stderr)
}

/** Names of cluster-scoped objects, and what each node has of us. */
async function traces(): Promise<string[]> {
  const objects = await cluster.get<{ items: { kind: string; metadata: { name: string } }[] }>(GROUPS.join(','))
  const names = objects.items.map(({ kind, metadata }) => `${kind} ${metadata.name}`)
  const nodes = await Promise.all(
    [1, 2].map(async (number) => {
      const { stdout } = await cluster.onNode(
        number,
        'sh',
        '-c',
        'ls /etc/cni/net.d /opt/cni/bin; cat /etc/cni/net.d/* | grep -c weft; find /run/weft -type f -o -type s; ls -d /sys/fs/bpf/weft 2>/dev/null',
      )
      return `node${number}: ${stdout.split('\n').join(' ')}`
    }),
  )
  const marks = await cluster.kubectl('get', 'nodes', '-o', 'jsonpath={.items[*].metadata.annotations}')
  return [...names.sort(), ...nodes, ...(marks.includes('weft.dev') ? [marks] : [])]
}

function app(name: string, nodeName: string, code: string): object {
  const container = { name: 'app', image: IMAGE, imagePullPolicy: 'Never', command: ['node', '-e', code] }
  const volume = { name: 'tmp', emptyDir: {} }
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'try', labels: { app: name } },
    spec: {
      nodeName,
      terminationGracePeriodSeconds: 0,
      containers: [{ ...container, volumeMounts: [{ name: 'tmp', mountPath: '/tmp' }] }],
      volumes: [volume],
    },
  }
}

const inClient = (script: string): Promise<string> => cluster.kubectl('-n', 'try', 'exec', 'client', '--', 'node', '-e', script)

/** New connections while something happens. @returns how many failed, and how many were answered */
async function underLoad(work: () => Promise<unknown>): Promise<{ ok: number; bad: string[] }> {
  await inClient(START)
  try {
    await work()
  } finally {
    await inClient("require('fs').writeFileSync('/tmp/stop', '')")
  }
  let text = ''
  await until('the load has ended', 60_000, async () => {
    text = await inClient("const fs = require('fs'); if (fs.existsSync('/tmp/result')) console.log(fs.readFileSync('/tmp/result', 'utf8'))")
    return text.includes('"ok"')
  })
  return JSON.parse(text) as { ok: number; bad: string[] }
}

const redirections = (): Promise<string> =>
  cluster.kubectl('-n', 'try', 'get', 'pods', '-o', 'jsonpath={.items[*].metadata.annotations.ambient\\.istio\\.io/redirection}')

describe('weft install, upgrade, uninstall', () => {
  let before_: string[]
  before(async function () {
    this.timeout('20m')
    folder = mkdtempSync(join(tmpdir(), 'weft-install-'))
    const given = process.env.WEFT_INSTALL_CLUSTER
    const id = `i${process.pid}`
    if (given === undefined) guard(id, process.pid)
    const number = 10 + ((process.pid + 7) % 50)
    cluster =
      given === undefined
        ? await Cluster.up({ id, number, nodes: 2, proxy: 'nftables', hasDns: true }, () => undefined)
        : await Cluster.find(given)
    const archive = join(folder, 'image.tar')
    makeImage({ name: IMAGE, archive })
    await cluster.load(archive)
    before_ = await traces()
  })
  after(async () => {
    rmSync(folder, { recursive: true, force: true })
    if (process.env.WEFT_INSTALL_CLUSTER === undefined) await cluster?.[Symbol.asyncDispose]()
  })

  it('refuses bad values, a strange account and another mesh in one sentence, and changes nothing', async () => {
    await refused(/^weft: the chart refuses these values: cni: there is no value 'mod'; /, 'install', '--set', 'cni.mod=x')
    await refused(/^weft: .*\/nowhere.*; /, 'install', '--kubeconfig', '/nowhere')
    await refused(/^weft: weft is not installed in this cluster; /, 'uninstall')
    await refused(/^weft: weft is not installed in this cluster; /, 'upgrade')
    const token = (await cluster.kubectl('-n', 'default', 'create', 'token', 'default')).trim()
    const config = JSON.parse(await cluster.kubectl('config', 'view', '--raw', '-o', 'json')) as { users: { user: object }[] }
    for (const user of config.users) user.user = { token }
    const weak = join(folder, 'weak.json')
    writeFileSync(weak, JSON.stringify(config))
    await refused(
      /^weft: the account may not get namespaces, create namespaces, .* in namespace weft-system.* and \d+ more; .*nothing was changed$/,
      'install',
      '--kubeconfig',
      weak,
    )
    const labels = { app: 'ztunnel' }
    const template = { metadata: { labels }, spec: { nodeSelector: { none: 'none' }, containers: [{ name: 'c', image: IMAGE }] } }
    await cluster.apply({
      apiVersion: 'apps/v1',
      kind: 'DaemonSet',
      metadata: { name: 'ztunnel', namespace: 'default', labels },
      spec: { selector: { matchLabels: labels }, template },
    })
    await refused(/^weft: another mesh is installed: DaemonSet default\/ztunnel; .*nothing was changed$/, 'install')
    await refused(/^weft: two meshes cannot share a node/, 'install', '--beside-istio')
    await cluster.kubectl('-n', 'default', 'delete', 'daemonset', 'ztunnel')
    assert.deepEqual(await traces(), before_)
  })

  it('says what is missing when an image is not there, and removes that again', async () => {
    const { status, stderr } = await weft('install', '--image', 'localhost/none:1', '--set', 'image.pullPolicy=Never', '--timeout', '15')
    assert.equal(status, 1)
    assert.match(stderr, /cannot get the image localhost\/none:1: load it into the nodes/)
    await refused(/^weft: weft 0\.1\.0 is installed already; to change it: weft upgrade$/, 'install')
    await good('uninstall')
    assert.deepEqual(await traces(), before_)
  })

  it('installs and takes pods up', async () => {
    const told = await good('install', ...valueFlags())
    assert.match(told, /weft is installed and ready/)
    await cluster.apply(
      { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'try', labels: { 'istio.io/dataplane-mode': 'ambient' } } },
      {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name: 'server', namespace: 'try' },
        spec: { selector: { app: 'server' }, ports: [{ port: 80, targetPort: 8080 }] },
      },
    )
    await cluster.apply(app('server', 'node2', SERVER), app('client', 'node1', 'setInterval(() => 0, 1e6)'))
    await cluster.kubectl('-n', 'try', 'wait', '--for=condition=Ready', 'pod', '--all', '--timeout=60s')
    await until('both pods are in the mesh', 20_000, async () => (await redirections()) === 'enabled enabled')
    const { ok, bad } = await underLoad(() => new Promise((resolve) => setTimeout(resolve, 2000)))
    assert.deepEqual(bad, [])
    assert.ok(ok > 5)
  })

  it('upgrades without a lost connection, keeping values', async () => {
    const { bad } = await underLoad(() =>
      good('upgrade', '--set', 'ztunnel.threads=2,cni.args={--reconcile-interval=20s,--release-wait=8s}'),
    )
    assert.deepEqual(bad, [])
    const args = await cluster.kubectl('-n', 'weft-system', 'get', 'daemonset', 'ztunnel', '-o', 'jsonpath={..containers[0].args}')
    assert.match(args, /--threads=2/)
    assert.match(await cluster.kubectl('-n', 'weft-system', 'get', 'pods', '-o', 'jsonpath={..image}'), new RegExp(IMAGE))
  })

  // the agents take long to let go of pods (--release-wait), and everything else must wait for them
  it('uninstalls without a lost connection and leaves nothing', async () => {
    const plan = await good('uninstall', '--dry-run')
    assert.match(plan, /DaemonSet weft-system\/ztunnel/)
    const { bad } = await underLoad(() => good('uninstall'))
    assert.deepEqual(bad, [])
    assert.equal((await redirections()).trim(), '')
    await cluster.kubectl('delete', 'namespace', 'try')
    assert.deepEqual(await traces(), before_)
  })

  it('helm alone takes the mesh off the nodes too', async () => {
    await good('install', ...valueFlags())
    await attempt(cluster.binaries.path('helm'), ['uninstall', 'weft', '--namespace', 'weft-system', '--wait'], { env: cluster.env })
    const nodes = before_.filter((line) => line.startsWith('node'))
    await until('the nodes are as before', 60_000, async () => {
      assert.deepEqual(
        (await traces()).filter((line) => line.startsWith('node')),
        nodes,
      )
      return true
    })
    await good('uninstall') // what the control plane made
    assert.deepEqual(await traces(), before_)
  })
})
