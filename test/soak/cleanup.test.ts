// However a mesh ends, nothing of it is left: namespaces, links, programs, maps, mounts, cgroups, processes, files.
import assert from 'node:assert/strict'
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stringify } from 'yaml'
import { meshLayout } from '../../runtime/layout.ts'
import { deployment } from '../support/mesh.ts'
import { isAlive, type KernelObject, leftovers, pinnedObjects } from '../support/leftovers.ts'

const WEFT = join(import.meta.dirname, '..', '..', 'weft')
const SERVER = `require('node:http').createServer((q, r) => r.end('served')).listen(8080, '::')`
const OBJECTS = [
  { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop', labels: { 'istio.io/dataplane-mode': 'ambient' } } },
  deployment('shop', 'web', ['node', '-e', SERVER], { container: { readinessProbe: { tcpSocket: { port: 8080 }, periodSeconds: 1 } } }),
  deployment('shop', 'client', ['sleep', 'infinity']),
]

/** An `up` of the test. */
interface Up {
  readonly child: ChildProcess
  readonly ended: Promise<string>
  /** Resolves when what `up` says contains the text. */
  said(text: string): Promise<void>
}

describe('clean-up', function () {
  this.timeout('60s')
  const names = [`e${process.pid}`, `f${process.pid}`] as const
  const [name] = names
  let directory: string

  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'weft-cleanup-'))
    writeFileSync(join(directory, 'objects.yaml'), OBJECTS.map((object) => stringify(object)).join('---\n'))
  })
  after(() => {
    for (const each of names) spawnSync(WEFT, ['down', '--name', each])
    rmSync(directory, { recursive: true })
  })

  const up = (mesh: string = name, env = process.env): Up => {
    const child = spawn(WEFT, ['up', '-f', directory, '--nodes', '1', '--name', mesh], { env, stdio: ['ignore', 'pipe', 'pipe'] })
    let text = ''
    const listeners = new Set<() => void>()
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => {
        text += chunk.toString()
        for (const listener of listeners) listener()
      })
    const ended = new Promise<string>((resolve) => child.once('close', (code, signal) => resolve(`${signal ?? code}`)))
    const said = (what: string): Promise<void> =>
      new Promise((resolve, reject) => {
        const look = (): void => void (text.includes(what) && resolve())
        listeners.add(look)
        look()
        void ended.then((how) => reject(new Error(`up ended (${how}) and never said ${what}: ${text}`)))
      })
    return { child, ended, said }
  }
  const down = (mesh: string = name): string => execFileSync(WEFT, ['down', '--name', mesh], { encoding: 'utf8' })
  const ready = (one: Up): Promise<void> => one.said('is ready after')
  const ask = (mesh: string): string => {
    const ip = JSON.parse(execFileSync(WEFT, ['status', '--name', mesh, '-o', 'json'], { encoding: 'utf8' })).pods.find(
      (pod: { name: string }) => pod.name.startsWith('web-'),
    ).ip
    return spawnSync(WEFT, ['exec', '--name', mesh, 'shop/client', '--', 'curl', '-s', '-m', '3', `http://${ip}:8080/`], {
      encoding: 'utf8',
    }).stdout
  }
  const kernelObjects = (mesh: string = name): KernelObject[] => {
    const objects = pinnedObjects(meshLayout(mesh).node(1).bpfDir)
    assert.ok(objects.length > 30 && objects.every(isAlive), `${objects.length} objects`)
    return objects
  }
  /** Nothing of the name is left, and the kernel has let go of the objects (it does so a moment later). */
  const assertNothingLeft = async (objects: readonly KernelObject[] = [], mesh: string = name): Promise<void> => {
    assert.deepEqual(leftovers(mesh), [])
    const deadlineMs = performance.now() + 5000
    while (objects.some(isAlive) && performance.now() < deadlineMs) await new Promise((resolve) => setTimeout(resolve, 50))
    assert.deepEqual(objects.filter(isAlive), [])
  }
  /** Files in the temporary directory, which components may have made. */
  const scratch = (): string[] => readdirSync(tmpdir()).filter((file) => file.includes(name))

  it('Ctrl-C', async () => {
    const one = up()
    await ready(one)
    assert.equal(ask(name), 'served')
    assert.ok(leftovers(name).length > 10, 'the search finds a running mesh')
    const objects = kernelObjects()
    one.child.kill('SIGINT')
    assert.equal(await one.ended, '0')
    await assertNothingLeft(objects)
  })

  it('Ctrl-C while it starts, at any moment', async () => {
    for (const moment of ['making nodes', 'starting components', 'waiting for']) {
      const one = up()
      await one.said(moment)
      one.child.kill('SIGINT')
      await one.ended
      await assertNothingLeft()
    }
  })

  it('kill -9 of up, then down, and down again', async () => {
    const one = up()
    await ready(one)
    const objects = kernelObjects()
    one.child.kill('SIGKILL')
    await one.ended
    assert.match(down(), /is removed/)
    await assertNothingLeft(objects)
    assert.match(down(), /no mesh .* was running/)
  })

  it('kill -9 of up while it makes nodes, then up again; a second mesh beside it goes without touching the first', async () => {
    const broken = up()
    await broken.said('starting components')
    broken.child.kill('SIGKILL')
    await broken.ended
    const one = up()
    const other = up(names[1])
    await Promise.all([ready(one), ready(other)])
    const objects = kernelObjects(names[1])
    other.child.kill('SIGTERM')
    assert.equal(await other.ended, '0')
    await assertNothingLeft(objects, names[1])
    assert.equal(ask(name), 'served')
    assert.match(down(), /is removed/) // ends the living `up`
    assert.equal(await one.ended, '0')
    await assertNothingLeft()
  })

  it('a second up of the name is refused and harms nothing', async () => {
    const one = up()
    await ready(one)
    assert.notEqual(await up().ended, '0')
    assert.equal(ask(name), 'served')
    one.child.kill('SIGINT')
    await one.ended
    await assertNothingLeft()
  })

  for (const [what, add, remove] of [
    ['namespace', ['netns', 'add'], ['netns', 'del']],
    ['link', ['link', 'add'], ['link', 'del', 'dev']],
  ] as const) {
    it(`a ${what} that up would make is there already: up says so, leaves it alone and makes nothing`, async () => {
      const taken = what === 'namespace' ? `weft-${name}-node-1` : meshLayout(name).bridge
      execFileSync('ip', [...add, taken, ...(what === 'link' ? ['type', 'bridge'] : [])])
      try {
        const one = up()
        await one.said(taken)
        assert.equal(await one.ended, '1')
        assert.deepEqual(leftovers(name), [`${what} ${taken}`])
      } finally {
        spawnSync('ip', [...remove, taken])
      }
    })
  }

  it('up fails half-way: what it had made goes away', async () => {
    // An `ip` that refuses to make the addresses of the node, after namespaces and links are there.
    const shim = join(directory, 'bin')
    mkdirSync(shim)
    writeFileSync(join(shim, 'ip'), `#!/bin/sh\ncase "$*" in *-node-1*-batch*) exit 3;; esac\nexec /usr/sbin/ip "$@"\n`, { mode: 0o755 })
    const one = up(name, { ...process.env, PATH: `${shim}:${process.env.PATH}` })
    await one.said('status=3')
    assert.equal(await one.ended, '1')
    await assertNothingLeft()
    assert.deepEqual(scratch(), [])
  })
})
