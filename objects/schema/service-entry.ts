// ServiceEntry. Strict where a misspelt field would send traffic elsewhere; what the mesh cannot do is let in and said in its status.
// Shapes and rules follow istio/api:networking/v1alpha3/service_entry.proto and istio/istio:pkg/config/validation.
import { z } from 'zod'
import { parseCidr, parseIp } from '../../model/address.ts'
import { labels, portNumber } from './meta.ts'
import { exportTo, istioHost } from './virtual-service.ts'

/** Names of ports: keys of `endpoints[].ports`. */
const portName = z
  .string()
  .max(253)
  .regex(/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/i, 'is not a name of a port')
const NAMES = ['HTTP', 'HTTPS', 'GRPC', 'GRPC-WEB', 'HTTP2', 'MONGO', 'REDIS', 'MYSQL', 'TCP', 'TLS', 'UDP'] as const
const PROTOCOLS: ReadonlySet<string> = new Set(NAMES)
const WHOLE_NAME = /^[a-z0-9]([-a-z0-9_]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9_]*[a-z0-9])?)*$/i
const account = z
  .string()
  .max(253)
  .regex(/^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$/, 'is not the name of an account')

const port = z.strictObject({
  number: portNumber,
  name: portName,
  protocol: z
    .string()
    .refine((text) => PROTOCOLS.has(text.toUpperCase()), `must be one of ${NAMES.join(', ')}`)
    .optional(),
  targetPort: portNumber.optional(),
})

const endpoint = z.strictObject({
  address: z.string().min(1, 'is required').max(253),
  ports: z.record(portName, portNumber).optional(),
  labels: labels.optional(),
  network: z.string().max(253).optional(),
  locality: z.string().max(2048).optional(),
  weight: z.int().min(0).max(0xffff).optional(),
  serviceAccount: account.optional(),
})

type Spec = z.infer<typeof shape>
type Issue = (path: (string | number)[], message: string) => void

const shape = z.strictObject({
  hosts: z.array(istioHost).min(1, 'names no host').max(256),
  addresses: z
    .array(z.string().refine((text) => parseCidr(text) !== undefined, 'is neither an address nor an address block'))
    .max(128)
    .optional(),
  ports: z.array(port).max(256).optional(),
  location: z.enum(['MESH_EXTERNAL', 'MESH_INTERNAL']).optional(),
  resolution: z.enum(['NONE', 'STATIC', 'DNS', 'DNS_ROUND_ROBIN', 'DYNAMIC_DNS']).optional(),
  endpoints: z.array(endpoint).max(1024).optional(),
  workloadSelector: z.strictObject({ labels: labels.optional() }).optional(),
  exportTo,
  subjectAltNames: z.array(z.string().min(1).max(2048)).max(256).optional(),
})

/** spec of a ServiceEntry. */
export const serviceEntrySpec = shape.superRefine((spec, context) => {
  const issue: Issue = (path, message) => context.addIssue({ code: 'custom', path, message })
  hostsAndPorts(spec, issue)
  addresses(spec, issue)
  endpoints(spec, issue)
})

function hostsAndPorts({ hosts, ports = [] }: Spec, issue: Issue): void {
  hosts.forEach((host, i) => {
    if (host === '*') issue(['hosts', i], 'a ServiceEntry cannot stand for every host')
    else if (hosts.findIndex((other) => other.toLowerCase() === host.toLowerCase()) < i) issue(['hosts', i], 'is named twice')
  })
  ports.forEach(({ name, number }, i) => {
    if (ports.findIndex((other) => other.name === name) < i) issue(['ports', i, 'name'], 'is named twice')
    if (ports.findIndex((other) => other.number === number) < i) issue(['ports', i, 'number'], 'is named twice')
  })
}

function addresses({ addresses: list = [], resolution = 'NONE', endpoints: own = [], hosts, workloadSelector }: Spec, issue: Issue): void {
  list.forEach((text, i) => {
    const takesBlocks = resolution === 'NONE' || resolution === 'STATIC'
    if (text.includes('/') && !takesBlocks) issue(['addresses', i], `blocks need resolution NONE or STATIC, not ${resolution}`)
  })
  const isByName = resolution === 'DNS' || resolution === 'DNS_ROUND_ROBIN'
  // Each host has endpoints of its own then, and an address says nothing about which host was meant.
  if (isByName && list.length > 0 && hosts.length > 1 && own.length === 0 && workloadSelector === undefined)
    issue(['addresses'], `${hosts.length} hosts that are resolved by name cannot share addresses: leave them out, each host gets its own`)
}

function endpoints(spec: Spec, issue: Issue): void {
  const { endpoints: list = [], workloadSelector, resolution = 'NONE', hosts, ports = [] } = spec
  if (workloadSelector !== undefined && list.length > 0) issue(['endpoints'], 'only one of endpoints and workloadSelector')
  const isByName = resolution === 'DNS' || resolution === 'DNS_ROUND_ROBIN'
  if (resolution === 'NONE' && list.length > 0) issue(['endpoints'], 'resolution NONE takes no endpoints')
  if (resolution === 'NONE' && workloadSelector !== undefined) issue(['workloadSelector'], 'resolution NONE takes no workloadSelector')
  if (resolution === 'DNS_ROUND_ROBIN' && list.length > 1) issue(['endpoints'], 'resolution DNS_ROUND_ROBIN takes one endpoint')
  if (isByName && workloadSelector !== undefined)
    issue(['workloadSelector'], `resolution ${resolution} takes no workloadSelector: use STATIC`)
  hosts.forEach((host, i) => {
    if (isByName && list.length === 0 && host.startsWith('*'))
      issue(['hosts', i], `a wildcard cannot be resolved by name: give endpoints, or another resolution than ${resolution}`)
  })
  list.forEach((each, i) => {
    const path = ['endpoints', i, 'address']
    const isIp = parseIp(each.address) !== undefined
    if (resolution === 'STATIC' && !isIp) issue(path, 'resolution STATIC needs an IP address here; names need resolution DNS')
    else if (isByName && !isIp && !WHOLE_NAME.test(each.address)) issue(path, 'is neither an address nor a host name')
    else if (list.findIndex((other) => other.address === each.address) < i) issue(path, 'is named twice')
    for (const name of Object.keys(each.ports ?? {}))
      if (!ports.some((known) => known.name === name)) issue(['endpoints', i, 'ports', name], 'is no port of this ServiceEntry')
  })
}
