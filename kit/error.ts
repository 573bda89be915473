// The one error type of the mesh: a stable code, who is at fault, and whether a retry may help.
// Every component keeps a table of rows (errors.ts) and throws through `fail`. Follows pingora-error (source, retry).

/** Who is at fault: `upstream` = the side we dialled, `downstream` = the side that dialled us, `internal` = this process. */
export type ErrorSource = 'upstream' | 'downstream' | 'internal'

/** Whether the same work may be tried again; `if-reused` = only when a pooled connection may have been stale. */
export type Retry = 'no' | 'yes' | 'if-reused'

/** One row of a component's error table. `message` says what happened, `hint` what the operator checks. */
export interface ErrorRow {
  readonly source: ErrorSource
  readonly retry: Retry
  readonly message: string
  readonly hint?: string
  /** Value of the metric label `response_flags`; absent = `-`. */
  readonly flag?: string
  /** HTTP status that a peer sees on a CONNECT; absent = the connection is closed without one. */
  readonly status?: number
}

/** Bounded, printable facts about one failure (addresses, names, numbers), logged as fields. */
export type ErrorDetail = Readonly<Record<string, string | number | boolean | undefined>>

/** An error with a stable `code`; match on `code`, never on the message. */
export class MeshError extends Error {
  readonly code: string
  readonly row: ErrorRow
  readonly detail: ErrorDetail

  constructor(code: string, row: ErrorRow, detail: ErrorDetail = {}, cause?: unknown) {
    super(describe(row, detail, cause), cause === undefined ? undefined : { cause })
    this.name = 'MeshError'
    this.code = code
    this.row = row
    this.detail = detail
  }

  get source(): ErrorSource {
    return this.row.source
  }

  get retry(): Retry {
    return this.row.retry
  }
}

/**
 * Makes the `fail` function of one component.
 * @param table code -> row
 * @returns a function that builds (does not throw) a MeshError of that table
 */
export function failures<Table extends Readonly<Record<string, ErrorRow>>>(
  table: Table,
): (code: keyof Table & string, detail?: ErrorDetail, cause?: unknown) => MeshError {
  return (code, detail, cause) => {
    const row = table[code]
    if (row === undefined) throw new TypeError(`no row for error code ${code}`)
    return new MeshError(code, row, detail, cause)
  }
}

/** The code of any thrown value: a MeshError's, a system error's (`ECONNREFUSED`), else `UNKNOWN`. */
export function codeOf(error: unknown): string {
  if (typeof error !== 'object' || error === null || !('code' in error)) return 'UNKNOWN'
  return typeof error.code === 'string' || typeof error.code === 'number' ? String(error.code) : 'UNKNOWN'
}

/** The message of any thrown value, never empty. */
export function messageOf(error: unknown): string {
  if (error instanceof Error && error.message !== '') return error.message
  return String(error)
}

function describe(row: ErrorRow, detail: ErrorDetail, cause: unknown): string {
  const facts = Object.entries(detail).filter(([, value]) => value !== undefined)
  const list = facts.map(([key, value]) => `${key}=${value}`).join(' ')
  const parts = [row.message + (list === '' ? '' : ` (${list})`)]
  if (cause !== undefined) parts.push(messageOf(cause))
  return parts.join(': ') + (row.hint === undefined ? '' : `; ${row.hint}`)
}

/** Outcome of parsing foreign input: a value, or every fault found in it, one sentence each. */
export type Result<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly errors: readonly string[] }

/** A successful Result. */
export function success<T>(value: T): Result<T> {
  return { ok: true, value }
}

/** A failed Result; at least one fault. */
export function faults(...errors: readonly string[]): { readonly ok: false; readonly errors: readonly string[] } {
  return { ok: false, errors }
}
