// The definitions in the chart: which, marked, serving what the mesh reads.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'
import { BUNDLED_CRDS, BUNDLED_LABEL, crdTemplate } from '../../../deploy/crd-files.ts'
import { KINDS } from '../../../objects/kinds.ts'

const CHART = join(import.meta.dirname, '../../../deploy/chart')

interface Crd {
  readonly metadata: { readonly name: string; readonly labels: Readonly<Record<string, string>> }
  readonly spec: {
    readonly group: string
    readonly names: { readonly kind: string; readonly plural: string }
    readonly versions: { readonly name: string; readonly served: boolean }[]
  }
}
const read = (name: string): Crd => parse(readFileSync(join(CHART, 'crds', `${name}.yaml`), 'utf8')) as Crd

describe('definitions in the chart', () => {
  it('are those that are listed, marked as brought by the chart', () => {
    assert.deepEqual(readdirSync(join(CHART, 'crds')).sort(), BUNDLED_CRDS.map((name) => `${name}.yaml`).sort())
    for (const name of BUNDLED_CRDS) {
      const { metadata } = read(name)
      assert.deepEqual([metadata.name, metadata.labels[BUNDLED_LABEL]], [name, 'true'])
    }
  })

  it('serve every version that the mesh reads', () => {
    for (const name of BUNDLED_CRDS) {
      const { spec } = read(name)
      const row = KINDS.find(({ kind, apiVersions }) => kind === spec.names.kind && apiVersions[0]?.startsWith(`${spec.group}/`))
      assert.ok(row !== undefined, name)
      assert.equal(row.plural, spec.names.plural)
      const served = spec.versions.filter((version) => version.served).map((version) => `${spec.group}/${version.name}`)
      assert.ok(served.includes(row.apiVersions[0] ?? ''), `${name}: ${served.join(', ')}`)
    }
  })

  it("cover every kind that is not Kubernetes' own", () => {
    const groups = ['gateway.networking.k8s.io', 'networking.istio.io', 'security.istio.io', 'weft.dev']
    const wanted = KINDS.flatMap(({ plural, apiVersions }) => {
      const group = apiVersions[0]?.split('/')[0] ?? ''
      return groups.includes(group) ? [`${plural}.${group}`] : []
    })
    assert.deepEqual([...BUNDLED_CRDS, 'ratelimitpolicies.weft.dev'].sort(), wanted.sort())
  })

  it("the mesh's own is what its schema says", () => {
    assert.equal(
      readFileSync(join(CHART, 'templates/mesh/rate-limit-policy.yaml'), 'utf8'),
      crdTemplate(),
      'node deploy/update-crds.ts writes it',
    )
  })
})
