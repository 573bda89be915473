// Service, EndpointSlice and the small core kinds.
import { z } from 'zod'
import { parseCidr, parseIp } from '../../model/address.ts'
import { dnsSubdomain, labels, portNumber, portOrName } from './meta.ts'

const ip = z.string().refine((text) => parseIp(text) !== undefined, 'is not an IP address')
const cidr = z.string().refine((text) => parseCidr(text) !== undefined, 'is not an address block')
const clusterIp = z.union([z.enum(['None', '']), ip])

/** spec of a Service. */
export const serviceSpec = z
  .looseObject({
    type: z.enum(['ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName']).optional(),
    clusterIP: clusterIp.optional(),
    clusterIPs: z.array(clusterIp).max(2).optional(),
    ipFamilies: z
      .array(z.enum(['IPv4', 'IPv6']))
      .max(2)
      .optional(),
    ipFamilyPolicy: z.enum(['SingleStack', 'PreferDualStack', 'RequireDualStack']).optional(),
    selector: labels.optional(),
    ports: z
      .array(
        z.looseObject({
          name: z.string().max(63).optional(),
          port: portNumber,
          targetPort: portOrName.optional(),
          protocol: z.enum(['TCP', 'UDP', 'SCTP']).optional(),
          appProtocol: z.string().optional(),
        }),
      )
      .max(100)
      .optional(),
    externalName: dnsSubdomain.optional(),
    publishNotReadyAddresses: z.boolean().optional(),
    trafficDistribution: z.string().optional(),
    internalTrafficPolicy: z.enum(['Cluster', 'Local']).optional(),
  })
  .superRefine((spec, context) => {
    const ports = spec.ports ?? []
    if (ports.length > 1 && ports.some((port) => port.name === undefined))
      context.addIssue({ code: 'custom', path: ['ports'], message: 'every port needs a name when there are several' })
    if (new Set(ports.map((port) => `${port.protocol ?? 'TCP'}/${port.port}`)).size < ports.length)
      context.addIssue({ code: 'custom', path: ['ports'], message: 'the same port and protocol is named twice' })
    if (spec.type === 'ExternalName' && spec.externalName === undefined)
      context.addIssue({ code: 'custom', path: ['externalName'], message: 'is required for type ExternalName' })
  })

/** Fields of an EndpointSlice that stand beside metadata. */
export const endpointSliceFields = z.looseObject({
  addressType: z.enum(['IPv4', 'IPv6', 'FQDN']),
  endpoints: z
    .array(
      z.looseObject({
        addresses: z.array(z.string()).min(1).max(100),
        conditions: z
          .looseObject({
            ready: z.boolean().nullish(),
            serving: z.boolean().nullish(),
            terminating: z.boolean().nullish(),
          })
          .optional(),
      }),
    )
    .max(1000)
    .nullish(),
  ports: z
    .array(z.looseObject({ name: z.string().nullish(), port: portNumber.nullish(), protocol: z.string().nullish() }))
    .max(100)
    .nullish(),
})

/** spec of a Node. */
export const nodeSpec = z.looseObject({ podCIDR: cidr.optional(), podCIDRs: z.array(cidr).optional() })

/** spec of a ServiceCIDR. */
export const serviceCidrSpec = z.looseObject({ cidrs: z.array(cidr).min(1).max(2) })

/** data of a ConfigMap: text by key, at most 1 MiB. */
export const configMapFields = z.looseObject({
  data: z
    .record(z.string().regex(/^[-._a-zA-Z0-9]{1,253}$/), z.string('must be text'))
    .refine((map) => JSON.stringify(map).length <= 1024 * 1024, 'is larger than 1 MiB')
    .nullish(),
})

/** data (base64) and stringData (text) of a Secret. */
export const secretFields = z.looseObject({
  type: z.string().optional(),
  data: z.record(z.string().regex(/^[-._a-zA-Z0-9]{1,253}$/), z.base64('must be base64')).nullish(),
  stringData: z.record(z.string().regex(/^[-._a-zA-Z0-9]{1,253}$/), z.string('must be text')).nullish(),
})

/** Fields of an Event. */
export const eventFields = z.looseObject({
  involvedObject: z.looseObject({ kind: z.string(), name: z.string() }),
  reason: z.string().max(128),
  message: z.string().max(4096),
  type: z.enum(['Normal', 'Warning']),
})
