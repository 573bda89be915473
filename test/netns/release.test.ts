// The kill switch: with everything alive and with every process of the mesh dead, pods go on in plaintext and status is loud.
import assert from 'node:assert/strict'
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stringify } from 'yaml'
import type { MeshStatus } from '../../runtime/status.ts'
import { deployment } from '../support/mesh.ts'
import { LoadedMesh } from '../support/under-load.ts'

const WEFT = join(import.meta.dirname, '..', '..', 'weft')
const SERVER = `require('node:http').createServer((q, r) => r.end('served')).listen(8080, '::')`
const OBJECTS = [
  { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop', labels: { 'istio.io/dataplane-mode': 'ambient' } } },
  deployment('shop', 'web', ['node', '-e', SERVER], { container: { readinessProbe: { tcpSocket: { port: 8080 }, periodSeconds: 1 } } }),
  deployment('shop', 'client', ['sleep', 'infinity']),
  {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'web', namespace: 'shop' },
    spec: { selector: { app: 'web' }, ports: [{ port: 80, targetPort: 8080 }] },
  },
]

describe('weft release', () => {
  const name = `r${process.pid}`
  let directory: string
  let up: ChildProcess

  const weft = (...args: string[]): string =>
    execFileSync(WEFT, [...args.slice(0, 1), '--name', name, ...args.slice(1)], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
  const status = (): MeshStatus => JSON.parse(spawnSync(WEFT, ['status', '--name', name, '-o', 'json'], { encoding: 'utf8' }).stdout)
  const ask = (url: string): { status: number | null; stdout: string } =>
    spawnSync(WEFT, ['exec', '--name', name, 'shop/client', '--', 'curl', '-s', '-m', '3', url], { encoding: 'utf8' })
  const address = (): string => status().pods.find((pod) => pod.name.startsWith('web-'))?.ip ?? ''

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'weft-release-'))
    writeFileSync(join(directory, 'objects.yaml'), OBJECTS.map((object) => stringify(object)).join('---\n'))
    up = spawn(WEFT, ['up', '-f', directory, '--name', name], { stdio: ['ignore', 'pipe', 'inherit'] })
    await new Promise<void>((resolve, reject) => {
      up.stdout?.on('data', (chunk) => String(chunk).includes('ready after') && resolve())
      up.once('exit', (code) => reject(new Error(`up ended with ${code}`)))
    })
  })
  after(() => {
    spawnSync(WEFT, ['down', '--name', name])
    rmSync(directory, { recursive: true })
  })

  it('serves through the mesh first', () => {
    assert.deepEqual(
      status().pods.map((pod) => pod.enrolment),
      ['enabled', 'enabled'],
    )
    assert.equal(ask('http://web/').stdout, 'served')
    assert.match(weft('ztunnel-config', 'workloads'), /shop +web-\S+ +10\.244\.\S+ +node-\d +None +HBONE/)
    assert.match(weft('ztunnel-config', 'certificates'), /spiffe:\/\/cluster\.local\/ns\/shop\/sa\/default +Leaf +Available +true/)
  })

  it('releases a node, says so loudly, and takes it back', async () => {
    weft('release', '--node', 'node-1')
    assert.deepEqual(
      status().released.map((mark) => mark.node),
      ['node-1'],
    )
    assert.equal(spawnSync(WEFT, ['status', '--name', name]).status, 1)
    weft('release', '--node', 'node-1', '--resume')
    assert.deepEqual(status().released, [])
    for (let i = 0; i < 100 && status().pods.some((pod) => pod.enrolment !== 'enabled'); i++)
      await new Promise((resolve) => setTimeout(resolve, 100))
    assert.equal(ask('http://web/').stdout, 'served')
  })

  it('releases with every process of the mesh dead: refused before, plaintext after', async () => {
    const ip = address()
    const service = JSON.parse(weft('get', 'services', 'web', '-n', 'shop', '-o', 'json')) as { spec: { clusterIP: string } }
    // `up` first: it would start the others again.
    const pids = status().components.map((one) => one.pid ?? 0)
    const ended = new Promise((resolve) => up.once('exit', resolve))
    for (const pid of pids) process.kill(pid, 'SIGKILL')
    await ended
    assert.notEqual(ask(`http://${ip}:8080/`).status, 0)
    weft('release', '-n', 'shop')
    assert.equal(ask(`http://${ip}:8080/`).stdout, 'served')
    weft('release', '--all')
    assert.equal(ask(`http://${ip}:8080/`).stdout, 'served')
    assert.equal(ask(`http://${service.spec.clusterIP}/`).stdout, 'served')
    const loud = spawnSync(WEFT, ['status', '--name', name], { encoding: 'utf8' })
    assert.equal(loud.status, 1)
    assert.match(loud.stderr, /NOT protected by the mesh[\s\S]*node node-1[\s\S]*node node-2/)
  })

  it('is removed by down afterwards', () => {
    assert.match(weft('down'), /is removed/)
    assert.ok(!execFileSync('ip', ['netns'], { encoding: 'utf8' }).includes(`weft-${name}`))
  })
})

