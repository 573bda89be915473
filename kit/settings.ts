// Settings of a process as one table: environment name, flag, default, unit and help of each in one row; parser, --help,
// docs and the dump come from it. Every bad value is reported at once. Follows linkerd2-proxy:linkerd/app/src/env.rs.

type Kind = { text: string; count: number; duration: number; bytes: number; switch: boolean }

/** One setting. `duration` is milliseconds (`250ms`, `10s`, `5m`, `24h`), `bytes` takes `64KiB`, `4MiB`; `switch` true|false. */
export type SettingRow = {
  [K in keyof Kind]: {
    readonly type: K
    readonly env: string
    readonly flag: string
    /** `undefined` = required; `''` for text = absent. */
    readonly default: Kind[K] | undefined
    readonly help: string
    /** Shown as `(hidden)` in dumps. */
    readonly secret?: boolean
  }
}[keyof Kind]

/** The parsed values of a table. */
export type Settings<Table extends Readonly<Record<string, SettingRow>>> = { readonly [K in keyof Table]: Kind[Table[K]['type']] }

/** Either all values, or every fault in the input as one sentence each. */
export type ParsedSettings<Table extends Readonly<Record<string, SettingRow>>> =
  | { readonly ok: true; readonly value: Settings<Table> }
  | { readonly ok: false; readonly errors: readonly string[] }

/**
 * Reads settings: a flag beats its environment variable, which beats the default.
 * @param args `--flag value` or `--flag=value`; a bare `--flag` sets a switch
 * @param env a plain map; names that begin with `prefix` and are unknown are errors (a typo is never ignored)
 */
export function parseSettings<Table extends Readonly<Record<string, SettingRow>>>(
  table: Table,
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  prefix = 'WEFT_',
): ParsedSettings<Table> {
  const errors: string[] = []
  const given = new Map<string, { text: string; from: string }>()
  const rows = Object.entries(table)
  for (const [key, row] of rows) {
    const text = env[row.env]
    if (text !== undefined && text !== '') given.set(key, { text, from: row.env })
  }
  const known = new Set(rows.map(([, row]) => row.env))
  for (const name of Object.keys(env)) {
    if (name.startsWith(prefix) && !known.has(name)) errors.push(`${name}: no such setting`)
  }
  readFlags(rows, args, given, errors)
  const value: Record<string, unknown> = {}
  for (const [key, row] of rows) {
    const entry = given.get(key)
    if (entry !== undefined) {
      const parsed = parseValue(row.type, entry.text)
      if (parsed === undefined)
        errors.push(`${entry.from}: ${row.secret === true ? 'value' : JSON.stringify(entry.text)} is not ${EXPECTED[row.type]}`)
      else value[key] = parsed
    } else if (row.default === undefined) errors.push(`${row.env} or ${row.flag} is required: ${row.help}`)
    else value[key] = row.default
  }
  return errors.length === 0 ? { ok: true, value: value as Settings<Table> } : { ok: false, errors }
}

/** The running values for a dump, secrets hidden. */
export function dumpSettings<Table extends Readonly<Record<string, SettingRow>>>(
  table: Table,
  value: Settings<Table>,
): Record<string, unknown> {
  return Object.fromEntries(Object.entries(table).map(([key, row]) => [key, row.secret === true ? '(hidden)' : value[key]]))
}

/** `--help` text of a table, one line per row. */
export function helpSettings(table: Readonly<Record<string, SettingRow>>): string {
  const lines = Object.values(table).map((row) => {
    const standard = row.default === undefined ? 'required' : row.default === '' ? 'unset' : `default ${formatValue(row)}`
    return `  ${row.flag.padEnd(28)} ${row.help} (${standard}; ${row.env})`
  })
  return lines.join('\n')
}

const EXPECTED: Record<keyof Kind, string> = {
  text: 'text',
  count: 'a whole number ≥ 0',
  duration: 'a duration such as 250ms, 10s, 5m or 24h',
  bytes: 'a size such as 64KiB or 4MiB',
  switch: 'true or false',
}
const DURATION_MS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }
const SIZE_BYTES: Record<string, number> = { '': 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 }

function readFlags(
  rows: [string, SettingRow][],
  args: readonly string[],
  given: Map<string, { text: string; from: string }>,
  errors: string[],
): void {
  for (let i = 0; i < args.length; i++) {
    const [flag = '', ...rest] = (args[i] ?? '').split('=')
    const found = rows.find(([, row]) => row.flag === flag)
    if (found === undefined) {
      errors.push(`${flag}: no such flag`)
      continue
    }
    const [key, row] = found
    if (rest.length > 0) given.set(key, { text: rest.join('='), from: flag })
    else if (row.type === 'switch') given.set(key, { text: 'true', from: flag })
    else if (args[i + 1] === undefined) errors.push(`${flag}: a value must follow`)
    else given.set(key, { text: args[++i] ?? '', from: flag })
  }
}

function parseValue(type: keyof Kind, text: string): string | number | boolean | undefined {
  switch (type) {
    case 'text':
      return text
    case 'switch':
      return text === 'true' ? true : text === 'false' ? false : undefined
    case 'count':
      return /^\d{1,15}$/.test(text) ? Number(text) : undefined
    case 'duration':
      return scaled(text, /^(\d{1,12})(ms|s|m|h)$/, DURATION_MS)
    case 'bytes':
      return scaled(text, /^(\d{1,12})(KiB|MiB|GiB|)$/, SIZE_BYTES)
  }
}

function scaled(text: string, form: RegExp, units: Record<string, number>): number | undefined {
  const match = form.exec(text)
  const unit = match === null ? undefined : units[match[2] ?? '']
  return match === null || unit === undefined ? undefined : Number(match[1]) * unit
}

function formatValue(row: SettingRow): string {
  if (row.type !== 'duration' || row.default === undefined) return String(row.default)
  const ms = row.default
  return ms % 1000 === 0 ? `${ms / 1000}s` : `${ms}ms`
}
