// One door for foreign objects: from YAML files and from the API. Says every fault with the path of the field.
import { z } from 'zod'
import type { MeshObject } from '../../model/object.ts'
import { KINDS, type KindRow, kindOf } from '../kinds.ts'
import { destinationRuleSpec } from './destination-rule.ts'
import { gatewayClassSpec, gatewaySpec, grpcRouteSpec, httpRouteSpec, referenceGrantSpec } from './gateway-api.ts'
import { objectMeta } from './meta.ts'
import { deploymentSpec, podSpec } from './pod.ts'
import { authorizationPolicySpec, peerAuthenticationSpec } from './policy.ts'
import { rateLimitPolicySpec } from './rate-limit.ts'
import { serviceEntrySpec } from './service-entry.ts'
import { configMapFields, endpointSliceFields, eventFields, nodeSpec, secretFields, serviceCidrSpec, serviceSpec } from './service.ts'
import { virtualServiceSpec } from './virtual-service.ts'

/** One fault: `path` leads to the field (`['spec', 'ports', 0, 'port']`), `message` says what is expected. */
export interface FieldFault {
  readonly path: readonly (string | number)[]
  readonly message: string
}

/** A valid object, an unknown kind (not an error of the document), or every fault. */
export type Validation =
  | { readonly is: 'valid'; readonly object: MeshObject; readonly row: KindRow }
  | { readonly is: 'unknown-kind'; readonly apiVersion: string; readonly kind: string }
  | { readonly is: 'invalid'; readonly faults: readonly FieldFault[] }

/** Schemas by kind: of `spec`, or of the whole object where Kubernetes puts the fields at the top. */
const SPECS: Readonly<Record<string, z.ZodType>> = {
  Pod: z.looseObject({ spec: podSpec }),
  Deployment: z.looseObject({ spec: deploymentSpec }),
  Service: z.looseObject({ spec: serviceSpec }),
  GatewayClass: z.looseObject({ spec: gatewayClassSpec }),
  Gateway: z.looseObject({ spec: gatewaySpec }),
  HTTPRoute: z.looseObject({ spec: httpRouteSpec }),
  GRPCRoute: z.looseObject({ spec: grpcRouteSpec }),
  ReferenceGrant: z.looseObject({ spec: referenceGrantSpec }),
  VirtualService: z.looseObject({ spec: virtualServiceSpec }),
  DestinationRule: z.looseObject({ spec: destinationRuleSpec }),
  ServiceEntry: z.looseObject({ spec: serviceEntrySpec }),
  RateLimitPolicy: z.looseObject({ spec: rateLimitPolicySpec }),
  Node: z.looseObject({ spec: nodeSpec.optional() }),
  ServiceCIDR: z.looseObject({ spec: serviceCidrSpec }),
  AuthorizationPolicy: z.looseObject({ spec: authorizationPolicySpec.optional() }),
  PeerAuthentication: z.looseObject({ spec: peerAuthenticationSpec.optional() }),
  EndpointSlice: endpointSliceFields,
  ConfigMap: configMapFields,
  Secret: secretFields,
  Event: eventFields,
}

const header = z.looseObject({ apiVersion: z.string(), kind: z.string(), metadata: objectMeta })

/**
 * @param input any parsed YAML or JSON value
 * @param options.namespace filled in where a namespaced object has none; default `default`
 */
export function validate(input: unknown, options: { readonly namespace?: string } = {}): Validation {
  const named = z.looseObject({ apiVersion: z.string(), kind: z.string() }).safeParse(input)
  if (!named.success) return { is: 'invalid', faults: faultsOf(named.error) }
  const { apiVersion, kind } = named.data
  const row = kindOf(apiVersion, kind)
  if (row === undefined) {
    const known = KINDS.find((entry) => entry.kind === kind)
    if (known === undefined || known.apiVersions[0]?.split('/')[0] !== apiVersion.split('/')[0])
      return { is: 'unknown-kind', apiVersion, kind }
    return { is: 'invalid', faults: [{ path: ['apiVersion'], message: `${apiVersion}: use ${known.apiVersions.join(' or ')}` }] }
  }
  const head = header.safeParse(input)
  const body = SPECS[kind]?.safeParse(input)
  const faults = [...(head.success ? [] : faultsOf(head.error)), ...(body === undefined || body.success ? [] : faultsOf(body.error))]
  if (!head.success || faults.length > 0) return { is: 'invalid', faults }
  return { is: 'valid', row, object: normalise(head.data as unknown as MeshObject, row, options.namespace ?? 'default') }
}

/** `spec.ports[0].port: …` */
export function formatFault(fault: FieldFault): string {
  const path = fault.path.reduce<string>(
    (text, part) => (typeof part === 'number' ? `${text}[${part}]` : text === '' ? part : `${text}.${part}`),
    '',
  )
  return path === '' ? fault.message : `${path}: ${fault.message}`
}

/** One apiVersion per kind is stored; namespaced objects have a namespace, others have none; a Secret has only `data`. */
function normalise(object: MeshObject, row: KindRow, namespace: string): MeshObject {
  const { namespace: given, ...metadata } = object.metadata
  const stored = row.isNamespaced ? { ...metadata, namespace: given ?? namespace } : metadata
  const result = { ...object, apiVersion: row.apiVersions[0] ?? object.apiVersion, metadata: stored }
  if (row.kind !== 'Secret') return result
  const { stringData, ...secret } = result as MeshObject & { stringData?: Record<string, string> | null }
  const encoded = Object.entries(stringData ?? {}).map(([key, text]) => [key, Buffer.from(text).toString('base64')])
  return { ...secret, data: { ...secret.data, ...Object.fromEntries(encoded) } }
}

function faultsOf(error: z.ZodError): FieldFault[] {
  return error.issues.slice(0, 20).map((issue) => ({
    path: issue.path.filter((part): part is string | number => typeof part !== 'symbol'),
    message: issue.message,
  }))
}
