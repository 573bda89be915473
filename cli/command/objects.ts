// weft apply, delete, get, label: objects of the mesh. They change the mesh's store, never the user's files.
import { readFileSync } from 'node:fs'
import type { Command } from 'commander'
import { systemClock } from '../../kit/clock.ts'
import type { MeshObject } from '../../model/object.ts'
import type { ObjectClient } from '../../objects/client.ts'
import { type ParsedDocument, parseFile } from '../../objects/document.ts'
import { objectFailure } from '../../objects/errors.ts'
import { KINDS, type KindRow, kindByAnyName, kindOf } from '../../objects/kinds.ts'
import { formatDocumentFault, listFiles } from '../../runtime/seed.ts'
import { connectMesh } from '../connect.ts'
import { type Format, formatTable, formatValue, print, printNote, sentenceOf } from '../output.ts'
import { columnsOf } from '../columns.ts'

interface FileFlags {
  readonly file: string
  readonly namespace: string
  readonly name: string
}

/** Registers apply, delete, get and label. */
export function registerObjects(program: Command, defaultName: string): void {
  program
    .command('apply')
    .description("put objects of YAML files into the mesh (the user's files are not changed)")
    .requiredOption('-f, --file <PATH>', 'file or directory; - reads standard input')
    .option('-n, --namespace <NS>', 'for objects that name none', 'default')
    .option('--name <NAME>', 'name of the mesh', defaultName)
    .action(applyFiles)
  program
    .command('delete')
    .description('delete objects: those of files, or one by kind and name')
    .argument('[KIND]', 'kind, such as pod or service')
    .argument('[OBJECT]', 'name of the object')
    .option('-f, --file <PATH>', 'file or directory; - reads standard input')
    .option('-n, --namespace <NS>', 'namespace', 'default')
    .option('--name <NAME>', 'name of the mesh', defaultName)
    .action(deleteObjects)
  program
    .command('get')
    .description('show objects')
    .argument('<KIND>', `kind: ${KINDS.map((row) => row.plural).join(', ')}`)
    .argument('[OBJECT]', 'name of one object')
    .option('-n, --namespace <NS>', 'namespace; default all')
    .option('-o, --output <FORMAT>', 'table, json or yaml', 'table')
    .option('--name <NAME>', 'name of the mesh', defaultName)
    .action(getObjects)
  program
    .command('label')
    .description('set (key=value) or remove (key-) labels')
    .argument('<KIND>', 'kind, such as namespace or pod')
    .argument('<OBJECT>', 'name of the object')
    .argument('<LABELS...>', 'key=value or key-')
    .option('-n, --namespace <NS>', 'namespace of the object', 'default')
    .option('--name <NAME>', 'name of the mesh', defaultName)
    .action(labelObject)
}

/**
 * `key=value` sets, `key-` removes.
 * @throws MeshError BAD_REQUEST naming the bad part
 */
export function parseLabels(words: readonly string[]): Record<string, string | null> {
  const result: Record<string, string | null> = {}
  for (const word of words) {
    const at = word.indexOf('=')
    if (at > 0) result[word.slice(0, at)] = word.slice(at + 1)
    else if (word.endsWith('-') && word.length > 1) result[word.slice(0, -1)] = null
    else throw objectFailure('BAD_REQUEST', { what: `${JSON.stringify(word)} is neither key=value nor key-` })
  }
  return result
}

async function applyFiles(flags: FileFlags): Promise<void> {
  using client = connectMesh(flags.name)
  const { documents, faultCount } = readDocuments(flags)
  const order = KINDS.map((row) => row.kind)
  let failed = faultCount
  for (const { object, file, line } of documents.toSorted((a, b) => order.indexOf(a.object.kind) - order.indexOf(b.object.kind))) {
    try {
      const stored = await client.apply(object)
      print(`${describe(stored)} applied`)
    } catch (error) {
      failed++
      printNote(`weft: ${file}:${line}: ${sentenceOf(error)}`)
    }
  }
  if (failed > 0) process.exitCode = 1
}

