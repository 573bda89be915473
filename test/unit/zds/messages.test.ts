// ZDS messages against the bytes that Istio's agent and ztunnel exchange (field numbers of istio/ztunnel:proto/zds.proto).
import assert from 'node:assert/strict'
import { codeOf } from '../../../kit/error.ts'
import { decodeAck, decodeHello, decodeRequest, encodeAck, encodeHello, encodeRequest, type ZdsRequest } from '../../../zds/messages.ts'

const text = (value: string): string => Buffer.from(value).toString('hex')

const REQUESTS: readonly { readonly name: string; readonly value: ZdsRequest; readonly hex: string }[] = [
  {
    name: 'add with identity',
    value: { kind: 'add', uid: 'u1', info: { name: 'web', namespace: 'shop', serviceAccount: 'sa' } },
    hex: `0a150a02${text('u1')}120f0a03${text('web')}1204${text('shop')}1a02${text('sa')}`,
  },
  { name: 'add without identity', value: { kind: 'add', uid: 'u1' }, hex: `0a040a02${text('u1')}` },
  { name: 'del has its uid in field 2', value: { kind: 'del', uid: 'u1' }, hex: `12041202${text('u1')}` },
  { name: 'snapshot sent', value: { kind: 'snapshot-sent' }, hex: '1a00' },
  { name: 'keep is field 5', value: { kind: 'keep', uid: 'u1' }, hex: `2a040a02${text('u1')}` },
]

const BAD_REQUESTS: readonly { readonly name: string; readonly hex: string; readonly says: RegExp }[] = [
  { name: 'nothing', hex: '', says: /no known payload/ },
  { name: 'an unknown payload', hex: '2200', says: /no known payload/ },
  { name: 'add without uid', hex: '0a00', says: /uid/ },
  { name: 'del with its uid in field 1', hex: `12040a02${text('u1')}`, says: /uid/ },
  { name: 'keep without uid', hex: '2a00', says: /uid/ },
  { name: 'a line feed in a uid', hex: `1203` + `1201` + `0a`, says: /printable/ },
  { name: 'a cut message', hex: '0a150a', says: /not protobuf/ },
  { name: 'an uid of 300 bytes', hex: `2aaf020aac02${'61'.repeat(300)}`, says: /300 characters/ },
  { name: 'a packet of 1025 bytes', hex: '00'.repeat(1025), says: /1025 bytes/ },
]

describe('zds/messages', () => {
  for (const row of REQUESTS) {
    it(`writes and reads: ${row.name}`, () => {
      assert.equal(encodeRequest(row.value).toString('hex'), row.hex)
      assert.deepEqual(decodeRequest(Buffer.from(row.hex, 'hex')), { ok: true, value: row.value })
    })
  }

  for (const row of BAD_REQUESTS) {
    it(`refuses ${row.name}`, () => {
      const result = decodeRequest(Buffer.from(row.hex, 'hex'))
      assert.equal(result.ok, false)
      assert.match(result.ok ? '' : result.errors.join('\n'), row.says)
    })
  }

  it('reports every fault of a request', () => {
    const bad = encodeRequest({ kind: 'add', uid: '', info: { name: '\n', namespace: '\n', serviceAccount: 'é' } })
    const result = decodeRequest(bad)
    assert.equal(result.ok ? 0 : result.errors.length, 4)
  })

  it('does not write what the peer would not read', () => {
    const info = { name: 'n'.repeat(400), namespace: 'n'.repeat(400), serviceAccount: 's'.repeat(400) }
    assert.throws(
      () => encodeRequest({ kind: 'add', uid: 'u', info }),
      (error) => codeOf(error) === 'ZDS_TOO_LARGE',
    )
  })

  it('says hello in version 1 and knows no other', () => {
    assert.equal(encodeHello().toString('hex'), '0801')
    assert.equal(decodeHello(encodeHello()).ok, true)
    for (const hex of ['', '0800', '0802', 'ff']) assert.equal(decodeHello(Buffer.from(hex, 'hex')).ok, false, hex)
  })

  it('acknowledges, with the text of a failure cut to fit', () => {
    assert.equal(encodeAck().toString('hex'), '0a00')
    assert.deepEqual(decodeAck(encodeAck()), { ok: true, value: '' })
    assert.deepEqual(decodeAck(encodeAck('port 15001 is taken')), { ok: true, value: 'port 15001 is taken' })
    const long = encodeAck('ä'.repeat(2000))
    assert.ok(long.length <= 1024)
    assert.deepEqual(decodeAck(long), { ok: true, value: 'ä'.repeat(450) })
    assert.deepEqual(decodeAck(encodeAck('a\nb\u0000c')), { ok: true, value: 'a b c' })
    assert.equal(decodeAck(Buffer.alloc(0)).ok, false)
    assert.equal(decodeAck(Buffer.from('0aff', 'hex')).ok, false)
  })
})
