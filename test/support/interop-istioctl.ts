// A stock istioctl (test/interop/istioctl/go.mod names the version): built once below .cache/, then run on files.
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'

const ROOT = join(import.meta.dirname, '../..')
const SOURCE = join(ROOT, 'test', 'interop', 'istioctl')
const PACKAGE = 'istio.io/istio/istioctl/cmd/istioctl'

/** Builds it unless this version exists; some minutes with empty caches. @returns the program's path @throws with Go's own output */
export function buildIstioctl(): string {
  const go = process.env.GO
  assert.ok(go !== undefined, 'run this tier by `npm run test:interop`, which sets GO')
  const hash = createHash('sha256').update(execFileSync(go, ['version']))
  for (const name of ['go.mod', 'go.sum']) hash.update(name).update(readFileSync(join(SOURCE, name)))
  const folder = join(ROOT, '.cache', 'interop')
  const path = join(folder, `istioctl-${hash.digest('hex').slice(0, 16)}`)
  if (existsSync(path)) return path
  mkdirSync(folder, { recursive: true })
  const half = `${path}.${process.pid}` // renamed when whole
  try {
    const args = ['build', '-trimpath', '-buildvcs=false', '-mod=readonly', '-ldflags=-s -w', '-o', half, PACKAGE]
    const built = spawnSync(go, args, { cwd: SOURCE, encoding: 'utf8', env: { ...process.env, CGO_ENABLED: '0' } })
    assert.equal(built.status, 0, `go build: ${built.error ?? built.stderr}`)
    renameSync(half, path)
  } finally {
    rmSync(half, { force: true })
  }
  return path
}

/** Runs `istioctl ztunnel-config`. @returns what it prints @throws AssertionError with what it says when it fails */
export function ztunnelConfig(program: string, words: readonly string[], input = ''): string {
  const env = { PATH: process.env.PATH, HOME: '/nonexistent', KUBECONFIG: '/nonexistent' }
  const { status, stdout, stderr } = spawnSync(program, ['ztunnel-config', ...words], { encoding: 'utf8', env, input })
  assert.equal(status, 0, stderr)
  return stdout
}
