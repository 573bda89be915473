// Follows the user's directory (or file) of YAML: what is written there is applied, what is taken out is deleted. The files
// are never changed. A broken document keeps the object it made before in force; unknown kinds are reported once.
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import type { Clock, Timer } from '../kit/clock.ts'
import { messageOf } from '../kit/error.ts'
import type { MeshObject } from '../model/object.ts'
import { objectKey } from '../model/object.ts'
import { type DocumentFault, MAX_FILE_BYTES, type ParsedDocument, parseFile } from '../objects/document.ts'
import { objectFailure } from '../objects/errors.ts'
import { KINDS, kindOf } from '../objects/kinds.ts'
import type { ObjectStore } from './store.ts'

/** `report` gets one sentence per fault, each once until it changes. */
export interface SeedOptions {
  readonly path: string
  readonly store: ObjectStore
  readonly clock: Clock
  report(sentence: string): void
}

const POLL_MS = 500
const MAX_FILES = 1000

/** Keeps the store equal to the directory. */
export class Seed implements Disposable {
  readonly #options: SeedOptions
  readonly #reported = new Set<string>()
  /** Object as last read from a file, by kind and key. */
  #seen = new Map<string, ParsedDocument>()
  #fingerprint = ''
  #timer: Timer | undefined

  constructor(options: SeedOptions) {
    this.#options = options
  }

  /** Applies everything once and begins to follow. @throws ENOENT when the path does not exist */
  start(): void {
    statSync(this.#options.path)
    this.#pass()
    this.#schedule()
  }

  [Symbol.dispose](): void {
    this.#timer?.[Symbol.dispose]()
    this.#timer = undefined
  }

  #schedule(): void {
    this.#timer = this.#options.clock.after(POLL_MS, () => {
      try {
        this.#pass()
      } catch (error) {
        this.#reportOnce(`${this.#options.path}: ${messageOf(error)}`)
      }
      if (this.#timer !== undefined) this.#schedule()
    })
    this.#timer.unref()
  }

  #pass(): void {
    const files = listFiles(this.#options.path)
    const fingerprint = files.map((file) => file.mark).join('\n')
    if (fingerprint === this.#fingerprint) return
    this.#fingerprint = fingerprint
    const found = new Map<string, ParsedDocument>()
    const brokenFiles = new Set<string>()
    for (const { path, bytes } of files) this.#read(path, bytes, found, brokenFiles)
    this.#apply(found, brokenFiles)
  }

  #read(path: string, bytes: number, found: Map<string, ParsedDocument>, brokenFiles: Set<string>): void {
    const parsed =
      bytes > MAX_FILE_BYTES
        ? { documents: [], faults: [{ file: path, line: 1, message: 'the file is larger than 4 MiB' }], unknown: [] }
        : parseFile(readFileSync(path, 'utf8'), path)
    for (const fault of parsed.faults) this.#reportOnce(formatDocumentFault(fault))
    if (parsed.faults.length > 0) brokenFiles.add(path)
    for (const kind of parsed.unknown) this.#reportOnce(`${kind}: this kind is not known; documents of it are ignored`)
    for (const document of parsed.documents) {
      const id = identityOf(document.object)
      const other = found.get(id)
      if (other !== undefined)
        this.#reportOnce(`${path}:${document.line}: ${id} is already written in ${other.file}:${other.line}; this one counts`)
      found.set(id, document)
    }
  }

  #apply(found: Map<string, ParsedDocument>, brokenFiles: ReadonlySet<string>): void {
    const { store } = this.#options
    const order = KINDS.map((row) => row.kind)
    const sorted = [...found].sort(([, a], [, b]) => order.indexOf(a.object.kind) - order.indexOf(b.object.kind))
    for (const [id, document] of sorted) {
      if (isDeepStrictEqual(this.#seen.get(id)?.object, document.object)) continue // also when somebody deleted it meanwhile
      try {
        store.apply(document.object)
      } catch (error) {
        this.#reportOnce(`${document.file}:${document.line}: ${messageOf(error)}`)
      }
    }
    for (const [id, document] of this.#seen) {
      if (found.has(id)) continue
      if (brokenFiles.has(document.file))
        found.set(id, document) // it may be the document that cannot be read now
      else this.#delete(document.object)
    }
    this.#seen = found
  }

  #delete(object: MeshObject): void {
    const { store } = this.#options
    const plural = kindOf(object.apiVersion, object.kind)?.plural
    const { namespace, name } = object.metadata
    if (plural !== undefined && store.find(plural, namespace, name) !== undefined) store.delete(plural, namespace, name)
  }

  #reportOnce(sentence: string): void {
    if (this.#reported.size > 10_000) this.#reported.clear()
    if (this.#reported.has(sentence)) return
    this.#reported.add(sentence)
    this.#options.report(sentence)
  }
}

/** `FILE:LINE: field: message` */
export function formatDocumentFault(fault: DocumentFault): string {
  return `${fault.file}:${fault.line}: ${fault.message}`
}

/**
 * Files of a directory (*.yaml, *.yml, *.json, no hidden ones; not of folders in it, like kubectl's -f) or the file itself, in order.
 * @throws MeshError NOT_FOUND
 */
export function listFiles(path: string): { path: string; bytes: number; mark: string }[] {
  const describe = (file: string): { path: string; bytes: number; mark: string } | undefined => {
    const stat = statSync(file, { throwIfNoEntry: false })
    return stat?.isFile() === true ? { path: file, bytes: stat.size, mark: `${file} ${stat.mtimeMs} ${stat.size} ${stat.ino}` } : undefined
  }
  const found = statSync(path, { throwIfNoEntry: false })
  if (found === undefined) throw objectFailure('NOT_FOUND', { what: `${path} does not exist` })
  const names = found.isDirectory() ? readdirSync(path) : undefined
  const files =
    names === undefined
      ? [path]
      : names
          .filter(isObjectFile)
          .sort()
          .slice(0, MAX_FILES)
          .map((name) => join(path, name))
  return files.map(describe).filter((file) => file !== undefined)
}

function isObjectFile(name: string): boolean {
  return /\.(ya?ml|json)$/.test(name) && !name.startsWith('.')
}

function identityOf(object: MeshObject): string {
  return `${object.kind} ${objectKey(object)}`
}
