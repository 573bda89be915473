// The API's own check of a spec, made again: what is not of that shape never reaches a proxy.
import type { z } from 'zod'
import { messageOf } from '../../../kit/error.ts'
import type { MeshObject } from '../../../model/object.ts'
import { formatFault } from '../../../objects/schema/validate.ts'
import { joined } from '../gateway/finding.ts'

/** What is wrong with a spec, in a bounded text. */
export interface BadSpec {
  readonly problem: string
}

/** @returns the spec, of the schema's shape; never throws */
export function readSpec<T extends object>(schema: z.ZodType, object: MeshObject<T>): T | BadSpec {
  try {
    const parsed = schema.safeParse(object.spec ?? {})
    if (parsed.success) return parsed.data as T // the model's types are the schema's
    const notes = parsed.error.issues.map(({ path, message }) =>
      formatFault({ path: ['spec', ...path.map((part) => (typeof part === 'symbol' ? String(part) : part))], message }),
    )
    return { problem: joined(notes) }
  } catch (error) {
    return { problem: messageOf(error) }
  }
}
