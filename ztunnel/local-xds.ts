// LOCAL_XDS_PATH: a YAML file of workloads, services and policies instead of a control plane, in the form of ztunnel's own
// (istio/ztunnel:examples/localhost.yaml, src/state/workload.rs, src/rbac.rs). Every fault is reported with its line.
import { LineCounter, parseDocument } from 'yaml'
import { z } from 'zod'
import { faults, success } from '../kit/error.ts'
import type { Result } from '../kit/error.ts'
import { parseCidr, parseIp } from '../model/address.ts'
import type { Cidr, IpAddress } from '../model/address.ts'
import { EMPTY_MATCH } from '../model/policy.ts'
import type { Authorization, StringMatch } from '../model/policy.ts'
import type { Service, ServiceVip } from '../model/service.ts'
import type { GatewayAddress, PortPair, Workload } from '../model/workload.ts'

/** What the file says. */
export interface LocalXds {
  readonly workloads: readonly Workload[]
  readonly services: readonly Service[]
  readonly policies: readonly Authorization[]
  /** CIDRs of the mesh (our addition, key `networks`); absent = none. */
  readonly networks: readonly Cidr[]
}

/** Parses the file; each error begins with `line N:`. */
export function parseLocalXds(text: string): Result<LocalXds> {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true, maxAliasCount: 100 } as Parameters<typeof parseDocument>[1])
  if (document.errors.length > 0) {
    const [first = '', ...rest] = document.errors.map(
      (error) => `line ${lines.linePos(error.pos[0]).line}: ${error.message.split('\n')[0]}`,
    )
    return faults(first, ...rest)
  }
  const parsed = FILE.safeParse(document.toJS({ maxAliasCount: 100 }) ?? {})
  if (parsed.success) return success(parsed.data)
  const lineOf = (path: readonly PropertyKey[]): number => {
    for (let length = path.length; length >= 0; length--) {
      const node: unknown = length === 0 ? document.contents : document.getIn(path.slice(0, length), true)
      const range = typeof node === 'object' && node !== null && 'range' in node ? node.range : undefined
      if (Array.isArray(range) && typeof range[0] === 'number') return lines.linePos(range[0]).line
    }
    return 1
  }
  return {
    ok: false,
    errors: parsed.error.issues.map((issue) => `line ${lineOf(issue.path)}: ${issue.path.map(String).join('.')}: ${issue.message}`),
  }
}

const name = z.string().max(512)
const ip = z.string().transform((text, context): IpAddress => {
  const value = parseIp(text)
  if (value !== undefined) return value
  context.addIssue({ code: 'custom', message: `${JSON.stringify(text)} is not an IP address` })
  return z.NEVER
})
const cidr = z.string().transform((text, context): Cidr => {
  const value = parseCidr(text)
  if (value !== undefined) return value
  context.addIssue({ code: 'custom', message: `${JSON.stringify(text)} is not an address block` })
  return z.NEVER
})
const port = z.number().int().min(0).max(65_535)
const ports = z.record(z.string().regex(/^\d{1,5}$/, 'a port'), port)

const vip = z.string().transform((text, context): ServiceVip => {
  const slash = text.indexOf('/')
  const block = parseCidr(text.slice(slash + 1))
  if (slash >= 0 && block !== undefined) return { network: text.slice(0, slash), cidr: block }
  context.addIssue({ code: 'custom', message: `${JSON.stringify(text)} is not NETWORK/ADDRESS` })
  return z.NEVER
})

const gateway = z.strictObject({ destination: name, hboneMtlsPort: port }).transform((value): GatewayAddress => {
  const slash = value.destination.indexOf('/')
  const [before, after] = [value.destination.slice(0, slash), value.destination.slice(slash + 1)]
  const address = parseIp(after)
  if (address !== undefined) return { kind: 'address', network: before, ip: address, hbonePort: value.hboneMtlsPort }
  return { kind: 'hostname', namespace: before, hostname: after, hbonePort: value.hboneMtlsPort }
})

const workload = z
  .strictObject({
    uid: name,
    name: name.default(''),
    namespace: name,
    workloadIps: z.array(ip),
    hostname: name.default(''),
    network: name.default(''),
    protocol: z.enum(['HBONE', 'TCP']).default('TCP'),
    networkMode: z.enum(['Standard', 'HostNetwork']).default('Standard'),
    trustDomain: name.default('cluster.local'),
    serviceAccount: name.default('default'),
    node: name.default(''),
    canonicalName: name.default(''),
    canonicalRevision: name.default(''),
    workloadName: name.default(''),
    workloadType: z
      .preprocess((text) => (typeof text === 'string' ? text.toUpperCase() : text), z.enum(['DEPLOYMENT', 'CRONJOB', 'POD', 'JOB']))
      .default('POD'),
    status: z.enum(['Healthy', 'Unhealthy']).default('Healthy'),
    clusterId: name.default('Kubernetes'),
    locality: z.strictObject({ region: name.default(''), zone: name.default(''), subzone: name.default('') }).prefault({}),
    capacity: z.number().int().min(0).default(1),
    services: z.record(z.string().regex(/^[^/]+\/.+$/, 'NAMESPACE/HOSTNAME'), ports).default({}),
    authorizationPolicies: z.array(name).default([]),
    waypoint: gateway.optional(),
    networkGateway: gateway.optional(),
    nativeTunnel: z.boolean().default(false),
    applicationTunnel: z.strictObject({ protocol: z.enum(['NONE', 'PROXY']), port: port.default(0) }).optional(),
    pending: z.boolean().default(false),
  })
  .transform((from): Workload => {
    const {
      workloadIps,
      protocol,
      networkMode,
      status,
      nativeTunnel,
      pending,
      services,
      waypoint,
      networkGateway,
      applicationTunnel,
      ...same
    } = from
    return {
      ...same,
      addresses: workloadIps,
      protocol: protocol === 'HBONE' ? 'HBONE' : 'NONE',
      health: status === 'Healthy' ? 'HEALTHY' : 'UNHEALTHY',
      isHostNetwork: networkMode === 'HostNetwork',
      services: new Map(Object.entries(services).map(([key, map]) => [key, portPairs(map)])),
      waypoint,
      networkGateway,
      applicationTunnel,
      hasNativeTunnel: nativeTunnel,
      isPending: pending,
    }
  })

