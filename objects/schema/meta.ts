// What every object has: names by Kubernetes' rules, labels, annotations. Names become file names of the store and parts
// of SPIFFE IDs, so nothing outside these patterns gets in.
import { z } from 'zod'

/** RFC 1123 label: `a-z0-9-`, 1–63. */
export const dnsLabel = z.string().regex(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/, 'must be a-z, 0-9 and -, at most 63 characters')

/** RFC 1123 subdomain: labels joined by dots, 1–253. */
export const dnsSubdomain = z
  .string()
  .max(253)
  .regex(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/, 'must be lower-case letters, digits, - and .')

const labelKey = z
  .string()
  .regex(/^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?\/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/, 'is not a label name')
const labelValue = z
  .string('must be text: put quotes around numbers and true/false')
  .regex(/^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$/, 'is not a label value')

/** Labels. */
export const labels = z.record(labelKey, labelValue)

/** Annotations, at most 256 KiB together. */
export const annotations = z
  .record(labelKey, z.string('must be text: put quotes around numbers and true/false'))
  .refine((map) => JSON.stringify(map).length <= 256 * 1024, 'annotations are larger than 256 KiB')

/** metadata; `namespace` is checked by the caller because the scope differs by kind. */
export const objectMeta = z.looseObject({
  name: dnsSubdomain,
  namespace: dnsLabel.optional(),
  labels: labels.nullish().transform((value) => value ?? undefined),
  annotations: annotations.nullish().transform((value) => value ?? undefined),
})

/** matchLabels and matchExpressions. */
export const labelSelector = z.strictObject({
  matchLabels: labels.optional(),
  matchExpressions: z
    .array(
      z.strictObject({
        key: labelKey,
        operator: z.enum(['In', 'NotIn', 'Exists', 'DoesNotExist']),
        values: z.array(z.string()).optional(),
      }),
    )
    .optional(),
})

/** TCP or UDP port number. */
export const portNumber = z.int().min(1).max(65535)

/** A port by number or by the name that a container gives it. */
export const portOrName = z.union([portNumber, z.string().regex(/^[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?$/, 'must be a port number or name')])
