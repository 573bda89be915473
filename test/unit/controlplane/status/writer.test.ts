// Statuses on their way to the source: once, few at a time, on the version that was read, again after a failure.
import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import { worldOf } from '../../../../controlplane/push/world.ts'
import { patchTarget } from '../../../../controlplane/status/target.ts'
import { StatusWriter } from '../../../../controlplane/status/writer.ts'
import { Translator } from '../../../../controlplane/translate/translate.ts'
import type { MeshObject } from '../../../../model/object.ts'
import { FakeClock } from '../../../support/fake-clock.ts'
import { FakeLeader } from '../../../support/fake-leader.ts'
import { FakeSource, NAMES } from '../../../support/fake-source.ts'
import { object, route, service, SHOP } from '../../../support/route-world.ts'
import { keptLog } from '../../../support/xds-pair.ts'

interface Waiting {
  readonly key: string
  readonly version: string | undefined
  readonly status: { readonly conditions?: readonly { readonly type: string; readonly reason: string }[] }
  end(error?: Error): void
}

/** Holds every write until the test ends it. */
class SlowSource extends FakeSource {
  readonly waiting: Waiting[] = []

  override patchStatus(kind: string, namespace: string | undefined, name: string, status: object, version?: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const end = (error?: Error): void => {
        this.waiting.splice(this.waiting.indexOf(entry), 1)
        if (error === undefined) super.patchStatus(kind as never, namespace, name, status).then(resolve, reject)
        else reject(error)
      }
      const entry = { key: `${kind} ${namespace ?? ''}/${name}`, version, status, end }
      this.waiting.push(entry)
    })
  }
}

