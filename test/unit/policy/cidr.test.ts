// Prepared blocks say what the plain comparison says.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { cidrContains, ipFromBytes, ipToBytes } from '../../../model/address.ts'
import type { IpAddress } from '../../../model/address.ts'
import { anyBlockContains } from '../../../policy/cidr.ts'

const address = fc
  .oneof(fc.uint8Array({ minLength: 4, maxLength: 4 }), fc.uint8Array({ minLength: 16, maxLength: 16 }))
  .map((bytes) => ipFromBytes(bytes) as IpAddress)
const pair = fc.tuple(address, address, fc.nat(128), fc.boolean(), fc.nat(127)).map(([a, b, prefix, isNear, bit]) => {
  const bytes = ipToBytes(a)
  bytes[(bit >> 3) % bytes.length]! ^= 1 << (bit & 7) // one bit away: right at the edge of a block
  const near = ipFromBytes(bytes) as IpAddress
  return { cidr: { ip: a, prefix: Math.min(prefix, bytes.length * 8) }, ip: isNear ? near : b }
})

describe('policy/cidr', () => {
  it('agrees with cidrContains', () => {
    fc.assert(
      fc.property(pair, ({ cidr, ip }) => assert.equal(anyBlockContains([cidr], ipToBytes(ip)), cidrContains(cidr, ip))),
      { numRuns: 3000 },
    )
  })
})