describe('weft release while `up` lives', () => {
  let loaded: LoadedMesh

  before(async () => {
    loaded = await LoadedMesh.start({
      componentArgs: { cni: ['--release-wait', '200ms'] },
      objects: [
        { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'other', labels: { 'istio.io/dataplane-mode': 'ambient' } } },
        deployment('other', 'stays', ['sleep', 'infinity'], { pod: { nodeName: 'node-1' } }),
      ],
    })
  })
  after(async () => {
    await loaded[Symbol.asyncDispose]()
  })

  // Not spawnSync: the API that the command asks is served by this process.
  const weft = (...args: string[]): Promise<{ status: number | null; stdout: string; stderr: string }> =>
    new Promise((resolve) => {
      const child = spawn(WEFT, [...args, '--name', loaded.mesh.mesh.layout.name], { stdio: ['ignore', 'pipe', 'pipe'] })
      const [out, err]: [string[], string[]] = [[], []]
      child.stdout.on('data', (chunk) => out.push(String(chunk)))
      child.stderr.on('data', (chunk) => err.push(String(chunk)))
      child.once('close', (status) => resolve({ status, stdout: out.join(''), stderr: err.join('') }))
    })
  const enrolment = async (namespace: string): Promise<string[]> =>
    (await loaded.mesh.status()).pods.filter((pod) => pod.namespace === namespace).map((pod) => pod.enrolment)
  const areEnrolled = async (namespace: string): Promise<boolean> => (await enrolment(namespace)).every((one) => one === 'enabled')
  const components = (): string[] =>
    loaded.mesh.mesh.supervisor
      .states()
      .map(({ name }) => name)
      .filter((name) => /^(ztunnel|cni|controlplane)/.test(name))

  /** Released: all requests are answered, in plaintext. */
  const assertPlain = async (): Promise<void> => {
    await loaded.clearTaps()
    await loaded.mesh.until('the path works', async () => (await loaded.load(50, 0.3).finished).lost === 0)
    await assert.rejects(loaded.assertNoPlaintext(), /not to port 15008/)
  }
  const assertMeshed = async (): Promise<void> => {
    await loaded.mesh.until('everything is enrolled', () => areEnrolled('shop'))
    await loaded.mesh.until('the path works', async () => (await loaded.load(50, 0.3).finished).lost === 0)
    await loaded.clearTaps()
    assert.equal((await loaded.load(50, 0.5).finished).lost, 0)
    await loaded.assertNoPlaintext()
  }

  it('every component dead: refused before, plain after, loud, and meshed again afterwards', async () => {
    const { supervisor } = loaded.mesh.mesh
    await Promise.all(components().map((name) => supervisor.hold(name)))
    assert.equal((await loaded.load(50, 0.3).finished).answered, 0)
    const released = await weft('release', '--all')
    assert.equal(released.status, 0, released.stderr)
    assert.match(released.stderr, /NOT protected/)
    await assertPlain()
    const status = await weft('status')
    assert.equal(status.status, 1)
    assert.match(status.stdout, /NOT protected by the mesh[\s\S]*node node-1[\s\S]*node node-2/)
    for (const name of components()) if (!name.startsWith('cni')) supervisor.resume(name)
    assert.equal((await weft('release', '--all', '--resume')).status, 0)
    await assertMeshed()
  })

  it('one namespace: its pods speak plaintext, the others stay; labelled again it is meshed', async () => {
    const released = await weft('release', '-n', 'shop')
    assert.equal(released.status, 0, released.stderr)
    await assertPlain()
    assert.ok(await areEnrolled('other'))
    assert.match((await weft('status')).stdout, /NOT protected by the mesh[\s\S]*namespace shop/)
    assert.equal((await weft('release', '-n', 'shop', '--resume')).status, 0)
    await loaded.mesh.label('shop', { 'istio.io/dataplane-mode': 'ambient' })
    await assertMeshed()
    assert.deepEqual((await loaded.mesh.status()).released, [])
  })
})