class Scene {
  readonly source = new SlowSource()
  readonly kept = keptLog()
  readonly clock = new FakeClock()
  readonly leader = new FakeLeader()
  retries = 0
  readonly #writer = new StatusWriter({
    source: this.source,
    target: patchTarget(this.source),
    leader: this.leader,
    log: this.kept.log,
    clock: this.clock,
    retry: () => this.retries++,
  })
  readonly #translator = new Translator(NAMES)

  constructor(...objects: readonly MeshObject[]) {
    this.source.apply(...objects)
  }

  report(programmed: readonly string[] = [], deployFaults: Parameters<StatusWriter['report']>[0]['deployFaults'] = []): void {
    const translation = this.#translator.translate(worldOf(this.source, new Set()))
    const state = { programmed: new Set(programmed), refusals: new Map([['shop/waypoint', 'listener x: no']]) }
    this.#writer.report({ translation, faults: translation.faults, programmed: state, deployFaults })
  }

  keys(): string[] {
    return this.source.waiting.map(({ key }) => key).sort()
  }

  /** Ends all writes until none waits. */
  async settle(): Promise<number> {
    let count = 0
    for (;;) {
      const [next] = this.source.waiting
      if (next === undefined) return count
      next.end()
      count++
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
}

const ROUTES = SHOP.filter(({ kind }) => kind !== 'Gateway')

describe('controlplane/status/writer', () => {
  it('writes the status of routes, Gateways, classes and services, each once', async () => {
    const klass = object('gateway.networking.k8s.io/v1', 'GatewayClass', undefined, 'weft-waypoint', {
      controllerName: 'weft.dev/gateway-controller',
    })
    const scene = new Scene(...SHOP, klass, route('HTTPRoute', {}), route('GRPCRoute', {}, { name: 'g' }))
    scene.report()
    assert.deepEqual(scene.keys(), [
      'gatewayclasses /weft-waypoint',
      'gateways shop/waypoint',
      'grpcroutes shop/g',
      'httproutes shop/r',
      'services shop/cart',
      'services shop/cart-v2',
    ])
    assert.equal(await scene.settle(), 6)
    scene.report()
    assert.deepEqual(scene.keys(), [])
  })

  it('says of Gateways why they are not in force, and when they are', async () => {
    const scene = new Scene(...SHOP)
    const said = async (...given: Parameters<Scene['report']>): Promise<unknown> => {
      scene.report(...given)
      const conditions = scene.source.waiting.find(({ key }) => key.startsWith('gateways'))?.status.conditions ?? []
      const text = conditions.map(
        (condition) => `${condition.type} ${condition.reason} ${'message' in condition ? condition.message : ''}`,
      )[1]
      await scene.settle()
      return text
    }
    assert.equal(await said(), 'Programmed Invalid listener x: no')
    assert.equal(
      await said([], [{ kind: 'Gateway', namespace: 'shop', name: 'waypoint', field: '', message: 'no name' }]),
      'Programmed Invalid no name',
    )
  })

  it('has few writes under way, and namespaces take turns', async () => {
    const many = Array.from({ length: 50 }, (_, i) => route('HTTPRoute', {}, { name: `n${i}`, namespace: 'web' }))
    const scene = new Scene(...ROUTES, ...many, route('HTTPRoute', {}))
    scene.report()
    assert.equal(scene.source.waiting.length, 8)
    assert.ok(scene.keys().includes('httproutes shop/r'), 'the quiet namespace does not wait for the noisy one')
    assert.equal(await scene.settle(), 53, 'routes, and the services that name a waypoint')
  })

  it('writes on the version that was read, and again what was refused', async () => {
    const made = route('HTTPRoute', {})
    const scene = new Scene({ ...made, metadata: { ...made.metadata, resourceVersion: '7' } })
    scene.report()
    assert.equal(scene.source.waiting[0]?.version, '7')
    scene.source.waiting[0]?.end(Object.assign(new Error('changed'), { code: 'CONFLICT' }))
    await new Promise((resolve) => setImmediate(resolve))
    assert.deepEqual(
      scene.kept.lines.filter(({ level }) => level === 'warn').map(({ message }) => message),
      [],
    )
    scene.report()
    assert.deepEqual(scene.keys(), ['httproutes shop/r'])
    scene.source.waiting[0]?.end(new Error('away'))
    await new Promise((resolve) => setImmediate(resolve))
    assert.deepEqual(
      scene.kept.lines.filter(({ level }) => level === 'warn').map(({ message }) => message),
      ['status could not be written'],
    )
  })

  it('takes back the binding of a service that names no waypoint any more', async () => {
    const scene = new Scene(...SHOP)
    scene.report()
    await scene.settle()
    scene.source.apply({
      ...(scene.source.objects('services')[Symbol.iterator]().next().value as MeshObject),
      metadata: { name: 'cart', namespace: 'shop', labels: { 'istio.io/use-waypoint': 'none' } },
    })
    scene.report()
    assert.deepEqual(
      scene.source.waiting.map(({ key, status }) => [key, status.conditions]),
      [['services shop/cart', []]],
    )
  })

  it('writes nothing while another replica leads, and everything when this one begins to', async () => {
    const scene = new Scene(...SHOP, route('HTTPRoute', { rules: 'x' }))
    scene.leader.set(false)
    scene.report()
    assert.deepEqual(scene.keys(), [])
    assert.equal(
      scene.kept.lines.filter(({ message }) => message.startsWith('an object is wrong')).length,
      1,
      'every replica says it in its log',
    )
    scene.leader.set(true)
    scene.report()
    assert.ok((await scene.settle()) > 0)
  })

  it('leaves to the next leader what waits, and finds it anew when it leads again', async () => {
    const many = Array.from({ length: 30 }, (_, i) => route('HTTPRoute', {}, { name: `n${i}` }))
    const scene = new Scene(...ROUTES, ...many)
    scene.report()
    scene.leader.set(false)
    assert.equal(await scene.settle(), 8, 'what was under way')
    scene.leader.set(true)
    scene.report()
    assert.equal(await scene.settle(), 32 - 8)
  })

  it('asks for another report after a failure that is not the object’s, once', async () => {
    const scene = new Scene(...ROUTES, route('HTTPRoute', {}, { name: 'a' }), route('HTTPRoute', {}, { name: 'b' }))
    scene.report()
    for (const { end } of [...scene.source.waiting]) end(new Error('away'))
    await scene.clock.advance(4999)
    assert.equal(scene.retries, 0)
    await scene.clock.advance(1)
    assert.equal(scene.retries, 1)
    scene.report()
    assert.equal(await scene.settle(), 4)
  })

  it('writes a few hundred at once, then fifty per second', async () => {
    const many = Array.from({ length: 400 }, (_, i) => route('HTTPRoute', {}, { name: `n${i}` }))
    const scene = new Scene(...ROUTES, ...many)
    scene.report()
    assert.equal(await scene.settle(), 200)
    await scene.clock.advance(1000)
    const second = await scene.settle()
    assert.ok(second >= 8 && second <= 60, String(second))
    let total = 200 + second
    for (let i = 0; i < 100; i++) {
      await scene.clock.advance(100)
      total += await scene.settle()
    }
    assert.equal(total, 402)
  })

  const ELSEWHERE: readonly { readonly name: string; readonly hasReplicas: boolean; readonly refusal?: string; readonly want: string }[] = [
    { name: 'one replica knows every waypoint', hasReplicas: false, want: 'False Pending' },
    { name: 'of several replicas another may hold the waypoint', hasReplicas: true, want: 'True Programmed' },
    { name: 'what a waypoint here refuses counts', hasReplicas: true, refusal: 'no', want: 'False Invalid' },
  ]
  for (const { name, hasReplicas, refusal, want } of ELSEWHERE) {
    it(`a Gateway with a ready pod and no client here: ${name}`, async () => {
      const source = new FakeSource()
      source.apply(...SHOP, service('shop', 'waypoint'))
      const writer = new StatusWriter({
        source,
        target: patchTarget(source),
        leader: new FakeLeader(),
        hasReplicas,
        log: keptLog().log,
        clock: new FakeClock(),
      })
      const translation = { ...new Translator(NAMES).translate(worldOf(source, new Set())), readyGateways: new Set(['shop/waypoint']) }
      const refusals = new Map(refusal === undefined ? [] : [['shop/waypoint', refusal]])
      writer.report({ translation, faults: [], programmed: { programmed: new Set(), refusals }, deployFaults: [] })
      await new Promise((resolve) => setImmediate(resolve))
      const said = source.patches
        .find(({ name: object }) => object === 'waypoint')
        ?.status.conditions.find(({ type }) => type === 'Programmed')
      assert.equal(`${said?.status} ${said?.reason}`, want)
    })
  }

  it('logs a fault once, as long as it is there', () => {
    const scene = new Scene(...SHOP, route('HTTPRoute', { rules: 'x' }))
    scene.report()
    scene.report()
    assert.equal(scene.kept.lines.filter(({ message }) => message.startsWith('an object is wrong')).length, 1)
  })
})
