// YAML documents: each by itself, faults with file, line and field.
import assert from 'node:assert/strict'
import { parseFile } from '../../../objects/document.ts'

const GOOD = 'apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  x: "1"\n'

describe('parseFile', () => {
  it('reads several documents, with comments and empty ones between', () => {
    const { documents, faults } = parseFile(`# shop\n---\n${GOOD}---\n---\n${GOOD.replace('name: a', 'name: b')}`, 'f.yaml', 'shop')
    assert.deepEqual(faults, [])
    assert.deepEqual(
      documents.map(({ object }) => [object.metadata.namespace, object.metadata.name]),
      [
        ['shop', 'a'],
        ['shop', 'b'],
      ],
    )
  })

  const rows: { name: string; text: string; faults: RegExp[]; good: number }[] = [
    {
      name: 'a field of the wrong type, at its line',
      text: `${GOOD}---\napiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec:\n  ports:\n  - port: 99999\n`,
      faults: [/^f:13: spec\.ports\[0\]\.port: /],
      good: 1,
    },
    { name: 'a number where text is needed', text: GOOD.replace('"1"', '1'), faults: [/^f:6: data\.x: must be text/], good: 0 },
    { name: 'a missing name', text: 'apiVersion: v1\nkind: ConfigMap\nmetadata: {}\n', faults: [/^f:3: metadata\.name: /], good: 0 },
    {
      name: 'broken YAML, the rest in force',
      text: `${GOOD}---\na: [1\n---\n${GOOD.replace('name: a', 'name: b')}`,
      faults: [/^f:\d+: /],
      good: 2,
    },
    { name: 'not an object', text: '- 1\n', faults: [/^f:1: /], good: 0 },
    {
      name: 'a misspelt field of a policy',
      text: 'apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p}\nspec:\n  rules:\n  - from:\n    - source:\n        notPrincipal: [x]\n',
      faults: [/^f:8: spec\.rules\[0\]\.from\[0\]\.source: .*notPrincipal/],
      good: 0,
    },
    {
      name: 'a wrong version of a known kind',
      text: 'apiVersion: apps/v1beta1\nkind: Deployment\nmetadata: {name: d}\n',
      faults: [/apiVersion: .*apps\/v1/],
      good: 0,
    },
    {
      name: 'a host path',
      text: 'apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers: [{name: c}]\n  volumes:\n  - name: v\n    hostPath: {path: /}\n',
      faults: [/^f:8: spec\.volumes\[0\]\.hostPath: host paths are not mounted/],
      good: 0,
    },
    {
      name: 'a name that would leave the directory',
      text: 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ../../etc/passwd}\n',
      faults: [/metadata\.name: /],
      good: 0,
    },
    {
      name: 'a path that leaves the volume',
      text: 'apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers: [{name: c}]\n  volumes: [{name: v, configMap: {name: c, items: [{key: k, path: ../x}]}}]\n',
      faults: [/must be a relative path without \.\./],
      good: 0,
    },
    {
      name: 'privileged',
      text: 'apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, securityContext: {privileged: true}}]}\n',
      faults: [/privileged containers are not run/],
      good: 0,
    },
    {
      name: 'a selector that misses its template',
      text: 'apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec:\n  selector: {matchLabels: {a: b}}\n  template: {metadata: {labels: {a: c}}, spec: {containers: [{name: c}]}}\n',
      faults: [/^f:5: spec\.selector: must match/],
      good: 0,
    },
  ]
  for (const row of rows)
    it(row.name, () => {
      const { documents, faults } = parseFile(row.text, 'f')
      assert.equal(documents.length, row.good)
      const lines = faults.map((fault) => `${fault.file}:${fault.line}: ${fault.message}`)
      for (const want of row.faults)
        assert.ok(
          lines.some((line) => want.test(line)),
          `${want} in ${lines.join(' | ')}`,
        )
    })

  it('names unknown kinds without calling them faults', () => {
    const { faults, unknown } = parseFile('apiVersion: example.com/v1\nkind: Toaster\nmetadata: {name: t}\n', 'f')
    assert.deepEqual([faults, unknown], [[], ['example.com/v1 Toaster']])
  })
  it('opens lists', () => {
    const item = '{apiVersion: v1, kind: ConfigMap, metadata: {name: NAME}}'
    const { documents } = parseFile(
      `apiVersion: v1\nkind: List\nitems:\n- ${item.replace('NAME', 'a')}\n- ${item.replace('NAME', 'b')}\n`,
      'f',
    )
    assert.deepEqual(
      documents.map(({ line }) => line),
      [4, 5],
    )
  })
  it('survives a YAML bomb', () => {
    const levels = Array.from({ length: 12 }, (_, i) => `l${i + 1}: &l${i + 1} [${Array(10).fill(`*l${i}`).join(',')}]`)
    const { faults } = parseFile(`l0: &l0 [x]\n${levels.join('\n')}\n`, 'f')
    assert.equal(faults.length, 1)
  })
  it('encodes stringData of Secrets', () => {
    const { documents } = parseFile('apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {k: word}\n', 'f')
    assert.deepEqual(documents[0]?.object.data, { k: 'd29yZA==' })
  })
})
