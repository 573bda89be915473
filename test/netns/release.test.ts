// The kill switch: with everything alive and with every process of the mesh dead, pods go on in plaintext and status is loud.
import assert from 'node:assert/strict'
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stringify } from 'yaml'
import type { MeshStatus } from '../../runtime/status.ts'
import { deployment } from '../support/mesh.ts'

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

describe('weft release', function () {
  this.timeout(60_000)
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