const service = z
  .strictObject({
    name,
    namespace: name,
    hostname: name,
    vips: z.array(vip).default([]),
    ports,
    subjectAltNames: z.array(name).default([]),
    waypoint: gateway.optional(),
    canonical: z.boolean().default(false),
    visibility: z.enum(['Public', 'Namespace']).default('Public'),
    ipFamilies: z.enum(['IPv4', 'IPv6', 'Dual']).optional(),
    loadBalancer: z
      .strictObject({
        routingPreferences: z
          .array(
            z.preprocess(
              (text) => (typeof text === 'string' ? text.toUpperCase() : text),
              z.enum(['REGION', 'ZONE', 'SUBZONE', 'NODE', 'CLUSTER', 'NETWORK']),
            ),
          )
          .default([]),
        mode: z.enum(['Standard', 'Strict', 'Failover', 'Passthrough']).default('Standard'),
        healthPolicy: z.enum(['OnlyHealthy', 'AllowAll']).default('OnlyHealthy'),
      })
      .optional(),
  })
  .transform(
    (from): Service => ({
      name: from.name,
      namespace: from.namespace,
      hostname: from.hostname,
      vips: from.vips,
      ports: portPairs(from.ports).map((pair) => ({ ...pair, appProtocol: 'UNKNOWN' as const })),
      subjectAltNames: from.subjectAltNames,
      waypoint: from.waypoint,
      isCanonical: from.canonical,
      isPrivate: from.visibility === 'Namespace',
      ipFamilies: from.ipFamilies === undefined ? 'AUTOMATIC' : FAMILIES[from.ipFamilies],
      loadBalancing:
        from.loadBalancer === undefined
          ? undefined
          : {
              routingPreference: from.loadBalancer.routingPreferences,
              mode: MODES[from.loadBalancer.mode],
              allowsUnhealthy: from.loadBalancer.healthPolicy === 'AllowAll',
            },
    }),
  )

const stringMatch = z.union([
  z.literal('Presence').transform((): StringMatch => ({ kind: 'presence' })),
  z.strictObject({ Exact: name }).transform((match): StringMatch => ({ kind: 'exact', value: match.Exact })),
  z.strictObject({ Prefix: name }).transform((match): StringMatch => ({ kind: 'prefix', value: match.Prefix })),
  z.strictObject({ Suffix: name }).transform((match): StringMatch => ({ kind: 'suffix', value: match.Suffix })),
])
const account = z.strictObject({ namespace: name, serviceAccount: name })
const match = z
  .strictObject({
    namespaces: z.array(stringMatch).default([]),
    notNamespaces: z.array(stringMatch).default([]),
    principals: z.array(stringMatch).default([]),
    notPrincipals: z.array(stringMatch).default([]),
    sourceIps: z.array(cidr).default([]),
    notSourceIps: z.array(cidr).default([]),
    destinationIps: z.array(cidr).default([]),
    notDestinationIps: z.array(cidr).default([]),
    destinationPorts: z.array(port).default([]),
    notDestinationPorts: z.array(port).default([]),
    serviceAccounts: z.array(account).default([]),
    notServiceAccounts: z.array(account).default([]),
  })
  .transform((from) => ({ ...EMPTY_MATCH, ...from }))

const policy = z
  .strictObject({
    name,
    namespace: name,
    scope: z.enum(['Global', 'Namespace', 'WorkloadSelector']),
    action: z.enum(['Allow', 'Deny']),
    rules: z.array(z.array(z.array(match))),
    dryRun: z.boolean().default(false),
  })
  .transform(
    (from): Authorization => ({
      name: from.name,
      namespace: from.namespace,
      scope: SCOPES[from.scope],
      action: from.action === 'Allow' ? 'ALLOW' : 'DENY',
      rules: from.rules,
      isDryRun: from.dryRun,
    }),
  )

const FAMILIES = { IPv4: 'IPV4_ONLY', IPv6: 'IPV6_ONLY', Dual: 'DUAL' } as const
const MODES = { Standard: 'UNSPECIFIED', Strict: 'STRICT', Failover: 'FAILOVER', Passthrough: 'PASSTHROUGH' } as const
const SCOPES = { Global: 'GLOBAL', Namespace: 'NAMESPACE', WorkloadSelector: 'WORKLOAD_SELECTOR' } as const

const FILE = z.strictObject({
  workloads: z.array(workload).default([]),
  services: z.array(service).default([]),
  policies: z.array(policy).default([]),
  networks: z.array(cidr).default([]),
})

function portPairs(map: Readonly<Record<string, number>>): PortPair[] {
  return Object.entries(map).map(([servicePort, targetPort]) => ({ servicePort: Number(servicePort), targetPort }))
}
