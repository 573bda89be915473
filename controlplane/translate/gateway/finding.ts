// What translation decides about objects of the Gateway API: conditions without times, and the notes from which they are made.
// The status is written from these values and from nothing else, so it cannot say something that is not in force.
import type { ParentReference } from '../../../model/gateway-api.ts'

/** A condition without its times. */
export interface Finding {
  readonly type: string
  readonly status: 'True' | 'False' | 'Unknown'
  readonly reason: string
  readonly message: string
}

/** What is said of a route at one parent. `parentRef` has group and kind written out. */
export interface ParentOutcome {
  readonly parentRef: ParentReference
  readonly findings: readonly Finding[]
}

const MAX_NOTES = 8
const MAX_NOTE_LENGTH = 200

/** @returns a finding of the type `Accepted` */
export function accepted(reason: string, message: string): Finding {
  return { type: 'Accepted', status: reason === 'Accepted' ? 'True' : 'False', reason, message: clip(message, 1024) }
}

/** Joins notes into a bounded message. */
export function joined(notes: readonly string[]): string {
  const more = notes.length > MAX_NOTES ? `; and ${notes.length - MAX_NOTES} more` : ''
  return (
    notes
      .slice(0, MAX_NOTES)
      .map((note) => clip(note, MAX_NOTE_LENGTH))
      .join('; ') + more
  )
}

function clip(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length - 1)}…`
}

/** Faults of one rule of a route, noted while it is read. */
export class RuleNotes {
  /** The matches cannot be read: the rule is left out. */
  readonly dropped: string[] = []
  /** Something else cannot be done as written: the rule matches and its requests are answered 500. */
  readonly broken: string[] = []
  /** References that lead nowhere. */
  readonly unresolved: { readonly reason: string; readonly message: string }[] = []
  readonly path: string

  /** @param path of the rule, `rules[0]` */
  constructor(path: string) {
    this.path = path
  }

  drop(field: string, message: string): void {
    this.dropped.push(`${this.path}.${field}: ${message}`)
  }

  break(field: string, message: string): void {
    this.broken.push(`${this.path}.${field}: ${message}`)
  }

  unresolve(field: string, reason: string, message: string): void {
    this.unresolved.push({ reason, message: `${this.path}.${field}: ${message}` })
  }
}
