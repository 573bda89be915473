// Backends survive the wire unchanged; every kind of bad value is refused with its field.
import assert from 'node:assert/strict'
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import fc from 'fast-check'
import { describe, it } from 'mocha'
import { BackendSchema, type BalancerSchema, type TrafficPolicySchema } from '../../../../proto/gateway_pb.ts'
import { decodeBackend, encodeBackend } from '../../../../xds/resource/backend.ts'
import { anyBackend } from '../../../support/route-values.ts'

type Wire = MessageInitShape<typeof BackendSchema>
type Policy = MessageInitShape<typeof TrafficPolicySchema>

const POLICY: Policy = { balancer: { kind: { case: 'random', value: {} } }, limits: { connectTimeoutMs: 1000 } }
const GOOD: Wire = { service: 'shop/cart', policy: POLICY }
const withPolicy = (policy: Policy): Wire => ({ policy: { ...POLICY, ...policy } as Policy })
const withBalancer = (kind: NonNullable<MessageInitShape<typeof BalancerSchema>['kind']>): Wire => withPolicy({ balancer: { kind } })
const distributing = (...to: readonly { locality: string; percent: number }[]): Wire =>
  withPolicy({ locality: { distribute: [{ from: '*', to: [...to] }] } })

const BROKEN: readonly { readonly name: string; readonly given: Wire; readonly want: RegExp }[] = [
  { name: 'service without namespace', given: { service: 'cart' }, want: /service: "cart" is not namespace\/hostname/ },
  { name: 'no balancer', given: { policy: { limits: {} } }, want: /policy.balancer: no known kind/ },
  { name: 'no limits', given: { policy: { balancer: { kind: { case: 'random', value: {} } } } }, want: /policy.limits: is absent/ },
  { name: 'port 0', given: { ports: [{ policy: POLICY }] }, want: /ports.port: 0 is not a port/ },
  { name: 'port without policy', given: { ports: [{ port: 1 }] }, want: /ports.policy: is absent/ },
  { name: 'port twice', given: { ports: Array(2).fill({ port: 1, policy: POLICY }) }, want: /ports: 1 comes twice/ },
  { name: 'subset without a name', given: { subsets: [{ policy: POLICY }] }, want: /subsets.name: is empty/ },
  { name: 'subset twice', given: { subsets: Array(2).fill({ name: 'a', policy: POLICY }) }, want: /subsets.name: comes twice/ },
  { name: 'subset without policy', given: { subsets: [{ name: 'a' }] }, want: /subsets.policy: is absent/ },
  { name: 'uid with a line break', given: { subsets: [{ name: 'a', policy: POLICY, workloads: ['\n'] }] }, want: /subsets.workloads/ },
  { name: 'too many subsets', given: { subsets: Array(1025).fill({}) }, want: /1025 entries, at most 1024/ },
  { name: 'HTTP version', given: withPolicy({ http: 9 as 0 }), want: /http: unknown value 9/ },
  { name: 'warm-up', given: withPolicy({ warmupMs: Number.NaN }), want: /warmup_ms: NaN/ },
  {
    name: 'huge ring',
    given: withBalancer({ case: 'ringHash', value: { minimumRingSize: 2 ** 32 - 1 } }),
    want: /minimum_ring_size: 4294967295/,
  },
  { name: 'empty table', given: withBalancer({ case: 'maglev', value: {} }), want: /table_size: 0/ },
  { name: 'hash key of no kind', given: withBalancer({ case: 'ringHash', value: { keys: [{}] } }), want: /no known kind of key/ },
  {
    name: 'hash cookie',
    given: withBalancer({ case: 'maglev', value: { tableSize: 5, keys: [{ kind: { case: 'cookie', value: { name: 'a b' } } }] } }),
    want: /balancer.keys: "a b"/,
  },
  { name: 'share twice', given: distributing({ locality: 'a', percent: 1 }, { locality: 'a', percent: 2 }), want: /comes twice/ },
  { name: 'negative share', given: distributing({ locality: 'a', percent: -1 }), want: /distribute.to: -1/ },
  { name: 'ejection of 101 %', given: withPolicy({ outlier: { maxEjectionPercent: 101 } }), want: /max_ejection_percent: 101/ },
  { name: 'negative interval', given: withPolicy({ outlier: { intervalMs: -5 } }), want: /interval_ms: -5/ },
  { name: 'endless idle time', given: withPolicy({ limits: { idleTimeoutMs: Number.POSITIVE_INFINITY } }), want: /idle_timeout_ms/ },
]

describe('xds/resource/backend', () => {
  it('carries every backend unchanged', () => {
    fc.assert(
      fc.property(anyBackend, (backend) => {
        assert.deepEqual(decodeBackend(encodeBackend(backend)), { ok: true, value: backend })
      }),
      { numRuns: 300 },
    )
  })

  it('gives equal bytes for equal backends, whatever the order of ports', () => {
    fc.assert(
      fc.property(anyBackend, (backend) => {
        const turned = { ...structuredClone(backend), ports: new Map([...backend.ports].reverse()) }
        assert.ok(encodeBackend(turned).equals(encodeBackend(backend)))
      }),
      { numRuns: 100 },
    )
  })

  for (const { name, given, want } of BROKEN) {
    it(`refuses: ${name}`, () => {
      const result = decodeBackend(toBinary(BackendSchema, create(BackendSchema, { ...GOOD, ...given } as Wire)))
      assert.ok(!result.ok, 'it must be refused')
      assert.match(result.errors.join('\n'), want)
    })
  }

  it('takes the smallest backend, refuses bytes that are no protobuf and a backend without a policy', () => {
    assert.ok(decodeBackend(toBinary(BackendSchema, create(BackendSchema, GOOD))).ok)
    assert.ok(!decodeBackend(Buffer.from('ffffffff', 'hex')).ok)
    assert.ok(!decodeBackend(toBinary(BackendSchema, create(BackendSchema, { service: 'shop/cart' }))).ok)
  })
})
