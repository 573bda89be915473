// What the chart's schema says of a value, for the sentence that refuses it: a pattern says little to who typed the value.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

interface Schema {
  readonly $ref?: string
  readonly description?: string
  readonly properties?: Readonly<Record<string, Schema>>
  readonly additionalProperties?: Schema | boolean
  readonly items?: Schema
  readonly definitions?: Readonly<Record<string, Schema>>
}

/**
 * Turns one line of helm's refusal into plain words.
 * @param line e.g. `at '/image/name': 'A B' does not match pattern '…'`
 * @param chart folder of the chart
 * @returns e.g. `image.name: 'A B' is not an image such as registry.example/weft:1.0`
 */
export function readRefusal(line: string, chart: string): string {
  const [, pointer = '', words = line] = /^at '([^']*)': (.*)$/.exec(line) ?? []
  const path = pointer.split('/').filter((part) => part !== '')
  const said = inWords(words, path, chart)
  return path.length === 0 ? said : `${path.join('.')}: ${said}`
}

function inWords(words: string, path: readonly string[], chart: string): string {
  const unknown = /^additional propert(?:y|ies) (.*?) not allowed$/i.exec(words)?.[1]
  if (unknown !== undefined) return `there is no value ${unknown}`
  const refused = /^('.*') does not match pattern /s.exec(words)?.[1]
  if (refused === undefined) return words
  const expected = describe(path, chart)
  return expected === undefined ? words : `${refused} is not ${expected}`
}

function describe(path: readonly string[], chart: string): string | undefined {
  const root = JSON.parse(readFileSync(join(chart, 'values.schema.json'), 'utf8')) as Schema
  const resolved = (schema: Schema | undefined): Schema | undefined => {
    const name = schema?.$ref?.split('/').at(-1)
    return name === undefined ? schema : root.definitions?.[name]
  }
  let at: Schema | undefined = root
  for (const part of path) {
    const more: Schema | boolean | undefined = at?.additionalProperties
    at = resolved(at?.properties?.[part] ?? at?.items ?? (typeof more === 'object' ? more : undefined))
  }
  return at?.description
}
