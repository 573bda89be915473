// YAML files of objects: several documents per file, each parsed and checked by itself, so that one broken document leaves
// the others in force. Faults carry file, line and field. Used by the runtime's seed and by `weft apply`.
import { isNode, LineCounter, parseAllDocuments } from 'yaml'
import type { Document } from 'yaml'
import { messageOf } from '../kit/error.ts'
import type { MeshObject } from '../model/object.ts'
import { formatFault, validate } from './schema/validate.ts'

/** A valid object and where it begins. */
export interface ParsedDocument {
  readonly object: MeshObject
  readonly file: string
  /** From 1. */
  readonly line: number
}

/** `line` from 1; `field` such as `spec.ports[0].port`, empty for faults of syntax. */
export interface DocumentFault {
  readonly file: string
  readonly line: number
  readonly message: string
}

/** What a file holds. `unknown`: `apiVersion kind` of documents of kinds that are not known. */
export interface ParsedFile {
  readonly documents: readonly ParsedDocument[]
  readonly faults: readonly DocumentFault[]
  readonly unknown: readonly string[]
}

/** Files above this size are not read. */
export const MAX_FILE_BYTES = 4 * 1024 * 1024
const MAX_DOCUMENTS = 2000
const MAX_ALIASES = 100 // a YAML bomb is an error, not a memory fault

/**
 * Never throws.
 * @param file name for messages
 * @param namespace for objects that name none; default `default`
 */
export function parseFile(text: string, file: string, namespace = 'default'): ParsedFile {
  const documents: ParsedDocument[] = []
  const faults: DocumentFault[] = []
  const unknown: string[] = []
  if (text.length > MAX_FILE_BYTES) return { documents, faults: [{ file, line: 1, message: 'the file is larger than 4 MiB' }], unknown }
  const lines = new LineCounter()
  const parsed = parseAllDocuments(text, { lineCounter: lines, prettyErrors: false })
  if (!Array.isArray(parsed)) return { documents, faults, unknown }
  for (const document of parsed.slice(0, MAX_DOCUMENTS)) {
    const lineAt = (offset: number): number => lines.linePos(offset).line
    const [error] = document.errors
    if (error !== undefined) {
      faults.push({ file, line: lineAt(error.pos[0]), message: error.message })
      continue
    }
    readDocument(document, namespace, {
      lineOf: (path) => lineAt(offsetOf(document, path)),
      found: (object, line) => documents.push({ object, file, line }),
      broken: (message, line) => faults.push({ file, line, message }),
      unknown: (name) => unknown.push(name),
    })
  }
  if (parsed.length > MAX_DOCUMENTS) faults.push({ file, line: 1, message: `only the first ${MAX_DOCUMENTS} documents are read` })
  return { documents, faults, unknown }
}

type Path = readonly (string | number)[]

interface Sink {
  lineOf(path: Path): number
  found(object: MeshObject, line: number): void
  broken(message: string, line: number): void
  unknown(name: string): void
}

function readDocument(document: Document.Parsed, namespace: string, sink: Sink): void {
  let value: unknown
  try {
    value = document.toJS({ maxAliasCount: MAX_ALIASES })
  } catch (error) {
    sink.broken(messageOf(error), sink.lineOf([]))
    return
  }
  if (value === null || value === undefined) return // an empty document between two ---
  const list = value as { kind?: unknown; items?: unknown }
  if (list.kind === 'List' && Array.isArray(list.items)) {
    for (const [index, item] of list.items.entries()) readObject(item, ['items', index], namespace, sink)
    return
  }
  readObject(value, [], namespace, sink)
}

function readObject(value: unknown, at: Path, namespace: string, sink: Sink): void {
  const result = validate(value, { namespace })
  switch (result.is) {
    case 'valid':
      sink.found(result.object, sink.lineOf(at))
      break
    case 'unknown-kind':
      sink.unknown(`${result.apiVersion} ${result.kind}`)
      break
    case 'invalid':
      for (const fault of result.faults) sink.broken(formatFault(fault), sink.lineOf([...at, ...fault.path]))
      break
    default:
      result satisfies never
  }
}

/** Where a field is written, or the nearest thing around it that is. */
function offsetOf(document: Document.Parsed, path: Path): number {
  for (let length = path.length; length > 0; length--) {
    const node = document.getIn(path.slice(0, length), true)
    if (isNode(node) && node.range != null) return node.range[0]
  }
  return document.contents?.range[0] ?? 0
}
