// Tables are listed again when, and only when, the kernel counts a change.
import assert from 'node:assert/strict'
import { SeenTables } from '../../../../cni/redirect/seen-tables.ts'
import type { SeenTable } from '../../../../cni/redirect/listing.ts'

describe('cni/redirect/seen-tables', () => {
  it('asks nft once per generation and namespace', () => {
    const table: SeenTable = { note: 'x', isIntact: true, elements: [] }
    let generation: number | undefined = 5
    let listings = 0
    const tables = new SeenTables(
      'weft-pod',
      () => generation,
      () => {
        listings++
        return table
      },
    )
    for (let n = 0; n < 3; n++) assert.equal(tables.read(1n, 9), table)
    assert.equal(listings, 1)
    tables.read(2n, 9)
    assert.equal(listings, 2)
    generation = 6
    tables.read(1n, 9)
    assert.equal(listings, 3)
    tables.forget(1n)
    tables.read(1n, 9)
    assert.equal(listings, 4)
    generation = undefined // a kernel that does not say
    tables.read(1n, 9)
    tables.read(1n, 9)
    assert.equal(listings, 6)
  })

  it('remembers only so many namespaces', () => {
    let listings = 0
    const tables = new SeenTables(
      'weft-pod',
      () => 1,
      () => void listings++ as undefined,
    )
    for (let cookie = 1n; cookie <= 5000n; cookie++) tables.read(cookie, 9)
    tables.read(5000n, 9)
    assert.equal(listings, 5000)
    tables.read(1n, 9)
    assert.equal(listings, 5001)
  })
})
