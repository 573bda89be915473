// weft apply, delete, get, label: objects of a local mesh or of a cluster (there by server-side apply), never the user's files.
import { readFileSync } from 'node:fs'
import { type Command, InvalidArgumentError } from 'commander'
import { systemClock } from '../../kit/clock.ts'
import type { MeshObject } from '../../model/object.ts'
import type { ObjectApi } from '../../objects/api.ts'
import { type ParsedDocument, parseFile } from '../../objects/document.ts'
import { KINDS, type KindRow, kindOf } from '../../objects/kinds.ts'
import { formatDocumentFault, listFiles } from '../../runtime/seed.ts'
import { findTarget, openApi, type TargetFlags, withTarget } from '../connect.ts'
import { collectLabel, parseFormat, parseKind } from '../options.ts'
import { type Format, formatTable, formatValue, print, printNote, sentenceOf } from '../output.ts'
import { columnsOf } from '../columns.ts'

interface FileFlags extends TargetFlags {
  readonly file: string
  readonly namespace: string
}

/** Registers apply, delete, get and label. */
export function registerObjects(program: Command): void {
  withTarget(program.command('apply'))
    .description("put objects of YAML files into the mesh (the user's files are not changed)")
    .requiredOption('-f, --file <PATH>', 'file or directory; - reads standard input')
    .option('-n, --namespace <NS>', 'for objects that name none', 'default')
    .action(applyFiles)
  withTarget(program.command('delete'))
    .description('delete objects: those of files, or one by kind and name')
    .argument('[KIND]', 'kind, such as pod or service', parseKind)
    .argument('[OBJECT]', 'name of the object')
    .option('-f, --file <PATH>', 'file or directory; - reads standard input')
    .option('-n, --namespace <NS>', 'namespace', 'default')
    .action(deleteObjects)
  withTarget(program.command('get'))
    .description('show objects')
    .argument('<KIND>', `kind: ${KINDS.map((row) => row.plural).join(', ')}`, parseKind)
    .argument('[OBJECT]', 'name of one object')
    .option('-n, --namespace <NS>', 'namespace; default all')
    .option('-o, --output <FORMAT>', 'table, json or yaml', parseFormat, 'table')
    .action(getObjects)
  withTarget(program.command('label'))
    .description('set (key=value) or remove (key-) labels')
    .argument('<KIND>', 'kind, such as namespace or pod', parseKind)
    .argument('<OBJECT>', 'name of the object')
    .argument('<LABELS...>', 'key=value or key-', collectLabel)
    .option('-n, --namespace <NS>', 'namespace of the object', 'default')
    .action(labelObject)
}

async function applyFiles(flags: FileFlags): Promise<void> {
  using client = openApi(findTarget(flags, 'change'))
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

async function deleteObjects(row: KindRow | undefined, name: string | undefined, flags: Partial<FileFlags> & FileFlags): Promise<void> {
  if (flags.file === undefined && (row === undefined || name === undefined))
    throw new InvalidArgumentError('KIND and OBJECT, or -f PATH, are needed')
  using client = openApi(findTarget(flags, 'change'))
  if (flags.file !== undefined) {
    const { documents, faultCount } = readDocuments(flags)
    for (const { object } of documents.toReversed()) await deleteOne(client, object)
    if (faultCount > 0) process.exitCode = 1
    return
  }
  if (row === undefined || name === undefined) return
  await client.delete(row.plural, row.isNamespaced ? flags.namespace : undefined, name)
  print(`${row.kind.toLowerCase()}/${name} deleted`)
}

async function deleteOne(client: ObjectApi, object: MeshObject): Promise<void> {
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
  row: KindRow,
  name: string | undefined,
  flags: TargetFlags & { namespace?: string; output: Format },
): Promise<void> {
  using client = openApi(findTarget(flags, 'read'))
  const format = flags.output
  if (name !== undefined) {
    const object = await client.get(row.plural, row.isNamespaced ? (flags.namespace ?? 'default') : undefined, name)
    return print(format === 'table' ? tableOf(row, [object]) : formatValue(object, format))
  }
  const { items } = await client.list(row.plural, row.isNamespaced ? flags.namespace : undefined)
  if (format !== 'table') return print(formatValue({ apiVersion: 'v1', kind: 'List', items }, format))
  print(items.length === 0 ? `no ${row.plural}` : tableOf(row, items))
}

async function labelObject(
  row: KindRow,
  name: string,
  labels: Record<string, string | null>,
  flags: TargetFlags & { namespace: string },
): Promise<void> {
  using client = openApi(findTarget(flags, 'change'))
  const stored = await client.patch(row.plural, row.isNamespaced ? flags.namespace : undefined, name, {
    metadata: { labels },
  })
  print(`${describe(stored)} labelled`)
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

function describe(object: MeshObject): string {
  const { namespace, name } = object.metadata
  return `${object.kind.toLowerCase()}/${namespace === undefined ? '' : `${namespace}/`}${name}`
}
