// Faults of one entry of an Istio object, noted while it is read: three ways in which something is not in force.
import { RuleNotes } from '../gateway/finding.ts'

/** As RuleNotes: a dropped entry is left out, a broken one answers 500. */
export class EntryNotes extends RuleNotes {
  /** Not in force, but the rest of the entry is as written. */
  readonly ignored: string[] = []

  ignore(field: string, message: string): void {
    this.ignored.push(`${this.path === '' ? '' : `${this.path}.`}${field}: ${message}`)
  }
}
