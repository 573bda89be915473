// Addresses for hosts: the same before and after the status is written, never one twice, never one that the status makes up.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { describe, it } from 'mocha'
import { ALLOCATED_BLOCKS, allocate, type Wanting } from '../../../../../controlplane/translate/service-entry/allocate.ts'
import { cidrContains } from '../../../../../model/address.ts'
import type { ServiceEntry } from '../../../../../model/service-entry.ts'

const wanting = (host: string, addresses?: unknown): Wanting => ({
  key: `shop/${host}/${host}`,
  host,
  object: { apiVersion: 'v1', kind: 'ServiceEntry', metadata: { name: host }, status: { addresses } } as ServiceEntry,
})
const ips = (hosts: readonly Wanting[], hasIpv6 = false): string[] => [...allocate(hosts, hasIpv6).values()].flat()

describe('controlplane/translate/service-entry/allocate', () => {
  it('gives every host one address of each family, whatever the order', () => {
    const hosts = ['a', 'b', 'c'].map((host) => wanting(host))
    assert.deepEqual(allocate(hosts, true), new Map([...allocate([...hosts].reverse(), true)].reverse()))
    assert.equal(ips(hosts).length, 3)
    assert.equal(ips(hosts, true).filter((ip) => ip.startsWith('2001:2:')).length, 3)
  })

  it('keeps what the status says, also where another host would have it', () => {
    const [own = ''] = ips([wanting('a')])
    const hosts = [wanting('a'), wanting('z', [{ host: 'z', value: own }])]
    const given = allocate(hosts, false)
    assert.deepEqual(given.get('shop/z/z'), [own])
    assert.notDeepEqual(given.get('shop/a/a'), [own])
  })

  it('of two that say the same the first has it', () => {
    const said = [{ host: 'b', value: '240.240.9.9' }]
    const given = allocate(
      [
        { ...wanting('b', said), key: 'one' },
        { ...wanting('b', said), key: 'two' },
      ],
      false,
    )
    assert.deepEqual(given.get('one'), ['240.240.9.9'])
    assert.notDeepEqual(given.get('two'), ['240.240.9.9'])
  })

  for (const [name, status] of [
    ['an address outside of the blocks', [{ host: 'a', value: '10.96.0.1' }]],
    ['an address of another host', [{ host: 'b', value: '240.240.9.9' }]],
    ['no address', [{ host: 'a', value: 'x' }]],
    ['no text', [{ host: 'a', value: 7 }]],
    ['nothing', [null]],
    ['no list', 'x'],
  ] as const) {
    it(`does not believe a status with ${name}`, () => {
      assert.deepEqual(ips([wanting('a', status)]), ips([wanting('a')]))
    })
  }

  it('never gives one twice, and all from the blocks', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.string({ minLength: 1, maxLength: 8 }), { maxLength: 300 }), (names) => {
        const found = [
          ...allocate(
            names.map((name) => wanting(name)),
            true,
          ).values(),
        ].flat()
        assert.equal(new Set(found).size, found.length)
        assert.equal(found.length, 2 * names.length)
        for (const ip of found) assert.ok(ALLOCATED_BLOCKS.some((block) => cidrContains(block, ip)))
        for (const ip of found) assert.ok(ip !== '240.240.0.0' && ip !== '240.240.255.255')
      }),
      { numRuns: 30 },
    )
  })
})
