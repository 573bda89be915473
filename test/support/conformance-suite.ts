// What the conformance tier takes from others: manifests of Gateway API's conformance module, read where Go keeps modules, and
// the program of the suite's image "echo-advanced", which is Istio's test application, built by Go once per version.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { copyFileSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseAllDocuments } from 'yaml'
import { builtByGo, goProgram } from './built-by-go.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const SOURCE = join(ROOT, 'test', 'conformance', 'go')
const SUITE = 'sigs.k8s.io/gateway-api/conformance@v1.6.3'
/** Go's hash of the module's contents: what is read is what was transcribed. */
const SUITE_SUM = 'h1:UxhSb1GrDsyl+PdKe3g8a/BFWgP6hzy2PPFmZRgqeMQ='
const APPLICATION = 'istio.io/istio/pkg/test/echo/cmd'
/** Where Istio's module keeps what its image has as /cert.crt and /key.key. */
const CERTIFICATES = { 'cert.crt': 'cert-chain.pem', 'cert.key': 'key.pem' }

/** @returns directory of the conformance module @throws with Go's own output */
export function suiteDirectory(): string {
  const env = { ...process.env, GONOSUMDB: 'sigs.k8s.io/gateway-api/*' } // its hash is known here
  const printed = execFileSync(goProgram(), ['mod', 'download', '-json', SUITE], { cwd: tmpdir(), encoding: 'utf8', env })
  const { Dir, Sum } = JSON.parse(printed) as { Dir: string; Sum: string }
  assert.equal(Sum, SUITE_SUM, `another ${SUITE} than that which was transcribed`)
  return Dir
}

/** Objects of one of the suite's manifests. @param path relative to the module */
export function manifest(directory: string, path: string): Record<string, unknown>[] {
  const documents = parseAllDocuments(readFileSync(join(directory, path), 'utf8'))
  return documents.map((document) => document.toJS() as Record<string, unknown> | null).filter((object) => object !== null)
}

/**
 * Routes of a manifest for gateways, set on the Service `echo` of the mesh: its backends are echo-v1, -v2 and -v3, hostnames mean
 * nothing there. Other objects, and routes of HTTPS listeners, are left out. @param path relative to the module
 */
export function routesOnService(directory: string, path: string): Record<string, unknown>[] {
  const text = readFileSync(join(directory, path), 'utf8')
  const renamed = text.replaceAll('gateway-conformance-infra', 'gateway-conformance-mesh').replaceAll('infra-backend-', 'echo-')
  return parseAllDocuments(renamed).flatMap((document) => {
    const object = document.toJS() as Route | null
    if (object?.kind !== 'HTTPRoute' || object.spec.parentRefs.some(({ name }) => name.includes('https'))) return []
    const port = object.spec.parentRefs.some(({ name }) => name.includes('8080')) ? 8080 : 80
    const { hostnames: _, ...spec } = object.spec
    return [{ ...object, spec: { ...spec, parentRefs: [{ group: '', kind: 'Service', name: 'echo', port }] } }]
  })
}

interface Route {
  readonly kind: string
  readonly spec: { readonly parentRefs: readonly { readonly name: string }[]; readonly hostnames?: unknown }
}

/** Builds the application unless this version exists. @returns directory of `server`, `client`, `cert.crt` and `cert.key` */
export function buildEcho(): string {
  return builtByGo({
    name: 'echo',
    source: SOURCE,
    packages: ['server', 'client'].map((name) => `${APPLICATION}/${name}`),
    flags: ['-ldflags=-s -w'],
    finish(folder, go) {
      const module = execFileSync(go, ['list', '-m', '-f', '{{.Dir}}', 'istio.io/istio'], { cwd: SOURCE, encoding: 'utf8' }).trim()
      for (const [to, from] of Object.entries(CERTIFICATES)) copyFileSync(join(module, 'tests/testdata/certs/dns', from), join(folder, to))
    },
  })
}
