// The Go peer (test/interop/go): built once per version below .cache/, run with certificates of a test CA, driven by JSON lines.
import assert from 'node:assert/strict'
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

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
  const go = process.env.GO
  assert.ok(go !== undefined, 'run this tier by `npm run test:interop`, which sets GO')
  const hash = createHash('sha256').update(execFileSync(go, ['version']))
  for (const name of readdirSync(SOURCE).sort()) hash.update(name).update(readFileSync(join(SOURCE, name)))
  const folder = join(ROOT, '.cache', 'interop')
  const path = join(folder, `go-peer-${hash.digest('hex').slice(0, 16)}`)
  if (existsSync(path)) return path
  mkdirSync(folder, { recursive: true })
  const half = `${path}.${process.pid}` // renamed when whole
  try {
    const args = ['build', '-trimpath', '-buildvcs=false', '-mod=readonly', '-o', half, '.']
    const built = spawnSync(go, args, { cwd: SOURCE, encoding: 'utf8', env: { ...process.env, CGO_ENABLED: '0' } })
    assert.equal(built.status, 0, `go build: ${built.error ?? built.stderr}`)
    renameSync(half, path)
  } finally {
    rmSync(half, { force: true })
  }
  return path
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
