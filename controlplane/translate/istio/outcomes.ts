// What is said of VirtualServices, DestinationRules and RateLimitPolicies: one condition, made from what is in force and from
// nothing else. `PartiallyInvalid` names the fields that are not.
import { accepted, type Finding, joined } from '../gateway/finding.ts'
import type { ClaimVerdict } from './compose.ts'
import type { ParsedVirtualService } from './virtual-service.ts'

/** Type of the condition on Istio's objects, which other controllers may write to as well. */
export const ISTIO_CONDITION = 'weft.dev/Accepted'

/** What is not in force of an object that is otherwise. */
export interface Shortcomings {
  readonly ignored: readonly string[]
  readonly dropped: readonly string[]
  readonly broken: readonly string[]
  readonly unresolved: readonly string[]
  /** Whole sentences. */
  readonly others: readonly string[]
}

/** Accepted, in part or as a whole. */
export function verdictOf(type: string, { ignored, dropped, broken, unresolved, others }: Shortcomings): Finding {
  const texts = [
    ...section('not in force', [...dropped, ...ignored]),
    ...section('answered 500', broken),
    ...section('requests to them are answered 500', unresolved),
    ...others,
  ]
  if (texts.length === 0) return { type, status: 'True', reason: 'Accepted', message: 'in force' }
  return { ...accepted('Accepted', texts.join('. ')), type, reason: 'PartiallyInvalid' }
}

/** Nothing of it is in force. */
export function refusal(type: string, reason: string, message: string): Finding {
  return { ...accepted(reason, message), type }
}

/**
 * What is said of a VirtualService.
 * @param verdicts by port of a service, `HOST:PORT`
 * @param unboundHosts hosts that stand for no service whose requests it could take, each with the reason
 */
export function virtualServiceFinding(
  parsed: ParsedVirtualService,
  verdicts: ReadonlyMap<string, ClaimVerdict>,
  unboundHosts: readonly string[],
): Finding {
  if (parsed.problem !== undefined) return refusal(ISTIO_CONDITION, 'Invalid', `nothing is in force: ${parsed.problem}`)
  const places = [...verdicts]
  if (places.length === 0) return refusal(ISTIO_CONDITION, 'HostNotFound', joined(unboundHosts))
  const notes = places.flatMap(([, verdict]) => verdict.notes)
  const dropped = new Set(notes.flatMap((note) => note.dropped))
  const broken = new Set(notes.filter((note) => note.dropped.length === 0).flatMap((note) => note.broken))
  const conflicts = places.flatMap(([place, { conflict }]) => (conflict === undefined ? [] : [`${place}: ${conflict}`]))
  if (places.every(([, { isRefused }]) => isRefused)) return refusal(ISTIO_CONDITION, 'Conflicted', joined(conflicts))
  if (dropped.size === 0 && places.every(([, { isEmpty }]) => isEmpty))
    return refusal(
      ISTIO_CONDITION,
      'NoMatchingPort',
      `no entry is about a port that carries HTTP: ${joined(places.map(([place]) => place))}`,
    )
  const isGood = (parsed.spec.http ?? []).some(
    (_, i) => !notes.some((note) => note.path === `http[${i}]` && note.dropped.length + note.broken.length > 0),
  )
  const message = [...section('not in force', [...dropped]), ...section('answered 500', [...broken])].join('. ')
  if (!isGood) return refusal(ISTIO_CONDITION, 'Invalid', message)
  const missed = new Set(places.flatMap(([, verdict]) => verdict.missed))
  return verdictOf(ISTIO_CONDITION, {
    ignored: [...new Set([...parsed.ignored, ...notes.flatMap((note) => note.ignored)])],
    dropped: [...dropped],
    broken: [...broken],
    unresolved: [...new Set(notes.flatMap((note) => note.unresolved.map((each) => each.message)))],
    others: [
      ...section('not everywhere', conflicts),
      ...section('faults are not in force on routes whose match cannot be combined with theirs', [...missed]),
      ...section('without effect', unboundHosts),
    ],
  })
}

function section(title: string, notes: readonly string[]): string[] {
  return notes.length === 0 ? [] : [`${title}: ${joined(notes)}`]
}
