// Writes docs/errors.md, docs/settings.md and docs/metrics.md from the tables in the code (`node scripts/run.mjs docs`).
// The house test compares the committed pages with what this makes, so that neither knows a name that the other does not.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { ErrorRow } from '../kit/error.ts'
import type { SettingRow } from '../kit/settings.ts'

const ROOT = join(import.meta.dirname, '..')
const COMPONENTS =
  /^(kit|model|linux|certs|policy|telemetry|hbone|xds|zds|bpf|objects|tap|state|identity|http|ztunnel|waypoint|controlplane|cni|dashboard|runtime|cli)\//
const TABLE = /^export const (\w*(?:ERRORS|SETTINGS|METRICS|LABELS))\b/gm
const SOURCE_WORDS = { upstream: 'the side that was dialled', downstream: 'the side that dialled', internal: 'this process' } as const

/** One exported table: the file that owns it, its name, its rows. */
export interface Table {
  readonly file: string
  readonly name: string
  readonly rows: Readonly<Record<string, unknown>> | readonly string[]
}

/** The generated pages: path from the root of the checkout -> text. */
export async function generateDocs(): Promise<ReadonlyMap<string, string>> {
  const tables = await readTables()
  return new Map([
    ['docs/errors.md', errorsPage(tables.filter((table) => table.name.endsWith('ERRORS')))],
    ['docs/settings.md', settingsPage(tables.filter((table) => table.name.endsWith('SETTINGS')))],
    ['docs/metrics.md', metricsPage(tables.filter((table) => /(METRICS|LABELS)$/.test(table.name)))],
  ])
}

/**
 * Imports every file that exports a table (`*ERRORS`, `*SETTINGS`, `*METRICS`, `*LABELS`), in the order of their paths; a main.ts is left out.
 * @throws Error naming the file that cannot be imported
 */
export async function readTables(): Promise<readonly Table[]> {
  const files = readdirSync(ROOT, { recursive: true, encoding: 'utf8' })
    .filter((path) => COMPONENTS.test(path) && path.endsWith('.ts') && !path.endsWith('main.ts')) // importing a main.ts would run it
    .sort()
  const tables: Table[] = []
  for (const file of files) {
    const names = [...readFileSync(join(ROOT, file), 'utf8').matchAll(TABLE)].map((match) => match[1] ?? '')
    if (names.length === 0) continue
    const module: Record<string, unknown> = await import(pathToFileURL(join(ROOT, file)).href).catch((cause) => {
      throw new Error(`${file} cannot be imported`, { cause })
    })
    for (const name of names) tables.push({ file, name, rows: module[name] as Table['rows'] })
  }
  return tables
}

function errorsPage(tables: readonly Table[]): string {
  const sections = tables.map((table) => {
    const rows = Object.entries(table.rows as Record<string, ErrorRow>).map(([code, row]) => [
      `\`${code}\``,
      row.message,
      SOURCE_WORDS[row.source],
      row.retry,
      row.flag === undefined ? '' : `\`${row.flag}\``,
      row.status === undefined ? '' : String(row.status),
      row.hint ?? '',
    ])
    return section(table, ['code', 'what happened', 'at fault', 'retry helps', 'response flag', 'status', 'what to check'], rows)
  })
  return page('Errors', 'Every error has a stable code, in log lines as `code`. The response flag is a label of the metrics.', sections)
}

function settingsPage(tables: readonly Table[]): string {
  const sections = tables.map((table) => {
    const rows = Object.values(table.rows as Record<string, SettingRow>).map((row) => [
      `\`${row.flag}\``,
      `\`${row.env}\``,
      row.type,
      defaultOf(row),
      row.help + (row.secret === true ? ' (secret: hidden in dumps)' : ''),
    ])
    return section(table, ['flag', 'environment', 'type', 'default', 'what it does'], rows)
  })
  const intro =
    'A flag beats its environment variable, which beats the default. Durations read `250ms`, `10s`, `5m`, `24h`; sizes `64KiB`, `4MiB`.'
  return page('Settings', intro, sections)
}

function metricsPage(tables: readonly Table[]): string {
  const sections = tables.map((table) => {
    if (Array.isArray(table.rows)) {
      return `## ${titleOf(table)}\n\nFrom \`${table.file}\`.\n\n${table.rows.map((label) => `- \`${label}\``).join('\n')}\n`
    }
    const rows = Object.entries(table.rows as Record<string, unknown>).map(([name, row]) => [`\`${name}\``, helpOf(row)])
    return `## ${titleOf(table)}\n\nFrom \`${table.file}\`.\n\n${grid(['metric', 'what it counts'], rows)}`
  })
  return page('Metrics', 'In the format of Prometheus, on the port that ARCHITECTURE.md names for the process.', sections)
}

function page(title: string, intro: string, sections: readonly string[]): string {
  return `<!-- Written by scripts/docs.ts from the tables in the code: change them there, then run \`node scripts/run.mjs docs\`. -->\n# ${title}\n\n${intro}\n\n${sections.join('\n')}`
}

function section(table: Table, columns: readonly string[], rows: readonly (readonly string[])[]): string {
  return `## ${table.file.split('/').slice(0, -1).join('/')}\n\nFrom \`${table.file}\`.\n\n${grid(columns, rows)}`
}

function grid(columns: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |\n`
  return line(columns) + line(columns.map(() => '---')) + rows.map(line).join('')
}

function titleOf(table: Table): string {
  return `${table.file.split('/')[0] ?? ''}: ${table.name.toLowerCase().replaceAll('_', ' ')}`
}

function helpOf(row: unknown): string {
  if (typeof row === 'string') return row
  return typeof row === 'object' && row !== null && 'help' in row ? String(row.help) : ''
}

function defaultOf(row: SettingRow): string {
  if (row.default === undefined) return '(required)'
  if (row.default === '') return '(unset)'
  if (row.type === 'duration') return `\`${row.default % 1000 === 0 ? `${row.default / 1000}s` : `${row.default}ms`}\``
  if (row.type === 'bytes') return `\`${row.default % 2 ** 20 === 0 ? `${row.default / 2 ** 20}MiB` : `${row.default / 2 ** 10}KiB`}\``
  return `\`${row.default}\``
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  for (const [path, text] of await generateDocs()) writeFileSync(join(ROOT, path), text)
}