async function deleteObjects(kind: string | undefined, name: string | undefined, flags: Partial<FileFlags> & FileFlags): Promise<void> {
  using client = connectMesh(flags.name)
  if (flags.file !== undefined) {
    const { documents, faultCount } = readDocuments(flags)
    for (const { object } of documents.toReversed()) await deleteOne(client, object)
    if (faultCount > 0) process.exitCode = 1
    return
  }
  if (kind === undefined || name === undefined) throw objectFailure('BAD_REQUEST', { what: 'KIND and OBJECT, or -f PATH, are needed' })
  const row = rowOf(kind)
  await client.delete(row.plural, row.isNamespaced ? flags.namespace : undefined, name)
  print(`${row.kind.toLowerCase()}/${name} deleted`)
}

async function deleteOne(client: ObjectClient, object: MeshObject): Promise<void> {
  const row = kindOf(object.apiVersion, object.kind)
  if (row === undefined) return
  try {
    await client.delete(row.plural, object.metadata.namespace, object.metadata.name)
    print(`${describe(object)} deleted`)
  } catch (error) {
    process.exitCode = 1
    printNote(`weft: ${describe(object)}: ${sentenceOf(error)}`)
  }
}

async function getObjects(
  kind: string,
  name: string | undefined,
  flags: { namespace?: string; output: string; name: string },
): Promise<void> {
  using client = connectMesh(flags.name)
  const format = formatOf(flags.output)
  const row = rowOf(kind)
  if (name !== undefined) {
    const object = await client.get(row.plural, row.isNamespaced ? (flags.namespace ?? 'default') : undefined, name)
    return print(format === 'table' ? tableOf(row, [object]) : formatValue(object, format))
  }
  const { items } = await client.list(row.plural, row.isNamespaced ? flags.namespace : undefined)
  if (format !== 'table') return print(formatValue({ apiVersion: 'v1', kind: 'List', items }, format))
  print(items.length === 0 ? `no ${row.plural}` : tableOf(row, items))
}

async function labelObject(kind: string, name: string, words: string[], flags: { namespace: string; name: string }): Promise<void> {
  using client = connectMesh(flags.name)
  const row = rowOf(kind)
  const stored = await client.patch(row.plural, row.isNamespaced ? flags.namespace : undefined, name, {
    metadata: { labels: parseLabels(words) },
  })
  print(`${describe(stored)} labelled`)
}

/** @throws MeshError BAD_REQUEST */
export function formatOf(text: string): Format {
  if (text === 'table' || text === 'json' || text === 'yaml') return text
  throw objectFailure('BAD_REQUEST', { what: `-o ${text}: use table, json or yaml` })
}

function readDocuments(flags: FileFlags): { documents: ParsedDocument[]; faultCount: number } {
  const files = flags.file === '-' ? [{ path: '/dev/stdin' }] : listFiles(flags.file)
  const parsed = files.map(({ path }) =>
    parseFile(readFileSync(path, 'utf8'), flags.file === '-' ? 'standard input' : path, flags.namespace),
  )
  const faults = parsed.flatMap((one) => one.faults)
  for (const fault of faults) printNote(`weft: ${formatDocumentFault(fault)}`)
  for (const kind of new Set(parsed.flatMap((one) => one.unknown)))
    printNote(`weft: ${kind}: this kind is not known; documents of it are ignored`)
  return { documents: parsed.flatMap((one) => one.documents), faultCount: faults.length }
}

function tableOf(row: KindRow, objects: readonly MeshObject[]): string {
  const columns = columnsOf(row)
  const nowMs = systemClock.nowMs()
  return formatTable(
    columns.map((column) => column.title),
    objects.map((object) => columns.map((column) => column.cell(object, nowMs))),
  )
}

function rowOf(kind: string): KindRow {
  const row = kindByAnyName(kind)
  if (row === undefined)
    throw objectFailure('UNKNOWN_KIND', { what: `the kind ${kind} is not known: use one of ${KINDS.map((one) => one.plural).join(', ')}` })
  return row
}

function describe(object: MeshObject): string {
  const { namespace, name } = object.metadata
  return `${object.kind.toLowerCase()}/${namespace === undefined ? '' : `${namespace}/`}${name}`
}
