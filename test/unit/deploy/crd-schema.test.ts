// RateLimitPolicy's definition is one that an API server takes.
import assert from 'node:assert/strict'
import { rateLimitPolicyCrd } from '../../../deploy/crd-schema.ts'

type Json = Readonly<Record<string, unknown>>

/** What the API server refuses in a structural schema. */
function unstructural(schema: Json, path: string): string[] {
  const { properties = {}, items } = schema as { properties?: Readonly<Record<string, Json>>; items?: Json }
  const hasType = typeof schema.type === 'string' || schema['x-kubernetes-preserve-unknown-fields'] === true
  return [
    ...(hasType ? [] : [`${path}: no type`]),
    ...['anyOf', 'const', 'additionalProperties', '$schema', '$ref'].filter((key) => key in schema).map((key) => `${path}: ${key}`),
    ...Object.entries(properties).flatMap(([name, child]) => unstructural(child, `${path}.${name}`)),
    ...(items === undefined ? [] : unstructural(items, `${path}[]`)),
  ]
}

describe('definition of RateLimitPolicy', () => {
  const crd = rateLimitPolicyCrd() as { spec: { versions: { schema: { openAPIV3Schema: Json } }[] } }
  const root = crd.spec.versions[0]!.schema.openAPIV3Schema

  it('is structural', () => {
    assert.deepEqual(unstructural(root, ''), [])
  })

  it('keeps limits and rules of the schema', () => {
    const spec = (
      root.properties as Record<string, { properties: Record<string, Json>; required: string[]; 'x-kubernetes-validations': Json[] }>
    ).spec!
    assert.deepEqual(spec.required, ['targetRefs'])
    assert.deepEqual([spec.properties.targetRefs?.minItems, spec.properties.targetRefs?.maxItems], [1, 16])
    assert.deepEqual(
      spec['x-kubernetes-validations'].map(({ message }) => message),
      ['must have limits, global, or both'],
    )
    const limit = (spec.properties.limits!.items as { properties: Record<string, Json> }).properties
    assert.deepEqual([limit.requests?.minimum, limit.requests?.type], [1, 'integer'])
    assert.deepEqual(limit.by?.items, { 'x-kubernetes-preserve-unknown-fields': true })
  })
})
