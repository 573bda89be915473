// RateLimitPolicy's CustomResourceDefinition, made from the same zod schema that the control plane checks objects with, so that
// the API server refuses what the control plane would. Used by update-crds.ts and by the test that compares the committed file.
import { z } from 'zod'
import { rateLimitPolicySpec } from '../objects/schema/rate-limit.ts'

type Json = Readonly<Record<string, unknown>>

/** What zod's `refine` says and JSON Schema cannot, in CEL. */
const SPEC_RULES = [{ rule: 'has(self.limits) || has(self.global)', message: 'must have limits, global, or both' }]
const TARGET_RULES = [
  {
    rule: "!has(self.group) || self.group == '' || self.group == (self.kind == 'Service' ? 'core' : self.kind == 'ServiceEntry' ? 'networking.istio.io' : 'gateway.networking.k8s.io')",
    message: 'group is not the group of this kind',
  },
  { rule: "self.kind != 'Gateway' || !has(self.sectionName)", message: 'a waypoint has one listener for all: leave out sectionName' },
]
const COLUMNS = [
  { name: 'Target', type: 'string', jsonPath: '.spec.targetRefs[0].name' },
  { name: 'Accepted', type: 'string', jsonPath: '.status.conditions[?(@.type=="Accepted")].status' },
  { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' },
]

/** The definition as an object; its group, version and names are those of objects/kinds.ts. */
export function rateLimitPolicyCrd(): Json {
  const spec = structural(z.toJSONSchema(rateLimitPolicySpec, { io: 'input' }) as Json)
  const properties = spec.properties as Record<string, Json>
  const targets = properties.targetRefs ?? {}
  const withRules = {
    ...spec,
    properties: {
      ...properties,
      targetRefs: { ...targets, items: { ...(targets.items as Json), 'x-kubernetes-validations': TARGET_RULES } },
    },
    'x-kubernetes-validations': SPEC_RULES,
  }
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: 'ratelimitpolicies.weft.dev' },
    spec: {
      group: 'weft.dev',
      names: {
        kind: 'RateLimitPolicy',
        listKind: 'RateLimitPolicyList',
        plural: 'ratelimitpolicies',
        singular: 'ratelimitpolicy',
        shortNames: ['rlp'],
      },
      scope: 'Namespaced',
      versions: [
        {
          name: 'v1alpha1',
          served: true,
          storage: true,
          subresources: { status: {} },
          additionalPrinterColumns: COLUMNS,
          schema: { openAPIV3Schema: objectSchema(withRules) },
        },
      ],
    },
  }
}

function objectSchema(spec: Json): Json {
  const text = { type: 'string' }
  const status = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true }
  return { type: 'object', required: ['spec'], properties: { apiVersion: text, kind: text, metadata: { type: 'object' }, spec, status } }
}

/**
 * JSON Schema as structural schemas allow it: an object lists its properties and prunes others; what may be text or an object is
 * not described further (a structural schema has one type per place), the control plane's status tells faults in it.
 */
function structural(schema: Json): Json {
  if (schema.anyOf !== undefined) return { 'x-kubernetes-preserve-unknown-fields': true }
  const { $schema: _schema, additionalProperties: _closed, properties, items, ...rest } = schema
  return {
    ...rest,
    ...(properties === undefined
      ? {}
      : {
          properties: Object.fromEntries(
            Object.entries(properties as Record<string, Json>).map(([name, value]) => [name, structural(value)]),
          ),
        }),
    ...(items === undefined ? {} : { items: structural(items as Json) }),
  }
}
