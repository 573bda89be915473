// The Go peer (test/interop/go): built once per version, run with certificates of a test CA, driven by JSON lines.
import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { builtByGo } from './built-by-go.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const SOURCE = join(ROOT, 'test', 'interop', 'go')

/** What the peer is asked: an `op` of client.go or server.go and its fields. */
export interface GoCommand {
  readonly op: string
  readonly proxy?: string
  readonly authority?: string
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly bytes?: number
  readonly streams?: number
}

/** Builds the peer unless this version exists. @returns the program's path @throws with Go's own output */
export function buildGoPeer(): string {
  return join(builtByGo({ name: 'hbone-peer', source: SOURCE, packages: ['.'] }), 'go')
}

/** A running peer. */
export class GoPeer implements AsyncDisposable {
  /** Where a server listens, as it said. */
  address = ''
  readonly #child: ChildProcess
  readonly #waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>()
  #last = 0

  private constructor(command: readonly string[], listening: () => void) {
    const [program = '', ...args] = command
    this.#child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] })
    createInterface({ input: this.#child.stdout! }).on('line', (line) => {
      const said = JSON.parse(line) as { id?: number; result?: unknown; error?: string; address?: string }
      if (said.address !== undefined) {
        this.address = said.address
        listening()
        return
      }
      const waiting = this.#waiting.get(said.id ?? 0)
      this.#waiting.delete(said.id ?? 0)
      if (said.error === undefined) waiting?.resolve(said.result)
      else waiting?.reject(new Error(said.error))
    })
    this.#child.once('exit', () => {
      for (const { reject } of this.#waiting.values()) reject(new Error('the Go peer has ended'))
    })
  }

  /**
   * Starts the built peer.
   * @param certsDir cert.pem, key.pem and roots.pem @param peerId SPIFFE ID of the other side @param netnsPath where it runs
   */
  static async start(program: string, mode: 'client' | 'server', certsDir: string, peerId: string, netnsPath?: string): Promise<GoPeer> {
    const inside = netnsPath === undefined ? [] : ['nsenter', `--net=${netnsPath}`]
    const listening = Promise.withResolvers<void>()
    const peer = new GoPeer([...inside, program, mode, '-certs', certsDir, '-peer', peerId], listening.resolve)
    if (mode === 'server') await listening.promise
    return peer
  }

  /** Asks; answers may come in another order. @throws what the peer says went wrong */
  ask<Answer>(command: GoCommand): Promise<Answer> {
    const id = ++this.#last
    this.#child.stdin?.write(`${JSON.stringify({ id, ...command })}\n`)
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve: resolve as (value: unknown) => void, reject }))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const gone = new Promise((resolve) => this.#child.once('exit', resolve))
    this.#child.kill('SIGKILL')
    await gone
  }
}
