// Programs of Go that tests run beside ours: built once per source and version of Go, and kept outside the checkout, so that a
// fresh clone finds them.
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { cacheDir } from '../kubernetes/cluster/layout.ts'

/** What to build. */
export interface GoProgram {
  readonly name: string
  /** Folder of go.mod; all of its files are part of the key. Without one, packages are named as `PACKAGE@VERSION`. */
  readonly source?: string
  /** Each makes a program of its last name. */
  readonly packages: readonly string[]
  readonly flags?: readonly string[]
  /** Adds files to the folder. */
  finish?(folder: string, go: string): void
}

/** @returns path of `go` @throws AssertionError when GO is not set */
export function goProgram(): string {
  const go = process.env.GO
  assert.ok(go !== undefined, 'run this tier by `node scripts/run.mjs test:TIER`, which sets GO')
  return go
}

/**
 * Builds programs unless this version exists.
 * @returns their folder
 * @throws AssertionError with Go's own output, or when GO is not set
 */
export function builtByGo(program: GoProgram): string {
  const go = goProgram()
  const { source = tmpdir(), packages } = program
  const hash = createHash('sha256')
    .update(execFileSync(go, ['version']))
    .update(packages.join())
  const files = program.source === undefined ? [] : readdirSync(source).sort()
  for (const name of files) hash.update(name).update(readFileSync(join(source, name)))
  const folder = join(cacheDir(), 'go', `${program.name}-${hash.digest('hex').slice(0, 16)}`)
  if (existsSync(folder)) return folder
  const half = `${folder}.${process.pid}` // renamed when whole
  mkdirSync(half, { recursive: true })
  try {
    const readonly = program.source === undefined ? [] : ['-buildvcs=false', '-mod=readonly']
    const args = ['install', '-trimpath', ...readonly, ...(program.flags ?? []), ...packages]
    const built = spawnSync(go, args, { cwd: source, encoding: 'utf8', env: { ...process.env, CGO_ENABLED: '0', GOBIN: half } })
    assert.equal(built.status, 0, `go: ${built.error ?? built.stderr}`)
    program.finish?.(half, go)
    renameSync(half, folder)
  } finally {
    rmSync(half, { recursive: true, force: true })
  }
  return folder
}
