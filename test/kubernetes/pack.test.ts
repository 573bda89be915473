// The published package: `npm pack` makes it, npm installs it somewhere else, and the weft command runs from there, without types.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { run, until } from './cluster/processes.ts'

const ROOT = join(import.meta.dirname, '../..')
/** A namespace with a waypoint, whose pod runs the package's own code. */
const OBJECTS = `
apiVersion: v1
kind: Namespace
metadata: { name: shop, labels: { istio.io/dataplane-mode: ambient, istio.io/use-waypoint: waypoint } }
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: waypoint, namespace: shop }
spec: { gatewayClassName: istio-waypoint, listeners: [{ name: mesh, port: 15008, protocol: HBONE }] }
`

describe('the package', () => {
  let folder: string
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'weft-pack-'))
    await run('npm', ['pack', '--silent', '--pack-destination', folder], { cwd: ROOT })
    writeFileSync(join(folder, 'package.json'), '{}')
    const flags = ['--prefer-offline', '--ignore-scripts', '--no-audit', '--no-fund', '--silent']
    const [tarball = ''] = readdirSync(folder).filter((name) => name.endsWith('.tgz'))
    await run('npm', ['install', ...flags, join(folder, tarball)], { cwd: folder })
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  const weft = (...words: readonly string[]): Promise<string> => run(join(folder, 'node_modules/.bin/weft'), words, { cwd: folder })

  it('has the version and no sources', async () => {
    const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string }
    assert.equal((await weft('--version')).trim(), version)
    const files = readdirSync(join(folder, 'node_modules/weft'), { recursive: true, encoding: 'utf8' })
    assert.deepEqual(
      files.filter((file) => /\.ts$|^test\/|^dist\/(test|bench)\//.test(file)),
      [],
    )
    assert.ok(!existsSync(join(ROOT, 'dist')), 'postpack cleans up')
  })

  it('starts a mesh, which has a ready node proxy and a ready waypoint', async () => {
    const name = `pack${process.pid}`
    writeFileSync(join(folder, 'shop.yaml'), OBJECTS)
    const words = ['up', '--name', name, '--nodes', '1', '-f', 'shop.yaml']
    const mesh = spawn(join(folder, 'node_modules/.bin/weft'), words, { cwd: folder, stdio: 'ignore' })
    const ended = new Promise((done) => mesh.on('close', done))
    try {
      await until('the mesh is ready', 60_000, async () => {
        const { hasMesh, isReady, pods } = JSON.parse(await weft('status', '--name', name, '-o', 'json'))
        return hasMesh && isReady && pods.length === 1
      })
    } finally {
      mesh.kill('SIGINT')
      await ended
    }
  })
})
