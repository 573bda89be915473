// Readers of what is typed behind options and arguments; what they refuse ends the command with status 2.
import { readFileSync } from 'node:fs'
import { InvalidArgumentError } from 'commander'
import { messageOf } from '../kit/error.ts'
import { type KindRow, KINDS, kindByAnyName } from '../objects/kinds.ts'
import { isMeshName } from '../runtime/layout.ts'
import { isCaBundle, isCollectorUrl, isPercent } from '../telemetry/trace-settings.ts'
import type { Format } from './output.ts'

/** `--name`. */
export function parseMeshName(text: string): string {
  if (!isMeshName(text)) throw new InvalidArgumentError('The name of a mesh has 1 to 32 characters a-z, 0-9 and -.')
  return text
}

/** `-o`. */
export function parseFormat(text: string): Format {
  if (text === 'table' || text === 'json' || text === 'yaml') return text
  throw new InvalidArgumentError('Use table, json or yaml.')
}

/** A kind by any of its names: `pod`, `pods`, `po`. */
export function parseKind(text: string): KindRow {
  const row = kindByAnyName(text)
  if (row === undefined) throw new InvalidArgumentError(`Use one of ${KINDS.map((one) => one.plural).join(', ')}.`)
  return row
}

/** @returns a reader of whole numbers from `least` to `most` */
export function countFrom(least: number, most: number): (text: string) => number {
  return (text) => {
    const number = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN
    if (!(number >= least && number <= most)) throw new InvalidArgumentError(`A number from ${least} to ${most} is needed.`)
    return number
  }
}

/** `--tracing-endpoint`. */
export function parseCollector(text: string): string {
  if (!isCollectorUrl(text)) throw new InvalidArgumentError('http://host:port or https://host:port is needed.')
  return text
}

/** `--tracing-ca`: a file. @returns what is in it */
export function readCaBundle(path: string): string {
  let text = ''
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    throw new InvalidArgumentError(messageOf(error))
  }
  if (!isCaBundle(text)) throw new InvalidArgumentError('A file of certificates in PEM is needed.')
  return text
}

/** `--tracing-sampling`. */
export function parsePercent(text: string): string {
  if (!isPercent(text)) throw new InvalidArgumentError('A number from 0 to 100 is needed.')
  return text
}

/** One of `key=value` (sets) and `key-` (removes, null), put to those read before. */
export function collectLabel(text: string, all: Readonly<Record<string, string | null>> = {}): Record<string, string | null> {
  const at = text.indexOf('=')
  if (at > 0) return { ...all, [text.slice(0, at)]: text.slice(at + 1) }
  if (text.endsWith('-') && text.length > 1) return { ...all, [text.slice(0, -1)]: null }
  throw new InvalidArgumentError('It is neither key=value nor key-.')
}
