// GatewayClass, Gateway, HTTPRoute, GRPCRoute and ReferenceGrant. Routes are strict: a misspelt `matches` would match everything.
// Follows the CRDs of kubernetes-sigs/gateway-api:apis/v1 (experimental channel) with their CEL rules. What depends on the
// implementation (regexes, filters that are not supported) is the status' business, not refused here.
import { z } from 'zod'
import { dnsSubdomain, labelSelector, portNumber } from './meta.ts'

const MAX_MATCHES = 128
const text = z.string().max(4096)
const sectionName = dnsSubdomain
const hostname = z
  .string()
  .max(253)
  .regex(/^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/, 'is not a host name in lower case')
const headerName = z
  .string()
  .max(256)
  .regex(/^[A-Za-z0-9!#$%&'*+\-.^_`|~]+$/, 'is not a header name')
const duration = z.string().regex(/^([0-9]{1,5}(h|m|s|ms)){1,4}$/, 'must be a duration such as 10s or 1h30m')

const parentRef = z.strictObject({
  group: z.string().max(253).optional(),
  kind: z.string().max(63).optional(),
  namespace: dnsSubdomain.optional(),
  name: dnsSubdomain,
  sectionName: sectionName.optional(),
  port: portNumber.optional(),
})

const backendFields = {
  group: z.string().max(253).optional(),
  kind: z.string().max(63).optional(),
  namespace: dnsSubdomain.optional(),
  name: dnsSubdomain,
  port: portNumber.optional(),
}
type Reference = { readonly group?: string | undefined; readonly kind?: string | undefined; readonly port?: number | undefined }
const hasPort = (ref: Reference): boolean =>
  ref.port !== undefined || (ref.group ?? '') !== '' || (ref.kind !== undefined && ref.kind !== 'Service')
const NEEDS_PORT = { message: 'must have a port for a Service', path: ['port'] }
const backendRef = z.strictObject(backendFields).refine(hasPort, NEEDS_PORT)

const pathCharacters = /^(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})+$/
const pathMatch = z
  .strictObject({ type: z.enum(['Exact', 'PathPrefix', 'RegularExpression']).optional(), value: z.string().max(1024).optional() })
  .refine(({ type, value = '/' }) => type === 'RegularExpression' || (value.startsWith('/') && pathCharacters.test(value)), {
    message: 'must start with / and hold only characters of a path',
    path: ['value'],
  })
  .refine(({ type, value = '/' }) => type === 'RegularExpression' || !/\/\/|\/\.\.?(\/|$)|%2f/i.test(value), {
    message: 'must not contain //, /./, /../ or %2f, nor end in /. or /..',
    path: ['value'],
  })

const matchType = z.enum(['Exact', 'RegularExpression']).optional()
const headerMatches = z
  .array(z.strictObject({ type: matchType, name: headerName, value: z.string().min(1).max(4096) }))
  .max(16)
  .optional()
const httpMatch = z.strictObject({
  path: pathMatch.optional(),
  headers: headerMatches,
  queryParams: z
    .array(z.strictObject({ type: matchType, name: headerName, value: z.string().min(1).max(1024) }))
    .max(16)
    .optional(),
  method: z.enum(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH']).optional(),
})

const grpcMatch = z.strictObject({
  method: z
    .strictObject({ type: matchType, service: z.string().max(1024).optional(), method: z.string().max(1024).optional() })
    .refine(({ service, method }) => service !== undefined || method !== undefined, 'needs service, method or both')
    .refine(({ type, service = 'a' }) => type === 'RegularExpression' || /^\.?[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)*$/i.test(service), {
      message: 'is not a name of a gRPC service',
      path: ['service'],
    })
    .refine(({ type, method = 'a' }) => type === 'RegularExpression' || /^[A-Za-z_][A-Za-z_0-9]*$/.test(method), {
      message: 'is not a name of a gRPC method',
      path: ['method'],
    })
    .optional(),
  headers: headerMatches,
})

const headerValues = z
  .array(z.strictObject({ name: headerName, value: z.string().min(1).max(4096) }))
  .max(16)
  .optional()
const headerModifier = z.strictObject({ set: headerValues, add: headerValues, remove: z.array(headerName).max(16).optional() })
const pathModifier = z
  .strictObject({
    type: z.enum(['ReplaceFullPath', 'ReplacePrefixMatch']),
    replaceFullPath: z.string().max(1024).optional(),
    replacePrefixMatch: z.string().max(1024).optional(),
  })
  .refine((path) => (path.type === 'ReplaceFullPath') === (path.replaceFullPath !== undefined), 'replaceFullPath goes with its type')
  .refine(
    (path) => (path.type === 'ReplacePrefixMatch') === (path.replacePrefixMatch !== undefined),
    'replacePrefixMatch goes with its type',
  )

/** Filter type -> field that holds its settings. */
const FILTER_FIELDS = {
  RequestHeaderModifier: 'requestHeaderModifier',
  ResponseHeaderModifier: 'responseHeaderModifier',
  RequestMirror: 'requestMirror',
  RequestRedirect: 'requestRedirect',
  URLRewrite: 'urlRewrite',
  CORS: 'cors',
  ExternalAuth: 'externalAuth',
  ExtensionRef: 'extensionRef',
} as const
const FILTER_TYPES = Object.keys(FILTER_FIELDS) as (keyof typeof FILTER_FIELDS)[]

const filter = z
  .strictObject({
    type: z.enum(FILTER_TYPES),
    requestHeaderModifier: headerModifier.optional(),
    responseHeaderModifier: headerModifier.optional(),
    requestMirror: z
      .strictObject({
        backendRef,
        percent: z.int().min(0).max(100).optional(),
        fraction: z.strictObject({ numerator: z.int().min(0), denominator: z.int().min(1).optional() }).optional(),
      })
      .refine(({ percent, fraction }) => percent === undefined || fraction === undefined, 'only one of percent and fraction')
      .refine(({ fraction }) => fraction === undefined || fraction.numerator <= (fraction.denominator ?? 100), {
        message: 'the numerator is larger than the denominator',
        path: ['fraction'],
      })
      .optional(),
    requestRedirect: z
      .strictObject({
        scheme: z.enum(['http', 'https']).optional(),
        hostname: hostname.optional(),
        path: pathModifier.optional(),
        port: portNumber.optional(),
        statusCode: z.union([z.literal(301), z.literal(302), z.literal(303), z.literal(307), z.literal(308)]).optional(),
      })
      .optional(),
    urlRewrite: z.strictObject({ hostname: hostname.optional(), path: pathModifier.optional() }).optional(),
    cors: z
      .strictObject({
        allowOrigins: z.array(z.string().min(1).max(253)).max(64).optional(),
        allowCredentials: z.boolean().optional(),
        allowMethods: z.array(z.string().min(1).max(64)).max(9).optional(),
        allowHeaders: z.array(headerName).max(64).optional(),
        exposeHeaders: z.array(headerName).max(64).optional(),
        maxAge: z.int().min(1).optional(),
      })
      .optional(),
    externalAuth: z.looseObject({}).optional(),
    extensionRef: z.strictObject({ group: z.string().max(253), kind: z.string().max(63), name: dnsSubdomain }).optional(),
  })
  .superRefine((value, context) => {
    for (const [type, field] of Object.entries(FILTER_FIELDS)) {
      if ((value.type === type) === (value[field] !== undefined)) continue
      const message = value.type === type ? `is required for type ${type}` : `goes with type ${type}`
      context.addIssue({ code: 'custom', path: [field], message })
    }
  })
const filters = z
  .array(filter)
  .max(16)
  .superRefine((list, context) => {
    const types = list.map(({ type }) => type)
    for (const type of new Set(types)) {
      const isRepeated = types.indexOf(type) !== types.lastIndexOf(type)
      if (isRepeated && type !== 'RequestMirror' && type !== 'ExtensionRef')
        context.addIssue({ code: 'custom', message: `${type} cannot be repeated` })
    }
    if (types.includes('RequestRedirect') && types.includes('URLRewrite'))
      context.addIssue({ code: 'custom', message: 'only one of RequestRedirect and URLRewrite' })
  })
  .optional()

const backendRefs = z
  .array(z.strictObject({ ...backendFields, weight: z.int().min(0).max(1_000_000).optional(), filters }).refine(hasPort, NEEDS_PORT))
  .max(16)
  .optional()

const sessionPersistence = z
  .strictObject({
    type: z.enum(['Cookie', 'Header']).optional(),
    absoluteTimeout: duration.optional(),
    idleTimeout: duration.optional(),
    cookie: z
      .strictObject({
        name: z.string().max(4096).optional(),
        path: z.string().max(1024).optional(),
        lifetimeType: z.enum(['Session', 'Permanent']).optional(),
      })
      .optional(),
    header: z.strictObject({ name: headerName.optional() }).optional(),
    sessionName: z.string().max(128).optional(),
    cookieConfig: z.strictObject({ lifetimeType: z.enum(['Session', 'Permanent']).optional() }).optional(),
  })
  .refine(
    ({ cookie, cookieConfig, absoluteTimeout }) => (cookie ?? cookieConfig)?.lifetimeType !== 'Permanent' || absoluteTimeout !== undefined,
    { message: 'is required for cookies that are permanent', path: ['absoluteTimeout'] },
  )
  .optional()

const ruleFields = { name: sectionName.optional(), filters, backendRefs, sessionPersistence }
type Rule = { readonly filters?: readonly { readonly type: string }[] | undefined; readonly backendRefs?: readonly unknown[] | undefined }
const isEitherRedirectOrBackends = (rule: Rule): boolean =>
  (rule.backendRefs ?? []).length === 0 || (rule.filters ?? []).every(({ type }) => type !== 'RequestRedirect')
const REDIRECT_ALONE = { message: 'RequestRedirect must not be used together with backendRefs', path: ['filters'] }

const httpRule = z
  .strictObject({
    ...ruleFields,
    matches: z.array(httpMatch).max(64).optional(),
    timeouts: z.strictObject({ request: duration.optional(), backendRequest: duration.optional() }).optional(),
    retry: z
      .strictObject({
        codes: z.array(z.int().min(400).max(599)).max(200).optional(),
        attempts: z.int().min(0).max(1000).optional(),
        backoff: duration.optional(),
      })
      .optional(),
  })
  .refine(isEitherRedirectOrBackends, REDIRECT_ALONE)
const grpcRule = z.strictObject({ ...ruleFields, matches: z.array(grpcMatch).max(64).optional() })

function routeSpec<T extends z.ZodType<{ readonly matches?: readonly unknown[] | undefined; readonly name?: string | undefined }>>(
  rule: T,
) {
  return z.strictObject({
    parentRefs: z.array(parentRef).max(32).optional(),
    useDefaultGateways: z.string().optional(),
    hostnames: z.array(hostname).max(16).optional(),
    rules: z
      .array(rule)
      .max(16)
      .refine((rules) => rules.reduce((sum, { matches }) => sum + (matches?.length ?? 1), 0) <= MAX_MATCHES, {
        message: `at most ${MAX_MATCHES} matches in all rules together`,
      })
      .refine((rules) => hasUniqueNames(rules), { message: 'names of rules must differ' })
      .optional(),
  })
}

function hasUniqueNames(rules: readonly { readonly name?: string | undefined }[]): boolean {
  const names = rules.map(({ name }) => name).filter((name) => name !== undefined)
  return new Set(names).size === names.length
}

/** spec of an HTTPRoute. */
export const httpRouteSpec = routeSpec(httpRule)

/** spec of a GRPCRoute. */
export const grpcRouteSpec = routeSpec(grpcRule)

/** spec of a Gateway. */
export const gatewaySpec = z.looseObject({
  gatewayClassName: dnsSubdomain,
  listeners: z
    .array(
      z.looseObject({
        name: z.string(),
        port: portNumber,
        protocol: z.string(),
        hostname: z.string().optional(),
        allowedRoutes: z
          .looseObject({
            namespaces: z
              .looseObject({ from: z.enum(['All', 'Selector', 'Same', 'None']).optional(), selector: labelSelector.optional() })
              .optional(),
            kinds: z
              .array(z.looseObject({ group: z.string().optional(), kind: z.string() }))
              .max(8)
              .optional(),
          })
          .optional(),
      }),
    )
    .max(64)
    .optional(),
  addresses: z
    .array(z.looseObject({ type: z.string().optional(), value: text.optional() }))
    .max(16)
    .optional(),
})

/** spec of a GatewayClass. */
export const gatewayClassSpec = z.looseObject({ controllerName: z.string().min(1).max(253), description: z.string().max(64).optional() })

/** spec of a ReferenceGrant. */
export const referenceGrantSpec = z.strictObject({
  from: z
    .array(z.strictObject({ group: z.string().max(253), kind: z.string().max(63), namespace: dnsSubdomain }))
    .min(1)
    .max(16),
  to: z
    .array(z.strictObject({ group: z.string().max(253), kind: z.string().max(63), name: dnsSubdomain.optional() }))
    .min(1)
    .max(16),
})
