// Findings -> conditions of a status. Conditions of other types belong to others and stay; a time changes only with the status.
import type { Condition } from '../../model/object.ts'
import type { Finding } from '../translate/gateway/finding.ts'

/** When and of which generation findings are. */
export interface Moment {
  readonly generation: number
  /** RFC 3339. */
  readonly now: string
}

/**
 * @param own types that are ours: those without a finding go
 * @returns the conditions to write; `old` itself when it says the same already
 */
export function mergeConditions(
  old: readonly Condition[] | undefined,
  findings: readonly Finding[],
  own: ReadonlySet<string>,
  { generation, now }: Moment,
): readonly Condition[] {
  const before = Array.isArray(old) ? (old as readonly Condition[]) : []
  const made = findings.map((finding): Condition => {
    const last = before.find(({ type }) => type === finding.type)
    const isSame =
      last?.status === finding.status &&
      last.reason === finding.reason &&
      last.message === finding.message &&
      last.observedGeneration === generation
    if (isSame) return last
    const turnedAt = last?.status === finding.status ? last.lastTransitionTime : undefined
    return { ...finding, observedGeneration: generation, lastTransitionTime: turnedAt ?? now }
  })
  const others = before.filter(({ type }) => !own.has(type))
  const isUnchanged = others.length + made.length === before.length && made.every((condition) => before.includes(condition))
  return isUnchanged ? before : [...others, ...made]
}
