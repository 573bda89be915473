// The chart's values: documented, known to the schema, the defaults good.
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { parse } from 'yaml'
import { valueRows, valuesTable } from '../../../deploy/values-table.ts'

const ROOT = join(import.meta.dirname, '../../..')
const CHART = join(ROOT, 'deploy/chart')
const PAGE = join(ROOT, 'docs/kubernetes.md')
const rows = valueRows(readFileSync(join(CHART, 'values.yaml'), 'utf8'))

interface Schema {
  readonly $ref?: string
  readonly properties?: Readonly<Record<string, Schema>>
  readonly additionalProperties?: unknown
  readonly definitions?: Readonly<Record<string, Schema>>
}
const schema = JSON.parse(readFileSync(join(CHART, 'values.schema.json'), 'utf8')) as Schema

describe('values of the chart', () => {
  it('every value says what it does', () => {
    assert.ok(rows.length > 40)
    assert.deepEqual(
      rows.filter(({ help }) => help === '').map(({ name }) => name),
      [],
    )
  })

  it('the schema knows every value, and no other', () => {
    const known = (at: Schema, prefix: string): string[] =>
      Object.entries(at.properties ?? {}).flatMap(([name, child]) =>
        child.properties === undefined || child.$ref !== undefined ? [`${prefix}${name}`] : known(child, `${prefix}${name}.`),
      )
    const names = known(schema, '').filter((name) => name !== 'global') // Helm's own
    assert.deepEqual([...names].sort(), rows.map(({ name }) => name).sort())
  })

  it("every object in the schema is closed, unless its keys are the user's", () => {
    const open = (at: Schema, path: string): string[] => [
      ...(at.properties !== undefined && at.additionalProperties !== false ? [path] : []),
      ...Object.entries(at.properties ?? {}).flatMap(([name, child]) => open(child, `${path}.${name}`)),
    ]
    assert.deepEqual(open(schema, 'values'), [])
  })

  it('the defaults are good', () => {
    const values: unknown = parse(readFileSync(join(CHART, 'values.yaml'), 'utf8'))
    z.fromJSONSchema(schema as Parameters<typeof z.fromJSONSchema>[0]).parse(values)
  })

  it('the version is that of the package', () => {
    const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string }
    const chart = parse(readFileSync(join(CHART, 'Chart.yaml'), 'utf8')) as Record<string, unknown>
    assert.deepEqual([chart.version, chart.appVersion], [version, version])
  })

  it('docs/kubernetes.md has the table', () => {
    const page = readFileSync(PAGE, 'utf8')
    const wanted = page.replace(
      /(<!-- values:.*-->\n)[\s\S]*(<!-- \/values -->)/,
      (_, before: string, after: string) => `${before}${valuesTable(rows)}\n${after}`,
    )
    if (process.env.UPDATE === '1') writeFileSync(PAGE, wanted)
    else assert.equal(page, wanted, 'UPDATE=1 writes it')
  })
})
