// Releases in force on this node: `weft release` writes them into a file that needs no process of ours, or as an annotation
// of the Node. While one stands, the pods that it is about are kept out of the mesh, whatever their labels say.
import { type FSWatcher, watch } from 'node:fs'
import { join } from 'node:path'
import { messageOf } from '../../kit/error.ts'
import type { Log } from '../../kit/log.ts'
import type { Node } from '../../model/object.ts'
import { readConf } from '../install/files.ts'
import { nameOf } from '../pods.ts'

/** Annotation of the Node: released as a whole, since when. */
export const RELEASED_ANNOTATION = 'weft.dev/released'

const FILE = 'released.json'

/** What the constructor takes. */
export interface ReleaseMarksOptions {
  /** Where the file is. */
  readonly directory: string
  node(): Node | undefined
  readonly log: Log
  /** What is released has changed. */
  onChange(): void
}

/** The marks, kept current. */
export class ReleaseMarks implements Disposable {
  readonly #options: ReleaseMarksOptions
  #watcher: FSWatcher | undefined
  #text = ''
  #isNode = false
  #namespaces: ReadonlySet<string> = new Set()

  constructor(options: ReleaseMarksOptions) {
    this.#options = options
    this.#read()
  }

  /** Watches from now on. */
  start(): void {
    const { directory, log } = this.#options
    try {
      this.#watcher = watch(directory, (_, name) => {
        if (name === FILE) this.look()
      })
      this.#watcher.on('error', (error) => log.warn('marks of releases are not watched', { error: messageOf(error) }))
    } catch (error) {
      log.warn('marks of releases are not watched', { error: messageOf(error) }) // looked at on each reconcile all the same
    }
  }

  /** Whether pods of a namespace are to be left alone here. */
  isReleased(namespace: string): boolean {
    return this.#isNode || this.#namespaces.has(namespace)
  }

  /** What is released: `node`, or names of namespaces; empty = nothing. */
  released(): readonly string[] {
    return this.#isNode ? ['node'] : [...this.#namespaces]
  }

  /** Reads the marks again. */
  look(): void {
    const before = this.released().join(' ')
    this.#read()
    const after = this.released().join(' ')
    if (before === after) return
    this.#options.log.warn(after === '' ? 'release taken back' : 'released: pods are kept out of the mesh', { released: after })
    this.#options.onChange()
  }

  [Symbol.dispose](): void {
    this.#watcher?.close()
  }

  #read(): void {
    const { directory, node, log } = this.#options
    const text = readConf(join(directory, FILE)) ?? '[]'
    const marks = parseMarks(text)
    if (marks === undefined && text !== this.#text)
      log.error('marks of releases cannot be read: the whole node counts as released', { file: FILE })
    this.#text = text
    this.#isNode = marks === undefined || marks.isNode || node()?.metadata.annotations?.[RELEASED_ANNOTATION] !== undefined
    this.#namespaces = marks?.namespaces ?? new Set()
  }
}

/** @param text `[{ "node": true, "at": … } | { "namespace": NAME, "at": … }]`; @returns undefined when it is anything else */
export function parseMarks(text: string): { readonly isNode: boolean; readonly namespaces: ReadonlySet<string> } | undefined {
  let raw: unknown
  try {
    raw = JSON.parse(text)
  } catch {
    return undefined // said by the caller
  }
  if (!Array.isArray(raw)) return undefined
  let isNode = false
  const namespaces = new Set<string>()
  for (const mark of raw as readonly unknown[]) {
    if (typeof mark !== 'object' || mark === null) return undefined
    if ('node' in mark) isNode ||= mark.node === true
    const namespace = 'namespace' in mark ? nameOf(mark.namespace) : undefined
    if (namespace !== undefined) namespaces.add(namespace)
  }
  return { isNode, namespaces }
}
