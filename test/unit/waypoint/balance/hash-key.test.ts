// What requests are hashed by, and the cookie for those that have nothing.
import assert from 'node:assert/strict'
import type { HashKey } from '../../../../model/backend.ts'
import type { RequestHead } from '../../../../model/http.ts'
import { hashOfRequest, newHashCookie } from '../../../../waypoint/balance/hash-key.ts'
import { hashText } from '../../../../waypoint/balance/hash.ts'
import { ip } from '../../../support/mesh-values.ts'
import { ANY, endpoints, policyOf, rig, seeded, spread } from './balance-values.ts'

const HEAD: RequestHead = {
  version: 'HTTP/1.1',
  method: 'GET',
  scheme: 'http',
  authority: 'shop.example',
  path: '/cart',
  query: 'user=alice&empty=&flag&user=bob&userx=carol',
  headers: [
    ['x-user', 'dave'],
    ['x-user', 'erin'],
    ['cookie', 'a=1; session=s7'],
  ],
  upgrade: undefined,
}
const SOURCE = ip('10.1.2.3')
const header = (name: string): HashKey => ({ kind: 'header', name })
const query = (name: string): HashKey => ({ kind: 'query', name })
const cookie = (name: string, ttlSeconds?: number): HashKey => ({ kind: 'cookie', name, path: '/', ttlSeconds })

const KEYS: readonly { name: string; given: readonly HashKey[]; want: string | undefined }[] = [
  { name: 'a header, whatever the case of the key', given: [header('X-User')], want: 'dave' },
  { name: 'the authority', given: [header('Host')], want: 'shop.example' },
  { name: 'the authority by its other name', given: [header(':authority')], want: 'shop.example' },
  { name: 'the method', given: [header(':method')], want: 'GET' },
  { name: 'the whole path', given: [header(':path')], want: `/cart?${HEAD.query}` },
  { name: 'the first value of a parameter', given: [query('user')], want: 'alice' },
  { name: 'a parameter with a longer name', given: [query('userx')], want: 'carol' },
  { name: 'an empty parameter', given: [query('empty')], want: '' },
  { name: 'a parameter without a value', given: [query('flag')], want: '' },
  { name: 'a cookie', given: [cookie('session')], want: 's7' },
  { name: 'the source address', given: [{ kind: 'sourceIp' }], want: '10.1.2.3' },
  {
    name: 'the first key that is there',
    given: [header('x-none'), query('none'), cookie('none'), query('userx'), header('x-user')],
    want: 'carol',
  },
  { name: 'nothing', given: [header('x-none'), query('use'), cookie('none')], want: undefined },
]

describe('waypoint/balance/hash-key', () => {
  for (const { name, given, want } of KEYS) {
    it(`hashes ${name}`, () => assert.equal(hashOfRequest(given, HEAD, SOURCE), want === undefined ? undefined : hashText(want)))
  }

  it('hashes no parameter without a query', () =>
    assert.equal(hashOfRequest([query('user')], { ...HEAD, query: undefined }, SOURCE), undefined))

  it('makes a cookie that hashes the same when it comes back', () => {
    const made = newHashCookie([header('x'), cookie('a'), cookie('b', 60)], seeded(1), true)!
    assert.match(made.field[1], /^b=[0-9a-f]{16}; Path=\/; Max-Age=60; HttpOnly; Secure$/)
    assert.equal(hashOfRequest([cookie('b', 60)], { ...HEAD, headers: [['cookie', made.field[1]]] }, SOURCE), made.hash)
    assert.match(newHashCookie([cookie('b', 0)], seeded(1), false)?.field[1] ?? '', /^b=[0-9a-f]{16}; Path=\/; HttpOnly$/)
    assert.equal(newHashCookie([header('x'), cookie('a')], seeded(1), true), undefined)
  })

  for (const kind of ['ringHash', 'maglev'] as const) {
    it(`${kind} keeps a key with its endpoint, and spreads keys and requests without one`, () => {
      const sizes = { minimumRingSize: 1024, tableSize: 1009 }
      const { cluster } = rig(policyOf({ balancer: { kind, keys: [query('user'), cookie('none', 5)], ...sizes } }), endpoints(5))
      const hash = cluster.hashOf(HEAD, SOURCE)
      assert.equal(hash, hashText('alice'))
      const [uid] = Object.keys(spread(cluster, 20, { ...ANY, hash }))
      assert.deepEqual(spread(cluster, 20, { ...ANY, hash }), { [uid!]: 20 })
      assert.equal(Object.keys(spread(cluster, 200, { ...ANY, hash, exclude: new Set([uid!]) })).length, 1)
      assert.equal(Object.keys(spread(cluster, 500)).length, 5)
      assert.equal(cluster.hashOf({ ...HEAD, query: undefined }, SOURCE), undefined)
      assert.ok(cluster.newCookie(false) !== undefined)
    })

    it(`${kind} stays with the locality of a key`, () => {
      const locality = { isEnabled: true, distribute: [{ from: '*', to: { r1: 50, r2: 50 } }], failover: [], failoverPriority: [] }
      const list = endpoints(6).map((one, index) => ({
        ...one,
        workload: { ...one.workload, locality: { region: index < 3 ? 'r1' : 'r2', zone: '', subzone: '' } },
      }))
      const { cluster } = rig(policyOf({ locality, balancer: { kind, keys: [], minimumRingSize: 1024, tableSize: 1009 } }), list)
      const seen = new Map<string, number>()
      for (let key = 0; key < 600; key++) {
        const counts = spread(cluster, 3, { ...ANY, hash: hashText(`${key}`) })
        const [uid = ''] = Object.keys(counts)
        assert.equal(counts[uid], 3)
        seen.set(uid, (seen.get(uid) ?? 0) + 1)
      }
      for (const count of seen.values()) assert.ok(Math.abs(count - 100) < 50, `${[...seen]}`)
    })
  }

  it('other policies hash nothing', () => {
    const { cluster } = rig(policyOf(), endpoints(2))
    assert.equal(cluster.hashOf(HEAD, SOURCE), undefined)
    assert.equal(cluster.newCookie(true), undefined)
  })
})
