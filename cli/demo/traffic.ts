// What the demo tells of the traffic: the access logs of all ztunnels, followed while the mesh runs and added up per pair of
// workloads. Only lines of the receiving side count; it is the one that has verified who calls.
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'

/** Connections of one pair since the beginning. Identities are empty for plaintext. */
export interface Conversation {
  readonly source: string
  readonly destination: string
  readonly sourceIdentity: string
  readonly destinationIdentity: string
  readonly isEncrypted: boolean
  connections: number
  refused: number
  /** Why the last one was refused. */
  reason: string
}

interface Position {
  offset: number
  rest: string
}

const CHUNK_BYTES = 64 * 1024

/** Reads the logs on demand; a rotated file begins anew. */
export class Traffic {
  readonly #files: () => readonly string[]
  readonly #positions = new Map<string, Position>()
  readonly #conversations = new Map<string, Conversation>()

  /** @param files the logs of all ztunnels as they are now; before the JSON of a line may stand what a container runtime adds */
  constructor(files: () => readonly string[]) {
    this.#files = files
  }

  /** Reads what is new; returns every conversation so far, most connections first. */
  read(): readonly Conversation[] {
    for (const file of this.#files()) this.#readFile(file)
    return [...this.#conversations.values()].sort((a, b) => b.connections + b.refused - a.connections - a.refused)
  }

  /** Forgets what was counted; what is written from now on counts. */
  clear(): void {
    this.read()
    this.#conversations.clear()
  }

  #readFile(path: string): void {
    const at = this.#positions.get(path) ?? { offset: 0, rest: '' }
    this.#positions.set(path, at)
    const fd = openSync(path, 'r')
    try {
      if (fstatSync(fd).size < at.offset) Object.assign(at, { offset: 0, rest: '' })
      const chunk = Buffer.alloc(CHUNK_BYTES)
      for (let n = readSync(fd, chunk, 0, CHUNK_BYTES, at.offset); n > 0; n = readSync(fd, chunk, 0, CHUNK_BYTES, at.offset)) {
        at.offset += n
        const lines = (at.rest + chunk.toString('utf8', 0, n)).split('\n')
        at.rest = lines.pop() ?? ''
        for (const line of lines) this.#take(line)
      }
    } finally {
      closeSync(fd)
    }
  }

  #take(line: string): void {
    if (!line.includes('"scope":"access"') || !line.includes('"direction":"inbound"')) return
    const entry = JSON.parse(line.slice(line.indexOf('{'))) as Record<string, string | undefined>
    const sourceIdentity = entry['src.identity'] ?? ''
    const source = entry['src.workload'] ?? (sourceIdentity === '' ? (entry['src.addr'] ?? 'somebody') : sourceIdentity)
    const destination = entry['dst.workload'] ?? entry['dst.addr'] ?? 'somebody'
    const key = `${sourceIdentity} ${source} ${destination}`
    const found: Conversation = this.#conversations.get(key) ?? {
      source,
      destination,
      sourceIdentity,
      destinationIdentity: entry['dst.identity'] ?? '',
      isEncrypted: sourceIdentity !== '',
      connections: 0,
      refused: 0,
      reason: '',
    }
    this.#conversations.set(key, found)
    if (entry.message === 'connection failed' || entry.code === 'POLICY_DENIED') {
      found.refused++
      found.reason = entry.error ?? ''
    } else found.connections++
  }
}
