// Backends of services that have no endpoints of their own: names that are resolved, and addresses that were dialled.
import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import type { ServiceKey, Workload } from '../../../model/workload.ts'
import { Names } from '../../../state/names.ts'
import { Clusters } from '../../../waypoint/clusters.ts'
import { Configuration } from '../../../waypoint/config.ts'
import type { Target } from '../../../waypoint/decide.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { ip, serviceOf, workloadOf } from '../../support/mesh-values.ts'

const KEY: ServiceKey = 'shop/a.example'
const REF = { service: KEY, port: 80, subset: undefined }

function lab(addresses: readonly string[]) {
  const clock = new FakeClock()
  const config = new Configuration(clock)
  let known = addresses
  let drawn = 0
  const random = (): number => (drawn++ % 8) / 8
  const names = new Names({ clock, lookUp: async () => ({ addresses: known.map(ip), ttlMs: 5_000 }) })
  const pool = { connect: () => Promise.reject(new Error('not dialled here')), idleTimeoutMs: 1000 }
  const clusters = new Clusters({ config, network: '', ip: ip('10.0.0.9'), clock, random, pool, names })
  const services: Workload['services'] = new Map([[KEY, [{ servicePort: 80, targetPort: 8080 }]]])
  const endpoint = workloadOf('e', [], { hostname: 'real.example', services, protocol: 'NONE', isHostNetwork: true })
  config.apply({
    services: { upserts: [serviceOf('a', ['240.240.0.1'], { hostname: 'a.example' })], removes: [] },
    workloads: { upserts: [endpoint, workloadOf('way', ['10.0.0.9'])], removes: [] },
  })
  const chosen = (): string[] => {
    const found = new Set<string>()
    for (let i = 0; i < 8; i++) {
      const choice = clusters.get(REF)?.balancer.choose({ hash: undefined, exclude: new Set(), session: undefined })
      if (choice?.kind === 'endpoint') found.add(`${choice.endpoint.to.ip}:${choice.endpoint.to.port}`)
    }
    return [...found].sort()
  }
  const say = (list: readonly string[]): void => {
    known = list
  }
  return { clock, config, clusters, chosen, say }
}

describe('waypoint/clusters', () => {
  it('waits for names once, then has an endpoint per address', async () => {
    const { clusters, chosen } = lab(['192.0.2.1', '192.0.2.2'])
    assert.deepEqual(chosen(), [])
    await clusters.resolving(REF)
    assert.deepEqual(chosen(), ['192.0.2.1:8080', '192.0.2.2:8080'])
    assert.equal(clusters.resolving(REF), undefined)
  })

  it('follows the name, and does not wait for one that is nowhere', async () => {
    const { clock, clusters, chosen, say } = lab(['192.0.2.1'])
    await clusters.resolving(REF)
    assert.deepEqual(chosen(), ['192.0.2.1:8080'])
    say(['192.0.2.7'])
    await clock.advance(5_000)
    chosen() // asks
    await clock.advance(0)
    assert.deepEqual(chosen(), ['192.0.2.7:8080'])
    say([])
    await clock.advance(5_000)
    chosen()
    await clock.advance(0)
    assert.deepEqual(chosen(), [])
    assert.equal(clusters.resolving(REF), undefined)
  })

  it('leads to the address that was dialled only where the service is just that', () => {
    const { clusters } = lab([])
    const through = serviceOf('b', ['192.0.2.0/24'], {
      hostname: 'b.example',
      loadBalancing: { mode: 'PASSTHROUGH', routingPreference: [], allowsUnhealthy: true },
    })
    const target = (service = through): Target => ({
      kind: 'service',
      service,
      port: 80,
      entry: undefined as unknown as Extract<Target, { kind: 'service' }>['entry'],
      to: { ip: ip('192.0.2.9'), port: 80 },
    })
    const own = { service: 'shop/b.example', port: 80, subset: undefined }
    const choice = clusters.dialled(target(), own)?.balancer.choose({ hash: undefined, exclude: new Set(), session: undefined })
    assert.equal(choice?.kind === 'endpoint' ? choice.endpoint.to.ip : '', '192.0.2.9')
    assert.equal(clusters.dialled(target(), own), clusters.dialled(target(), own))
    assert.equal(clusters.dialled(target(), REF), undefined)
    assert.equal(clusters.dialled(target(), { ...own, port: 81 }), undefined)
    assert.equal(clusters.dialled(target(), { ...own, subset: 'v1' }), undefined)
    assert.equal(clusters.dialled(target(serviceOf('c', ['192.0.2.9'])), { ...own, service: 'shop/c.shop.svc.cluster.local' }), undefined)
  })
})
