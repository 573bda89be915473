// trafficPolicy of DestinationRules, field by field: Istio's and Envoy's defaults, and what is named as not in force.
import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import { trafficPolicyOf } from '../../../../../controlplane/translate/istio/traffic-policy.ts'
import { type ConnectionLimits, DEFAULT_TRAFFIC_POLICY, type TrafficPolicy } from '../../../../../model/backend.ts'
import type { IstioLoadBalancer, IstioPortPolicy } from '../../../../../model/istio-networking.ts'

interface Row {
  readonly name: string
  readonly given: IstioPortPolicy
  readonly want: Partial<TrafficPolicy>
  readonly notes?: readonly RegExp[]
}

const limits = (more: Partial<ConnectionLimits>): Partial<TrafficPolicy> => ({ limits: { ...DEFAULT_TRAFFIC_POLICY.limits, ...more } })
const balancer = (loadBalancer: IstioLoadBalancer): IstioPortPolicy => ({ loadBalancer })
const hash = (consistentHash: NonNullable<IstioLoadBalancer['consistentHash']>): IstioPortPolicy => ({ loadBalancer: { consistentHash } })
const OUTLIER = {
  consecutive5xx: 5,
  consecutiveGatewayErrors: undefined,
  intervalMs: 10_000,
  baseEjectionMs: 30_000,
  maxEjectionPercent: 10,
  minHealthPercent: 0,
}
const NEAR = { isEnabled: true, distribute: [], failover: [], failoverPriority: [] }
const ring = (keys: readonly object[], minimumRingSize = 1024): Partial<TrafficPolicy> =>
  ({ balancer: { kind: 'ringHash', keys, minimumRingSize } }) as Partial<TrafficPolicy>

