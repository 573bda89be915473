// RateLimitPolicy (weft.dev/v1alpha1), the mesh's own: token buckets in front of a service, a waypoint or rules of an HTTPRoute.
import { z } from 'zod'
import { dnsSubdomain } from './meta.ts'
import { goDuration } from './virtual-service.ts'

const MAX_REQUESTS = 1_000_000_000

const GROUPS = {
  Service: 'core',
  ServiceEntry: 'networking.istio.io',
  HTTPRoute: 'gateway.networking.k8s.io',
  Gateway: 'gateway.networking.k8s.io',
} as const

const target = z
  .strictObject({
    group: z.string().max(253).optional(),
    kind: z.enum(['Service', 'ServiceEntry', 'HTTPRoute', 'Gateway']),
    name: dnsSubdomain,
    sectionName: z.string().min(1).max(253).optional(),
  })
  .refine(({ kind, group = '' }) => group === '' || group === GROUPS[kind], {
    message: 'is not the group of this kind',
    path: ['group'],
  })
  .refine(({ kind, sectionName }) => kind !== 'Gateway' || sectionName === undefined, {
    message: 'a waypoint has one listener for all: leave it out, or name a Service',
    path: ['sectionName'],
  })

const headerName = z
  .string()
  .max(253)
  .regex(/^[A-Za-z0-9!#$%&'*+\-.^_`|~]+$/, 'is not a header name')

const limit = z.strictObject({
  requests: z.int().min(1).max(MAX_REQUESTS),
  per: goDuration,
  burst: z.int().min(1).max(MAX_REQUESTS).optional(),
  by: z
    .array(z.union([z.literal('identity'), z.strictObject({ header: headerName })]))
    .max(4)
    .optional(),
})

/** What names something to a rate limit service. */
const text = z
  .string()
  .min(1)
  .max(253)
  .regex(/^[\x21-\x7e]+$/, 'must be printable ASCII without blanks')

const entry = z.union([
  z.literal('identity'),
  z.literal('route'),
  z.strictObject({ header: headerName, key: text.optional() }),
  z.strictObject({ key: text, value: text }),
])

const global = z.strictObject({
  service: z.strictObject({ name: dnsSubdomain, namespace: dnsSubdomain.optional(), port: z.int().min(1).max(65_535) }),
  domain: text,
  descriptors: z
    .array(z.strictObject({ entries: z.array(entry).min(1).max(8) }))
    .min(1)
    .max(8),
  timeout: goDuration.optional(),
  failureMode: z.enum(['open', 'closed']).optional(),
})

/** spec of a RateLimitPolicy. */
export const rateLimitPolicySpec = z
  .strictObject({
    targetRefs: z.array(target).min(1).max(16),
    limits: z.array(limit).min(1).max(8).optional(),
    global: global.optional(),
  })
  .refine(({ limits, global: asked }) => limits !== undefined || asked !== undefined, { message: 'must have limits, global, or both' })
