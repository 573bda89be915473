// The table of live connections: limit, re-check, dump.
import assert from 'node:assert/strict'
import type { MeshError } from '../../../../kit/error.ts'
import type { IpAddress } from '../../../../model/address.ts'
import { ztunnelFailure } from '../../../../ztunnel/errors.ts'
import { ConnectionTable } from '../../../../ztunnel/proxy/connections.ts'
import type { LiveConnection } from '../../../../ztunnel/proxy/connections.ts'

const ip = (text: string): IpAddress => text as IpAddress

function live(port: number, closed: MeshError[], direction: 'inbound' | 'outbound' = 'inbound'): LiveConnection {
  const original = { ip: ip('10.0.0.2'), port }
  return {
    direction,
    source: { ip: ip('10.0.0.1'), port: 4000 },
    original,
    actual: original,
    protocol: 'TCP',
    peer: undefined,
    policy:
      direction === 'outbound'
        ? undefined
        : { source: undefined, sourceIp: ip('10.0.0.1'), destinationIp: ip('10.0.0.2'), destinationPort: port },
    close: (error) => closed.push(error),
  }
}

describe('ConnectionTable', () => {
  it('closes what policy forbids now and no other', () => {
    const table = new ConnectionTable(10)
    const closed: Record<string, MeshError[]> = { a: [], b: [], c: [] }
    table.add(live(80, closed.a as MeshError[]))
    table.add(live(81, closed.b as MeshError[]))
    table.add(live(80, closed.c as MeshError[], 'outbound'))
    const count = table.recheck(
      (connection) => connection.destinationPort !== 80,
      () => ztunnelFailure('POLICY_CHANGED'),
    )
    assert.equal(count, 1)
    assert.deepEqual([closed.a?.[0]?.code, closed.b?.length, closed.c?.length], ['POLICY_CHANGED', 0, 0])
  })

  it('knows its limit and tells when it is empty', async () => {
    const table = new ConnectionTable(1)
    const held = table.add(live(80, []))
    assert.ok(table.isFull())
    const empty = table.whenEmpty()
    held[Symbol.dispose]()
    held[Symbol.dispose]()
    await empty
    assert.equal(table.size, 0)
  })

  it('dumps both directions', () => {
    const table = new ConnectionTable(2)
    table.add(live(80, []))
    table.add(live(81, [], 'outbound'))
    const dump = table.dump()
    assert.deepEqual(dump.inbound, [{ src: '10.0.0.1:4000', originalDst: '10.0.0.2:80', actualDst: '10.0.0.2:80', protocol: 'TCP' }])
    assert.equal(dump.outbound.length, 1)
  })
})