const ROWS: readonly Row[] = [
  { name: 'nothing', given: {}, want: {} },
  { name: 'least request', given: balancer({ simple: 'LEAST_REQUEST' }), want: {} },
  { name: 'least connections, the old name', given: balancer({ simple: 'LEAST_CONN' }), want: {} },
  { name: 'not said', given: balancer({ simple: 'UNSPECIFIED' }), want: {} },
  { name: 'round robin', given: balancer({ simple: 'ROUND_ROBIN' }), want: { balancer: { kind: 'roundRobin' } } },
  { name: 'random', given: balancer({ simple: 'RANDOM' }), want: { balancer: { kind: 'random' } } },
  {
    name: 'passthrough',
    given: balancer({ simple: 'PASSTHROUGH' }),
    want: {},
    notes: [/^p\.loadBalancer\.simple: PASSTHROUGH is not supported/],
  },
  { name: 'hash of a header', given: hash({ httpHeaderName: 'X-User' }), want: ring([{ kind: 'header', name: 'x-user' }]) },
  {
    name: 'hash of a header that is none',
    given: hash({ httpHeaderName: 'a b' }),
    want: {},
    notes: [/httpHeaderName: is not a header name/],
  },
  { name: 'hash of a query parameter', given: hash({ httpQueryParameterName: 'U' }), want: ring([{ kind: 'query', name: 'U' }]) },
  {
    name: 'hash of the source',
    given: hash({ useSourceIp: true, ringHash: { minimumRingSize: 64 } }),
    want: ring([{ kind: 'sourceIp' }], 64),
  },
  {
    name: 'hash of a cookie that is made',
    given: hash({ httpCookie: { name: 'Id', ttl: '1h' } }),
    want: ring([{ kind: 'cookie', name: 'Id', path: '/', ttlSeconds: 3600 }]),
  },
  {
    name: 'hash of a cookie of a session',
    given: hash({ httpCookie: { name: 'id', path: '/a', ttl: '0s' } }),
    want: ring([{ kind: 'cookie', name: 'id', path: '/a', ttlSeconds: 0 }]),
  },
  {
    name: 'hash of a cookie that others make',
    given: hash({ httpCookie: { name: 'id', attributes: [{}] } }),
    want: ring([{ kind: 'cookie', name: 'id', path: '/', ttlSeconds: undefined }]),
    notes: [/httpCookie\.attributes: is not supported/],
  },
  { name: 'a cookie that would set others', given: hash({ httpCookie: { name: 'a; b' } }), want: {}, notes: [/httpCookie\.name/] },
  { name: 'a path that would set others', given: hash({ httpCookie: { name: 'a', path: '/; b' } }), want: {}, notes: [/httpCookie\.path/] },
  {
    name: 'maglev',
    given: hash({ useSourceIp: true, maglev: {} }),
    want: { balancer: { kind: 'maglev', keys: [{ kind: 'sourceIp' }], tableSize: 65_537 } },
  },
  {
    name: 'too large a table',
    given: hash({ useSourceIp: true, maglev: { tableSize: 10_000_000 } }),
    want: { balancer: { kind: 'maglev', keys: [{ kind: 'sourceIp' }], tableSize: 5_000_011 } },
    notes: [/maglev\.tableSize: more than 5000011/],
  },
  { name: 'ring of an old object', given: hash({ useSourceIp: true, minimumRingSize: 2048 }), want: ring([{ kind: 'sourceIp' }], 2048) },
  { name: 'warm-up', given: balancer({ warmup: { duration: '30s' } }), want: { warmupMs: 30_000 } },
  {
    name: 'warm-up with a curve',
    given: balancer({ warmupDurationSecs: '10s', warmup: { minimumPercent: 5, aggression: 2 } }),
    want: { warmupMs: 10_000 },
    notes: [/warmup\.minimumPercent/, /warmup\.aggression/],
  },
  { name: 'outlier detection switches failing over on', given: { outlierDetection: {} }, want: { outlier: OUTLIER, locality: NEAR } },
  {
    name: 'outlier detection',
    given: {
      outlierDetection: {
        consecutive5xxErrors: 7,
        consecutiveGatewayErrors: 3,
        interval: '1s',
        baseEjectionTime: '3m',
        maxEjectionPercent: 100,
        minHealthPercent: 50,
      },
    },
    want: {
      outlier: {
        consecutive5xx: 7,
        consecutiveGatewayErrors: 3,
        intervalMs: 1000,
        baseEjectionMs: 180_000,
        maxEjectionPercent: 100,
        minHealthPercent: 50,
      },
      locality: NEAR,
    },
  },
  {
    name: 'no errors of a kind',
    given: { outlierDetection: { consecutive5xxErrors: 0, consecutiveGatewayErrors: 0 } },
    want: { outlier: { ...OUTLIER, consecutive5xx: undefined }, locality: NEAR },
  },
  {
    name: 'outlier fields without a counterpart',
    given: { outlierDetection: { consecutiveErrors: 1, splitExternalLocalOriginErrors: true, consecutiveLocalOriginFailures: 1 } },
    want: { outlier: OUTLIER, locality: NEAR },
    notes: [/consecutiveErrors/, /splitExternalLocalOriginErrors/, /consecutiveLocalOriginFailures/],
  },
  {
    name: 'localities off',
    given: { outlierDetection: {}, loadBalancer: { localityLbSetting: { enabled: false } } },
    want: { outlier: OUTLIER },
  },
  {
    name: 'distribution',
    given: balancer({ localityLbSetting: { distribute: [{ from: 'r1/z1/*', to: { 'r1/z1/*': 80, 'r1/z2/*': 20 } }] } }),
    want: { locality: { ...NEAR, distribute: [{ from: 'r1/z1/*', to: { 'r1/z1/*': 80, 'r1/z2/*': 20 } }] } },
  },
  {
    name: 'a distribution that is not whole',
    given: balancer({ localityLbSetting: { distribute: [{ from: 'r1', to: { r1: 80 } }] } }),
    want: { locality: NEAR },
    notes: [/distribute\[0\]\.to: the shares make 80, not 100/],
  },
  {
    name: 'a distribution to what is no place',
    given: balancer({ localityLbSetting: { distribute: [{ from: 'a/b/c/d', to: { r1: 100 } }] } }),
    want: { locality: NEAR },
    notes: [/distribute\[0\]: holds a name/],
  },
  {
    name: 'distribution and failover',
    given: balancer({ localityLbSetting: { distribute: [{ from: 'r1', to: { r1: 100 } }], failover: [{ from: 'r1', to: 'r2' }] } }),
    want: { locality: { ...NEAR, distribute: [{ from: 'r1', to: { r1: 100 } }] } },
    notes: [/failover counts for nothing/],
  },
  {
    name: 'failover',
    given: {
      outlierDetection: {},
      loadBalancer: {
        localityLbSetting: {
          failover: [
            { from: 'r1', to: 'r2' },
            { from: 'r3', to: 'r3' },
          ],
        },
      },
    },
    want: { outlier: OUTLIER, locality: { ...NEAR, failover: [{ from: 'r1', to: 'r2' }] } },
    notes: [/failover\[1\]: needs two different regions/],
  },
  {
    name: 'failover without outlier detection',
    given: balancer({ localityLbSetting: { failover: [{ from: 'r1', to: 'r2' }] } }),
    want: {},
    notes: [/localityLbSetting: needs outlierDetection/],
  },
  {
    name: 'failover by labels',
    given: {
      outlierDetection: {},
      loadBalancer: { localityLbSetting: { failoverPriority: ['topology.kubernetes.io/zone=z1', 'version'] } },
    },
    want: { outlier: OUTLIER, locality: { ...NEAR, failoverPriority: ['topology.kubernetes.io/zone=z1'] } },
    notes: [/failoverPriority: "version" is not known/],
  },
  {
    name: 'limits of connections',
    given: { connectionPool: { tcp: { maxConnections: 10, connectTimeout: '30ms' } } },
    want: limits({ maxConnections: 10, connectTimeoutMs: 30 }),
  },
  {
    name: 'limits of requests',
    given: {
      connectionPool: {
        http: { http1MaxPendingRequests: 1, http2MaxRequests: 2, maxRequestsPerConnection: 3, maxRetries: 4, idleTimeout: '5s' },
      },
    },
    want: limits({ maxPendingRequests: 1, maxRequests: 2, maxRequestsPerConnection: 3, maxRetries: 4, idleTimeoutMs: 5000 }),
  },
  {
    name: '0 = no limit',
    given: { connectionPool: { tcp: { maxConnections: 0, connectTimeout: '0s' }, http: { maxRequestsPerConnection: 0, maxRetries: 0 } } },
    want: {},
  },
  { name: 'upgrade', given: { connectionPool: { http: { h2UpgradePolicy: 'UPGRADE' } } }, want: { http: 'HTTP/2' } },
  { name: 'no upgrade', given: { connectionPool: { http: { h2UpgradePolicy: 'DO_NOT_UPGRADE' } } }, want: {} },
  {
    name: 'pool fields without a counterpart',
    given: {
      connectionPool: {
        tcp: { tcpKeepalive: {}, maxConnectionDuration: '1h', idleTimeout: '1h' },
        http: { useClientProtocol: true, maxConcurrentStreams: 1 },
      },
    },
    want: {},
    notes: [/tcpKeepalive/, /maxConnectionDuration/, /idleTimeout/, /useClientProtocol/, /maxConcurrentStreams/],
  },
  { name: 'TLS of the mesh', given: { tls: { mode: 'ISTIO_MUTUAL' } }, want: {} },
  { name: 'TLS of its own', given: { tls: { mode: 'SIMPLE' } }, want: {}, notes: [/^p\.tls\.mode: SIMPLE is not supported/] },
]

describe('controlplane/translate/istio/traffic-policy', () => {
  for (const { name, given, want, notes = [] } of ROWS) {
    it(name, () => {
      const said: string[] = []
      const got = trafficPolicyOf(given, 'p', (field, message) => said.push(`${field}: ${message}`))
      assert.deepEqual(got, { ...DEFAULT_TRAFFIC_POLICY, ...want })
      assert.equal(said.length, notes.length, said.join('\n'))
      for (const [i, note] of notes.entries()) assert.match(said[i] ?? '', note)
    })
  }
})
