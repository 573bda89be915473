// The codec on bytes from outside: limits, malformed input, nesting bombs, unknown fields.
import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import { DeltaDiscoveryRequestSchema, NodeSchema } from '../../../proto/discovery_pb.ts'
import { decodeMessage, encodeMessage } from '../../../proto/wire.ts'

function delimited(field: number, body: Buffer): Buffer {
  const length: number[] = []
  for (let rest = body.length; ; rest >>>= 7) {
    length.push(rest > 127 ? (rest & 127) | 128 : rest)
    if (rest <= 127) break
  }
  return Buffer.concat([Buffer.from([(field << 3) | 2, ...length]), body])
}

describe('proto/wire', () => {
  it('carries a message', () => {
    const bytes = encodeMessage(DeltaDiscoveryRequestSchema, { typeUrl: 't', initialResourceVersions: { a: '1' } })
    const decoded = decodeMessage(DeltaDiscoveryRequestSchema, bytes)
    assert.ok(decoded.ok)
    assert.deepEqual(decoded.value.initialResourceVersions, { a: '1' })
  })

  it('refuses what is longer than the limit, unread', () => {
    const decoded = decodeMessage(NodeSchema, Buffer.alloc(11, 0xff), 10)
    assert.deepEqual(decoded, { ok: false, errors: ['envoy.service.discovery.v3.Node: 11 bytes, at most 10 are read'] })
  })

  it('refuses malformed bytes and invalid UTF-8 without throwing', () => {
    for (const hex of ['ff', '0a05', '0a02c328', '0b', '08'])
      assert.equal(decodeMessage(NodeSchema, Buffer.from(hex, 'hex')).ok, false, hex)
  })

  it('refuses a bomb of nested values', () => {
    let value: Buffer = Buffer.alloc(0)
    for (let i = 0; i < 5000; i++) value = delimited(6, delimited(1, value)) // Value.list_value.values
    const bomb = delimited(3, delimited(1, Buffer.concat([delimited(1, Buffer.from('k')), delimited(2, value)])))
    assert.equal(decodeMessage(NodeSchema, bomb).ok, false)
  })

  it('forgets fields that it does not know', () => {
    const decoded = decodeMessage(NodeSchema, delimited(15, Buffer.from('unknown')))
    assert.ok(decoded.ok)
    assert.equal(encodeMessage(NodeSchema, decoded.value).length, 0)
  })
})
