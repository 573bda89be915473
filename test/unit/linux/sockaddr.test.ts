// struct sockaddr there and back.
import assert from 'node:assert/strict'
import { decodeSockaddr, encodeSockaddr } from '../../../linux/sockaddr.ts'
import type { IpAddress } from '../../../model/address.ts'

describe('linux/sockaddr', () => {
  it('writes IPv4 and IPv6 as the kernel reads them', () => {
    assert.equal(encodeSockaddr({ ip: '10.0.0.7' as IpAddress, port: 8080 }).toString('hex'), '02001f900a0000070000000000000000')
    const six = encodeSockaddr({ ip: 'fd00::7' as IpAddress, port: 443 })
    assert.equal(six.toString('hex'), '0a0001bb00000000fd00000000000000000000000000000700000000')
    assert.deepEqual(decodeSockaddr(six), { ip: 'fd00::7', port: 443 })
  })

  it('reads a mapped address as IPv4', () => {
    const bytes = Buffer.from('0a001f900000000000000000000000000000ffff0a00000700000000', 'hex')
    assert.deepEqual(decodeSockaddr(bytes), { ip: '10.0.0.7', port: 8080 })
  })

  it('refuses other families and short bytes', () => {
    assert.equal(decodeSockaddr(Buffer.alloc(28)), undefined)
    assert.equal(decodeSockaddr(Buffer.from('0a001f90', 'hex')), undefined)
    assert.equal(decodeSockaddr(Buffer.from('0a001f9000000000000000000000000000', 'hex')), undefined)
  })
})
