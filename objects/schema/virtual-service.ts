// VirtualService. Strict: a misspelt `match` would match everything. Fields of Istio's that the mesh does not support are let in:
// the status says what is not in force. Shapes follow istio/api:networking/v1alpha3/virtual_service.proto.
import { z } from 'zod'
import { labels, portNumber } from './meta.ts'

/** Go's durations, as Istio's CRDs take them: `1.5s`, `1h30m`. */
export const goDuration = z
  .string()
  .regex(/^([0-9]{1,9}(\.[0-9]{1,9})?(h|m|s|ms|us|µs|ns)){1,6}$/, 'must be a duration such as 10s or 1.5s')
/** A host: FQDN, short name or with `*.` in front. */
export const istioHost = z
  .string()
  .max(253)
  .regex(/^(\*|(\*\.)?[A-Za-z0-9_]([-A-Za-z0-9_]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([-A-Za-z0-9_]*[A-Za-z0-9_])?)*)$/, 'is not a host name')
/** Namespaces that see an object. */
export const exportTo = z.array(z.string().min(1).max(63)).max(256).optional()

const MAX_MATCHES = 4096
const text = z.string().max(4096)
const count = z.int().min(0).max(0x7fffffff)
const percent = z.strictObject({ value: z.number().min(0).max(100).optional() })
const headerName = z
  .string()
  .max(253)
  .regex(/^:?[A-Za-z0-9!#$%&'*+\-.^_`|~]+$/, 'is not a header name')

const stringMatch = z
  .strictObject({ exact: text.optional(), prefix: text.optional(), regex: z.string().max(4096).optional() })
  .refine((match) => Object.values(match).filter((value) => value !== undefined).length <= 1, 'only one of exact, prefix and regex')
const matchMap = (name: z.ZodType<string, string>) =>
  z
    .record(name, stringMatch)
    .refine((map) => Object.keys(map).length <= 64, 'at most 64 entries')
    .optional()

const httpMatch = z.strictObject({
  name: text.optional(),
  uri: stringMatch.optional(),
  ignoreUriCase: z.boolean().optional(),
  scheme: stringMatch.optional(),
  method: stringMatch.optional(),
  authority: stringMatch.optional(),
  headers: matchMap(headerName),
  withoutHeaders: matchMap(headerName),
  queryParams: matchMap(z.string().min(1).max(1024)),
  port: portNumber.optional(),
  sourceNamespace: z.string().max(253).optional(),
  sourceLabels: labels.optional(),
  gateways: z.array(text).max(256).optional(),
  statPrefix: text.optional(),
})

const destination = z.strictObject({
  host: istioHost,
  subset: z.string().max(253).optional(),
  port: z.strictObject({ number: portNumber.optional() }).optional(),
})
const operations = z
  .strictObject({
    set: z.record(headerName, text).optional(),
    add: z.record(headerName, text).optional(),
    remove: z.array(headerName).max(64).optional(),
  })
  .refine(({ set = {}, add = {} }) => Object.keys(set).length <= 64 && Object.keys(add).length <= 64, 'at most 64 entries')
const headers = z.strictObject({ request: operations.optional(), response: operations.optional() }).optional()
const regexRewrite = z.strictObject({ match: z.string().max(4096).optional(), rewrite: z.string().max(1024).optional() }).optional()

const fault = z.strictObject({
  delay: z
    .strictObject({
      fixedDelay: goDuration.optional(),
      exponentialDelay: goDuration.optional(),
      percentage: percent.optional(),
      percent: z.int().min(0).max(100).optional(),
    })
    .optional(),
  abort: z
    .strictObject({
      httpStatus: z.int().min(0).max(999).optional(),
      grpcStatus: z.string().max(64).optional(),
      http2Error: z.string().max(64).optional(),
      percentage: percent.optional(),
    })
    .optional(),
})

const corsPolicy = z.strictObject({
  allowOrigin: z.array(z.string().max(253)).max(64).optional(),
  allowOrigins: z.array(stringMatch).max(64).optional(),
  allowMethods: z.array(z.string().min(1).max(64)).max(64).optional(),
  allowHeaders: z.array(z.string().min(1).max(253)).max(64).optional(),
  exposeHeaders: z.array(z.string().min(1).max(253)).max(64).optional(),
  maxAge: goDuration.optional(),
  allowCredentials: z.boolean().optional(),
  unmatchedPreflights: z.enum(['UNSPECIFIED', 'FORWARD', 'IGNORE']).optional(),
})

const redirect = z
  .strictObject({
    uri: z.string().max(1024).optional(),
    authority: z.string().max(260).optional(),
    port: portNumber.optional(),
    derivePort: z.enum(['FROM_PROTOCOL_DEFAULT', 'FROM_REQUEST_PORT']).optional(),
    scheme: z.string().max(16).optional(),
    redirectCode: count.optional(),
    uriRegexRewrite: regexRewrite,
  })
  .refine(({ port, derivePort }) => port === undefined || derivePort === undefined, 'only one of port and derivePort')

const httpRoute = z.strictObject({
  name: z.string().max(253).optional(),
  match: z.array(httpMatch).max(512).optional(),
  route: z
    .array(z.strictObject({ destination, weight: count.optional(), headers }))
    .max(64)
    .optional(),
  redirect: redirect.optional(),
  directResponse: z.looseObject({}).optional(),
  delegate: z.looseObject({}).optional(),
  rewrite: z
    .strictObject({ uri: z.string().max(1024).optional(), authority: z.string().max(260).optional(), uriRegexRewrite: regexRewrite })
    .optional(),
  timeout: goDuration.optional(),
  retries: z
    .strictObject({
      attempts: z.int().min(-1).max(0x7fffffff).optional(),
      perTryTimeout: goDuration.optional(),
      retryOn: z.string().max(1024).optional(),
      retryRemoteLocalities: z.boolean().optional(),
      retryIgnorePreviousHosts: z.boolean().optional(),
      backoff: goDuration.optional(),
    })
    .optional(),
  fault: fault.optional(),
  mirror: destination.optional(),
  mirrors: z
    .array(z.strictObject({ destination, percentage: percent.optional() }))
    .max(16)
    .optional(),
  mirrorPercent: z.int().min(0).max(100).optional(),
  mirrorPercentage: percent.optional(),
  corsPolicy: corsPolicy.optional(),
  headers,
})

/** spec of a VirtualService. */
export const virtualServiceSpec = z.strictObject({
  hosts: z.array(istioHost).max(256).optional(),
  gateways: z.array(z.string().max(253)).max(256).optional(),
  http: z
    .array(httpRoute)
    .max(512)
    .refine((list) => list.reduce((sum, { match }) => sum + Math.max(1, match?.length ?? 0), 0) <= MAX_MATCHES, {
      message: `at most ${MAX_MATCHES} matches in all entries together`,
    })
    .optional(),
  tls: z.array(z.unknown()).max(512).optional(),
  tcp: z.array(z.unknown()).max(512).optional(),
  exportTo,
})
