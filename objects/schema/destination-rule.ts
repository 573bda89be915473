// DestinationRule. Fields of Istio's that the mesh does not support are let in: the status says what is not in force.
// Shapes follow istio/api:networking/v1alpha3/destination_rule.proto.
import { z } from 'zod'
import { labels, portNumber } from './meta.ts'
import { exportTo, goDuration, istioHost } from './virtual-service.ts'

const count = z.int().min(0).max(0x7fffffff)
const percent = z.number().min(0).max(100)
const name = z.string().min(1).max(253)
const locality = z.string().min(1).max(253)

const consistentHash = z
  .strictObject({
    httpHeaderName: name.optional(),
    httpCookie: z
      .strictObject({
        name,
        path: z.string().max(1024).optional(),
        ttl: goDuration.optional(),
        attributes: z.array(z.unknown()).max(32).optional(),
      })
      .optional(),
    useSourceIp: z.boolean().optional(),
    httpQueryParameterName: name.optional(),
    ringHash: z.strictObject({ minimumRingSize: count.optional() }).optional(),
    maglev: z.strictObject({ tableSize: count.optional() }).optional(),
    minimumRingSize: count.optional(),
  })
  .refine(
    ({ httpHeaderName, httpCookie, useSourceIp, httpQueryParameterName }) =>
      [httpHeaderName, httpCookie, useSourceIp === true ? true : undefined, httpQueryParameterName].filter((key) => key !== undefined)
        .length === 1,
    'needs one of httpHeaderName, httpCookie, useSourceIp and httpQueryParameterName',
  )
  .refine(({ ringHash, maglev }) => ringHash === undefined || maglev === undefined, 'only one of ringHash and maglev')

const loadBalancer = z
  .strictObject({
    simple: z.enum(['UNSPECIFIED', 'LEAST_CONN', 'LEAST_REQUEST', 'ROUND_ROBIN', 'RANDOM', 'PASSTHROUGH']).optional(),
    consistentHash: consistentHash.optional(),
    localityLbSetting: z
      .strictObject({
        distribute: z
          .array(z.strictObject({ from: locality.optional(), to: z.record(locality, z.int().min(0).max(100)).optional() }))
          .max(256)
          .optional(),
        failover: z
          .array(z.strictObject({ from: locality.optional(), to: locality.optional() }))
          .max(256)
          .optional(),
        failoverPriority: z.array(z.string().min(1).max(512)).max(64).optional(),
        enabled: z.boolean().optional(),
      })
      .optional(),
    warmupDurationSecs: goDuration.optional(),
    warmup: z
      .strictObject({ duration: goDuration.optional(), minimumPercent: percent.optional(), aggression: z.number().min(0).optional() })
      .optional(),
  })
  .refine(({ simple, consistentHash: hash }) => simple === undefined || hash === undefined, 'only one of simple and consistentHash')

const connectionPool = z.strictObject({
  tcp: z
    .strictObject({
      maxConnections: count.optional(),
      connectTimeout: goDuration.optional(),
      tcpKeepalive: z.looseObject({}).optional(),
      maxConnectionDuration: goDuration.optional(),
      idleTimeout: goDuration.optional(),
    })
    .optional(),
  http: z
    .strictObject({
      http1MaxPendingRequests: count.optional(),
      http2MaxRequests: count.optional(),
      maxRequestsPerConnection: count.optional(),
      maxRetries: count.optional(),
      idleTimeout: goDuration.optional(),
      h2UpgradePolicy: z.enum(['DEFAULT', 'DO_NOT_UPGRADE', 'UPGRADE']).optional(),
      useClientProtocol: z.boolean().optional(),
      maxConcurrentStreams: count.optional(),
    })
    .optional(),
})

const outlierDetection = z.strictObject({
  consecutiveErrors: count.optional(),
  splitExternalLocalOriginErrors: z.boolean().optional(),
  consecutiveLocalOriginFailures: count.optional(),
  consecutiveGatewayErrors: count.optional(),
  consecutive5xxErrors: count.optional(),
  interval: goDuration.optional(),
  baseEjectionTime: goDuration.optional(),
  maxEjectionPercent: percent.optional(),
  minHealthPercent: percent.optional(),
})

const portPolicy = {
  loadBalancer: loadBalancer.optional(),
  connectionPool: connectionPool.optional(),
  outlierDetection: outlierDetection.optional(),
  tls: z.looseObject({ mode: z.enum(['DISABLE', 'SIMPLE', 'MUTUAL', 'ISTIO_MUTUAL']).optional() }).optional(),
}
const trafficPolicy = z.strictObject({
  ...portPolicy,
  portLevelSettings: z
    .array(z.strictObject({ ...portPolicy, port: z.strictObject({ number: portNumber.optional() }).optional() }))
    .max(4096)
    .optional(),
  tunnel: z.looseObject({}).optional(),
  proxyProtocol: z.looseObject({}).optional(),
  retryBudget: z.looseObject({}).optional(),
})

/** spec of a DestinationRule. */
export const destinationRuleSpec = z.strictObject({
  host: istioHost,
  trafficPolicy: trafficPolicy.optional(),
  subsets: z
    .array(z.strictObject({ name, labels: labels.optional(), trafficPolicy: trafficPolicy.optional() }))
    .max(256)
    .refine((list) => new Set(list.map((subset) => subset.name)).size === list.length, 'names of subsets must differ')
    .optional(),
  exportTo,
  workloadSelector: z.looseObject({}).optional(),
})
