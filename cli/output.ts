// What commands print: tables, JSON, YAML, and errors as one sentence on standard error.
import { stringify } from 'yaml'
import { MeshError, messageOf } from '../kit/error.ts'

/** Formats that `-o` takes. */
export type Format = 'table' | 'json' | 'yaml'

/** Prints one line. */
export function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

/** Prints a line of progress or warning; standard error, so that it never mixes with results. */
export function printNote(text: string): void {
  process.stderr.write(`${text}\n`)
}

/** Columns padded to the widest cell, two spaces between them. */
export function formatTable(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [header, ...rows]
  const widths = header.map((_, column) => Math.max(...all.map((row) => (row[column] ?? '').length)))
  return all
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

/** A value as `-o json` or `-o yaml`. */
export function formatValue(value: unknown, format: 'json' | 'yaml'): string {
  return format === 'json' ? JSON.stringify(value, null, 2) : stringify(value).trimEnd()
}

/** One sentence for the person who typed the command. */
export function sentenceOf(error: unknown): string {
  if (!(error instanceof MeshError)) return messageOf(error)
  const { what: said, file } = error.detail
  if (typeof said !== 'string') return error.message
  const what = typeof file === 'string' && !said.includes(file) ? `${file}: ${said}` : said
  return error.row.hint === undefined ? what : `${what}; ${error.row.hint}`
}

/** `31.4 MiB` */
export function formatBytes(bytes: number | undefined): string {
  return bytes === undefined ? '-' : `${(bytes / 1024 / 1024).toFixed(1)} MiB`
}

/** `5s`, `3m`, `2h`, `4d` since a time. */
export function formatAge(iso: string | undefined, nowMs: number): string {
  if (iso === undefined) return '-'
  const seconds = Math.max(0, Math.round((nowMs - Date.parse(iso)) / 1000))
  if (seconds < 120) return `${seconds}s`
  if (seconds < 7200) return `${Math.floor(seconds / 60)}m`
  return seconds < 172_800 ? `${Math.floor(seconds / 3600)}h` : `${Math.floor(seconds / 86_400)}d`
}
