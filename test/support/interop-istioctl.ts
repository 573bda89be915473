// A stock istioctl (test/interop/istioctl/go.mod names the version): built once, then run on files.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { builtByGo } from './built-by-go.ts'

const ROOT = join(import.meta.dirname, '../..')
const SOURCE = join(ROOT, 'test', 'interop', 'istioctl')
const PACKAGE = 'istio.io/istio/istioctl/cmd/istioctl'

/** Builds it unless this version exists; some minutes with empty caches. @returns the program's path @throws with Go's own output */
export function buildIstioctl(): string {
  return join(builtByGo({ name: 'istioctl', source: SOURCE, packages: [PACKAGE], flags: ['-ldflags=-s -w'] }), 'istioctl')
}

/** Runs `istioctl ztunnel-config`. @returns what it prints @throws AssertionError with what it says when it fails */
export function ztunnelConfig(program: string, words: readonly string[], input = ''): string {
  const env = { PATH: process.env.PATH, HOME: '/nonexistent', KUBECONFIG: '/nonexistent' }
  const { status, stdout, stderr } = spawnSync(program, ['ztunnel-config', ...words], { encoding: 'utf8', env, input })
  assert.equal(status, 0, stderr)
  return stdout
}
