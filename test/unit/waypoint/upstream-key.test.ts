// The text by which connections are shared: remembered, and never across what tells them apart.
import assert from 'node:assert/strict'
import type { SpiffeId } from '../../../model/identity.ts'
import { UpstreamKeys } from '../../../waypoint/upstream-key.ts'
import type { UpstreamKey } from '../../../waypoint/upstream.ts'
import { ip, workloadOf } from '../../support/mesh-values.ts'

const ENDPOINT = endpoint('a', '10.0.0.1')
const CLIENT = client('spiffe://cluster.local/ns/shop/sa/one', '10.0.3.1')
const KEY: UpstreamKey = { endpoint: ENDPOINT, client: CLIENT, host: undefined, version: 'HTTP/1.1' }

describe('waypoint/upstream-key', () => {
  for (const { name, other } of [
    { name: 'another address', other: { ...KEY, endpoint: endpoint('a', '10.0.0.2') } },
    { name: 'another workload', other: { ...KEY, endpoint: endpoint('b', '10.0.0.1') } },
    { name: 'another identity of the client', other: { ...KEY, client: client('spiffe://cluster.local/ns/shop/sa/two', '10.0.3.1') } },
    { name: 'another address of the client', other: { ...KEY, client: client(CLIENT.id, '10.0.3.2') } },
    { name: 'no client', other: { ...KEY, client: undefined } },
    { name: 'another version', other: { ...KEY, version: 'HTTP/2' as const } },
  ])
    it(`tells apart ${name}, whichever is asked for first`, () => {
      const keys = new UpstreamKeys()
      const [one, two] = [keys.textOf(KEY), keys.textOf(other)]
      assert.notEqual(one, two)
      assert.deepEqual([keys.textOf(KEY), keys.textOf(other)], [one, two])
      assert.deepEqual([new UpstreamKeys().textOf(other), new UpstreamKeys().textOf(KEY)], [two, one])
    })

  it('is the same for equal values that are other objects', () => {
    const keys = new UpstreamKeys()
    assert.equal(keys.textOf(KEY), keys.textOf({ ...KEY, endpoint: endpoint('a', '10.0.0.1'), client: { ...CLIENT } }))
  })
})

function endpoint(name: string, address: string): UpstreamKey['endpoint'] {
  const workload = workloadOf(name, [address])
  return { uid: name, to: { ip: ip(address), port: 80 }, workload, weight: 1, isReady: true, isTerminating: false }
}

function client(id: string, address: string): NonNullable<UpstreamKey['client']> {
  const identity = { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'x' }
  return { id: id as SpiffeId, identity, ip: ip(address), workload: undefined } as NonNullable<UpstreamKey['client']>
}
