// Imports go down only: every import line of the product against the layer table.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { checkImports, LAYERS } from '../support/house/layers.ts'
import { parseTexts, ROOT, readTree, type TreeFile } from '../support/house/tree.ts'

const PACKAGES = new Set(['koffi', '@grpc/grpc-js'])

const CASES: readonly { readonly path: string; readonly imports: string; readonly isFine: boolean }[] = [
  { path: 'hbone/a.ts', imports: '../kit/error.ts', isFine: true },
  { path: 'hbone/b.ts', imports: './pool.ts', isFine: true },
  { path: 'hbone/c.ts', imports: '../xds/delta-client.ts', isFine: false },
  { path: 'hbone/d.ts', imports: '../ztunnel/app.ts', isFine: false },
  { path: 'hbone/e.ts', imports: './pool', isFine: false },
  { path: 'hbone/f.ts', imports: '../test/support/tap.ts', isFine: false },
  { path: 'certs/a.ts', imports: '../linux/socket.ts', isFine: false },
  { path: 'certs/b.ts', imports: 'node:fs', isFine: false },
  { path: 'certs/c.ts', imports: 'node:crypto', isFine: true },
  { path: 'policy/a.ts', imports: 'node:timers/promises', isFine: false },
  { path: 'ztunnel/a.ts', imports: '../cni/agent.ts', isFine: false },
  { path: 'ztunnel/proxy/a.ts', imports: '../app.ts', isFine: false },
  { path: 'ztunnel/proxy/b.ts', imports: '../../state/store.ts', isFine: true },
  { path: 'ztunnel/proxy/decide.ts', imports: 'node:net', isFine: false },
  { path: 'state/a.ts', imports: '../hbone/pool.ts', isFine: false },
  { path: 'ztunnel/b.ts', imports: '../proto/workload_pb.ts', isFine: false },
  { path: 'identity/ca-client.ts', imports: '../proto/certificate_pb.ts', isFine: true },
  { path: 'xds/a.ts', imports: '../proto/workload_pb.ts', isFine: true },
  { path: 'runtime/a.ts', imports: '../cli/main.ts', isFine: true },
  { path: 'linux/a.ts', imports: 'koffi', isFine: true },
  { path: 'linux/b.ts', imports: 'mocha', isFine: false },
  { path: 'xds/b.ts', imports: '@grpc/grpc-js/build/x.js', isFine: true },
]

describe('layers', function () {
  this.timeout('60s')

  describe('rule', () => {
    let files: readonly TreeFile[]
    before(() => {
      files = parseTexts(Object.fromEntries(CASES.map((row) => [row.path, `// x\nimport { x } from '${row.imports}'\n`])))
    })
    for (const [index, row] of CASES.entries()) {
      it(`${row.path} ${row.isFine ? 'may' : 'may not'} import ${row.imports}`, () => {
        assert.equal(checkImports(files[index] as TreeFile, PACKAGES).length, row.isFine ? 0 : 1)
      })
    }
  })

  it('every import goes down', () => {
    const manifest: { dependencies: Record<string, string> } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
    const packages = new Set(Object.keys(manifest.dependencies))
    const faults = readTree().flatMap((file) => checkImports(file, packages))
    assert.equal(faults.length, 0, `${faults.length} faults\n${faults.sort().join('\n')}\n`)
  })

  it('every folder with sources has a layer or is known to be none', () => {
    const withoutLayer = new Set(['test', 'scripts', 'bench', 'samples', 'deploy'])
    const folders = new Set(
      readTree()
        .filter((file) => file.path.endsWith('.ts') && file.path.includes('/'))
        .map((file) => file.path.split('/')[0] ?? ''),
    )
    assert.deepEqual(
      [...folders].filter((folder) => LAYERS[folder] === undefined && !withoutLayer.has(folder)),
      [],
    )
  })
})
