// DNS messages of pods: nothing throws, nothing makes the server answer a response, and replies repeat id and question.
import assert from 'node:assert/strict'
import dnsPacket from 'dns-packet'
import fc from 'fast-check'
import { answerReply, errorReply, HEADER_BYTES, parseMessage } from '../../ztunnel/dns/message.ts'
import { resolve } from '../../ztunnel/dns/resolver.ts'
import { fuzzOptions } from '../support/fuzz.ts'
import { serviceOf, workloadOf } from '../support/mesh-values.ts'

const CLIENT = workloadOf('client', ['10.244.1.1'])
const SERVICES = [
  serviceOf('web', ['10.96.0.5', 'fd00:10:96::5']),
  serviceOf('out', ['240.0.0.1'], { hostname: '*.a' }),
  serviceOf(
    'many',
    Array.from({ length: 99 }, (_, i) => `10.96.1.${i}`),
  ),
]
const VIEW = { servicesWithHost: (host: string) => SERVICES.filter((one) => one.hostname === host), endpointsOf: () => [] }
const OPTIONS = { clusterDomain: 'cluster.local', random: () => 0.5 }

const label = fc.constantFrom('web', 'many', 'shop', 'svc', 'cluster', 'local', 'a', '*', '', 'x'.repeat(63))
const name = fc.array(label, { maxLength: 9 }).map((labels) => labels.filter((one) => one !== '').join('.') || 'a')
const sound = fc
  .record({
    name,
    type: fc.constantFrom('A' as const, 'AAAA' as const, 'SRV' as const),
    id: fc.nat(65_535),
    size: fc.nat(65_535),
    hasEdns: fc.boolean(),
  })
  .map(({ name, type, id, size, hasEdns }) => {
    const edns = {
      type: 'OPT' as const,
      name: '.' as const,
      udpPayloadSize: size,
      extendedRcode: 0,
      ednsVersion: 0,
      flags: 0,
      flag_do: false,
      options: [],
    }
    try {
      return dnsPacket.encode({ type: 'query', id, questions: [{ type, name }], additionals: hasEdns ? [edns] : [] })
    } catch {
      return Buffer.alloc(12) // a name too long for the encoder
    }
  })
const broken = fc.tuple(sound, fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { maxLength: 5 }), fc.nat(40)).map(([bytes, edits, cut]) => {
  const out = Buffer.from(bytes.subarray(0, bytes.length - (cut > 20 ? cut - 20 : 0)))
  for (const [at, value] of edits) if (out.length > 0) out[at % out.length] = value
  return out
})
const messages = fc.oneof(
  broken,
  fc.uint8Array({ maxLength: 600 }).map((bytes) => Buffer.from(bytes)),
)

describe('fuzz: dns', function () {
  this.timeout(120_000)

  it('messages', () => {
    fc.assert(
      fc.property(messages, fc.constantFrom('udp' as const, 'tcp' as const), (message, transport) => {
        const parsed = parseMessage(message)
        if (parsed.kind === 'ignore') return
        assert.equal(message.readUInt16BE(2) & 0x8000, 0)
        if (parsed.kind === 'refuse') {
          const reply = errorReply(message, parsed.code, parsed.questionEnd)
          assert.equal(reply.readUInt16BE(2) & 0x8000, 0x8000)
          return
        }
        const { query } = parsed
        if (query.question === undefined) return
        const resolution = resolve(query.question, CLIENT, VIEW, OPTIONS)
        if (resolution.kind === 'forward') return
        const reply = answerReply(query, query.question, resolution.answers, transport)
        assert.ok(transport === 'tcp' || reply.length <= query.udpLimitBytes)
        assert.deepEqual(reply.subarray(0, 2), message.subarray(0, 2))
        assert.deepEqual(reply.subarray(HEADER_BYTES, query.questionEnd), message.subarray(HEADER_BYTES, query.questionEnd))
        assert.equal(reply.readUInt16BE(2) & 15, 0)
        dnsPacket.decode(reply)
      }),
      fuzzOptions(),
    )
  })
})
