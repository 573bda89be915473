// The roots in every namespace: written by the leader, at once for a new namespace, again when somebody changes them or they rotate.
import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import { RootsInNamespaces } from '../../../../controlplane/ca/roots.ts'
import type { MeshObject } from '../../../../model/object.ts'
import { objectFailure } from '../../../../objects/errors.ts'
import { FakeClock } from '../../../support/fake-clock.ts'
import { FakeLeader } from '../../../support/fake-leader.ts'
import { FakeSource } from '../../../support/fake-source.ts'
import { keptLog } from '../../../support/xds-pair.ts'

const namespace = (name: string, more: Partial<MeshObject['metadata']> = {}): MeshObject => ({
  apiVersion: 'v1',
  kind: 'Namespace',
  metadata: { name, ...more },
})

class Stage {
  readonly source = new FakeSource()
  readonly clock = new FakeClock()
  readonly leader = new FakeLeader()
  readonly log = keptLog()
  pem = 'ONE'
  readonly roots = new RootsInNamespaces({
    source: this.source,
    leader: this.leader,
    rootsPem: () => this.pem,
    log: this.log.log,
    clock: this.clock,
  })

  async start(...objects: readonly MeshObject[]): Promise<void> {
    this.source.apply(...objects)
    await this.source.start()
    this.source.onChange((event) => this.roots.apply(event))
    this.roots.kick()
    await this.clock.advance(50)
  }

  found(): Record<string, string | undefined> {
    return Object.fromEntries([...this.source.objects('configmaps')].map((one) => [one.metadata.namespace, one.data?.['root-cert.pem']]))
  }
}

describe('controlplane/ca/roots', () => {
  it('are in every namespace, and in a new one at once', async () => {
    const stage = new Stage()
    await stage.start(namespace('shop'), namespace('bank'))
    assert.deepEqual(stage.found(), { shop: 'ONE', bank: 'ONE' })
    stage.source.apply(namespace('new'))
    await stage.clock.advance(50)
    assert.equal(stage.found().new, 'ONE')
  })

  it('are not written into a namespace that goes', async () => {
    const stage = new Stage()
    await stage.start(namespace('going', { deletionTimestamp: '2026-01-01T00:00:00Z' }), {
      ...namespace('ending'),
      status: { phase: 'Terminating' },
    })
    assert.deepEqual(stage.found(), {})
  })

  it('are in the namespace of a Gateway, where the local runtime has no object of it', async () => {
    const stage = new Stage()
    await stage.start()
    const metadata = { name: 'wp', namespace: 'shop' }
    stage.source.apply({ apiVersion: 'gateway.networking.k8s.io/v1', kind: 'Gateway', metadata })
    await stage.clock.advance(50)
    assert.deepEqual(stage.found(), { shop: 'ONE' })
  })

  it('come back when they are changed or deleted, whoever made them', async () => {
    const stage = new Stage()
    const foreign = {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'istio-ca-root-cert', namespace: 'shop' },
      data: { 'root-cert.pem': 'ISTIO' },
    }
    await stage.start(namespace('shop'), foreign)
    assert.equal(stage.found().shop, 'ONE')
    stage.source.delete(foreign)
    await stage.clock.advance(50)
    assert.equal(stage.found().shop, 'ONE')
  })

  it('follow a rotation, and are written once only', async () => {
    const stage = new Stage()
    await stage.start(namespace('shop'))
    const [first] = stage.source.objects('configmaps')
    stage.roots.kick()
    await stage.clock.advance(5000)
    assert.equal([...stage.source.objects('configmaps')][0], first)
    stage.pem = 'ONE TWO'
    stage.roots.kick()
    await stage.clock.advance(50)
    assert.equal(stage.found().shop, 'ONE TWO')
  })

  it('are the leader’s', async () => {
    const stage = new Stage()
    stage.leader.set(false)
    await stage.start(namespace('shop'))
    assert.deepEqual(stage.found(), {})
  })

  it('of other namespaces are written when one cannot be, and that one later', async () => {
    const stage = new Stage()
    let isForbidden = true
    const create = stage.source.create.bind(stage.source)
    stage.source.create = async (object) => {
      if (object.metadata.namespace === 'shop' && isForbidden) throw objectFailure('API_FAILED', { reason: 'quota' })
      await create(object)
    }
    await stage.start(namespace('shop'), namespace('bank'))
    assert.deepEqual(stage.found(), { bank: 'ONE' })
    isForbidden = false
    await stage.clock.advance(3000)
    assert.equal(stage.found().shop, 'ONE')
  })
})
