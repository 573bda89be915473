// What the leader alone does: begun when it leads and every object is known, ended when it does not.
import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import { deploySettingsOf } from '../../../../controlplane/deploy/settings.ts'
import { Duties } from '../../../../controlplane/leader/duties.ts'
import { readSettings } from '../../../../controlplane/settings.ts'
import type { MeshObject } from '../../../../model/object.ts'
import { FakeClock } from '../../../support/fake-clock.ts'
import { FakeLeader } from '../../../support/fake-leader.ts'
import { FakeSource } from '../../../support/fake-source.ts'
import { keptLog } from '../../../support/xds-pair.ts'

const NAMESPACE: MeshObject = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } }
const gateway = (name: string): MeshObject => ({
  apiVersion: 'gateway.networking.k8s.io/v1',
  kind: 'Gateway',
  metadata: { name, namespace: 'shop', uid: `g-${name}` },
  spec: { gatewayClassName: 'istio-waypoint', listeners: [{ name: 'mesh', port: 15008, protocol: 'HBONE' }] },
})

class Stage {
  readonly source = new FakeSource()
  readonly clock = new FakeClock()
  readonly leader = new FakeLeader()
  pem = 'ONE'
  readonly duties: Duties

  constructor() {
    const settings = readSettings(['--api-socket', 'x', '--ca-dir', 'x'], {})
    assert.ok(settings.ok)
    this.duties = new Duties({
      leader: this.leader,
      source: this.source,
      waypoints: deploySettingsOf(settings.value, undefined),
      rootsPem: () => this.pem,
      log: keptLog().log,
      clock: this.clock,
      onFaults: () => undefined,
    })
    this.source.onChange((event) => this.duties.apply(event))
  }

  found(): string[] {
    const kinds = ['configmaps', 'deployments'] as const
    return kinds.flatMap((kind) => [...this.source.objects(kind)].map((one) => `${one.kind} ${one.metadata.name}`))
  }
}

describe('controlplane/leader/duties', () => {
  it('waits until every object is known', async () => {
    const stage = new Stage()
    await stage.source.start()
    stage.source.apply(NAMESPACE, gateway('way'))
    await stage.clock.advance(5000)
    assert.deepEqual(stage.found(), [], 'what seems to be missing may only not be listed yet')
    stage.duties.start()
    await stage.clock.advance(100)
    assert.deepEqual(stage.found(), ['ConfigMap istio-ca-root-cert', 'Deployment way'])
  })

  it('begins with leadership and ends with it', async () => {
    const stage = new Stage()
    stage.leader.set(false)
    stage.source.apply(NAMESPACE, gateway('way'))
    await stage.source.start()
    stage.duties.start()
    await stage.clock.advance(5000)
    assert.deepEqual(stage.found(), [])
    stage.leader.set(true)
    await stage.clock.advance(100)
    assert.deepEqual(stage.found(), ['ConfigMap istio-ca-root-cert', 'Deployment way'])
    stage.leader.set(false)
    stage.source.apply(gateway('later'))
    stage.pem = 'TWO'
    stage.duties.distribute()
    await stage.clock.advance(5000)
    assert.deepEqual(stage.found(), ['ConfigMap istio-ca-root-cert', 'Deployment way'])
    assert.deepEqual(stage.duties.faults, [])
    stage.leader.set(true)
    await stage.clock.advance(100)
    assert.ok(stage.found().includes('Deployment later'))
    assert.equal([...stage.source.objects('configmaps')][0]?.data?.['root-cert.pem'], 'TWO')
  })

  it('ends for good when it is disposed of', async () => {
    const stage = new Stage()
    await stage.source.start()
    stage.duties.start()
    stage.duties[Symbol.dispose]()
    stage.leader.set(true)
    stage.source.apply(NAMESPACE)
    await stage.clock.advance(5000)
    assert.deepEqual(stage.found(), [])
    assert.equal(stage.clock.pending, 0)
  })
})
