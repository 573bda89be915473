// The rules of the house for names that live for ever (error codes, settings, metrics) and for the pages that list them.
import { posix } from 'node:path'
import type { SettingRow } from '../../../kit/settings.ts'
import { generateDocs, readTables, type Table } from '../../../scripts/docs.ts'
import { isProduct } from './rules.ts'
import type { TreeFile } from './tree.ts'
import { lineAt } from './tree.ts'

/** Generated pages that differ from the tables in the code. */
export async function checkPages(files: readonly TreeFile[]): Promise<readonly string[]> {
  const texts = new Map(files.map((file) => [file.path, file.text]))
  return [...(await generateDocs())].flatMap(([path, text]) =>
    texts.get(path) === text ? [] : [`${path}: not what the tables say; run: node scripts/run.mjs docs`],
  )
}

/** Rows that no code uses, names that break the spelling of their kind, metrics that no table knows. */
export async function checkNames(files: readonly TreeFile[]): Promise<readonly string[]> {
  const product = files.filter((file) => isProduct(file.path) && file.path.endsWith('.ts'))
  const tables = await readTables()
  const inMain = product.filter((file) => file.path.endsWith('main.ts') && /^export const \w*(ERRORS|SETTINGS|METRICS)\b/m.test(file.text))
  return [
    ...inMain.map(
      (file) => `${file.path}: exports a table; it belongs into settings.ts or errors.ts, which can be imported without running`,
    ),
    ...tables.flatMap((table) => checkTable(table, product)),
    ...checkMetricLiterals(tables, product),
  ]
}

/** Links between pages that lead nowhere, and error codes in ARCHITECTURE.md and troubleshooting.md that no table has. */
export async function checkProse(files: readonly TreeFile[]): Promise<readonly string[]> {
  const paths = new Set(files.map((file) => file.path))
  const folders = new Set(files.map((file) => posix.dirname(file.path)))
  const links = files
    .filter((file) => file.path.endsWith('.md'))
    .flatMap((file) =>
      [...file.text.matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)].flatMap((match) => {
        const target = match[1] ?? ''
        if (/^[a-z]+:/.test(target)) return []
        const path = posix.join(posix.dirname(file.path), target).replace(/\/$/, '')
        return paths.has(path) || folders.has(path)
          ? []
          : [`${file.path}:${lineAt(file.text, match.index)}: link to ${target}, which does not exist`]
      }),
    )
  const codes = new Set((await readTables()).filter((table) => table.name.endsWith('ERRORS')).flatMap((table) => Object.keys(table.rows)))
  const page = files.find((file) => file.path === 'ARCHITECTURE.md')
  const cells = (page?.text ?? '').split('\n').filter((line) => /^\| \d+ /.test(line))
  const unknown = cells
    .flatMap((line) => [...(line.split('|').at(-2) ?? '').matchAll(/`([A-Z0-9_]+)`/g)].map((match) => match[1] ?? ''))
    .filter((code) => !codes.has(code))
  const ways = files.find((file) => file.path === 'docs/troubleshooting.md')
  const strangers = [...(ways?.text ?? '').matchAll(/^\| `([A-Z0-9_]+)` \|/gm)]
    .map((match) => match[1] ?? '')
    .filter((code) => !codes.has(code))
  return [
    ...links,
    ...unknown.map((code) => `ARCHITECTURE.md: the error code ${code} is in no table`),
    ...strangers.map((code) => `docs/troubleshooting.md: the error code ${code} is in no table`),
  ]
}

function checkTable(table: Table, product: readonly TreeFile[]): string[] {
  if (table.name.endsWith('ERRORS')) {
    return Object.keys(table.rows).flatMap((code) => [
      ...(/^[A-Z][A-Z0-9]*(_[A-Z0-9]+)*$/.test(code) ? [] : [`${table.file}: error code ${code} is not UPPER_SNAKE`]),
      ...(isUsed(new RegExp(`['"\`]${code}['"\`]`), product) ? [] : [`${table.file}: no code fails with ${code}`]),
    ])
  }
  if (table.name.endsWith('SETTINGS')) return checkSettings(table, product)
  if (table.name.endsWith('METRICS') && !Array.isArray(table.rows)) {
    return Object.keys(table.rows).flatMap((name) => [
      ...(/^(istio|weft|process|nodejs|nodeagent|ztunnel)_[a-z0-9_]+$/.test(name)
        ? []
        : [`${table.file}: metric ${name} begins with neither weft_ nor a prefix of Istio's`]),
      ...(isUsed(new RegExp(`['"\`.]${name}\\b`), product) ? [] : [`${table.file}: no code counts ${name}`]),
    ])
  }
  return []
}

function checkSettings(table: Table, product: readonly TreeFile[]): string[] {
  const rows = Object.entries(table.rows as Record<string, SettingRow>)
  const twins = (values: readonly string[]): string[] => values.filter((value, index) => values.indexOf(value) !== index)
  return [
    ...rows.flatMap(([key]) =>
      isUsed(new RegExp(`[.{,\\s]${key}\\b(?!:)`), product) ? [] : [`${table.file}: no code reads the setting ${key}`],
    ),
    ...rows.flatMap(([, row]) =>
      /^--[a-z0-9]+(-[a-z0-9]+)*$/.test(row.flag) ? [] : [`${table.file}: flag ${row.flag} is not kebab-case`],
    ),
    ...twins([...rows.map(([, row]) => row.env), ...rows.map(([, row]) => row.flag)]).map((name) => `${table.file}: ${name} stands twice`),
  ]
}

function checkMetricLiterals(tables: readonly Table[], product: readonly TreeFile[]): string[] {
  const known = new Set(tables.filter((table) => table.name.endsWith('METRICS')).flatMap((table) => Object.keys(table.rows)))
  return product
    .filter((file) => !tables.some((table) => table.file === file.path))
    .flatMap((file) =>
      [...file.text.matchAll(/['"`]((?:istio|weft)_[a-z0-9_]+_(?:total|seconds|bytes|open|count))['"`]/g)]
        .filter((match) => !known.has(match[1] ?? ''))
        .map((match) => `${file.path}:${lineAt(file.text, match.index)}: the metric ${match[1]} is in no table of metrics`),
    )
}

function isUsed(form: RegExp, product: readonly TreeFile[]): boolean {
  return product.some((file) => form.test(file.text))
}
