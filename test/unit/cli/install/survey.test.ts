// Another mesh and unfit nodes are recognised.
import assert from 'node:assert/strict'
import { foreignParts, surveyNodes } from '../../../../cli/install/survey.ts'

const workload = (kind: string, namespace: string, name: string, labels: Record<string, string>) => ({
  kind,
  metadata: { name, namespace, labels },
})
const node = (name: string, kernelVersion: string, architecture = 'amd64', operatingSystem = 'linux') => ({
  metadata: { name },
  status: { nodeInfo: { kernelVersion, architecture, operatingSystem } },
})

describe('what is in the cluster already', () => {
  it('Istio is known by its labels, whatever its names are', () => {
    const all = [
      workload('Deployment', 'istio-system', 'istiod-1-27', { app: 'istiod' }),
      workload('DaemonSet', 'kube-system', 'node-agent', { 'k8s-app': 'istio-cni-node' }),
      workload('DaemonSet', 'istio-system', 'ztunnel', { app: 'ztunnel' }),
      workload('DaemonSet', 'weft-system', 'ztunnel', { app: 'ztunnel' }),
      workload('Deployment', 'shop', 'front', { app: 'front' }),
    ]
    assert.deepEqual(foreignParts(all, 'weft-system'), [
      'DaemonSet istio-system/ztunnel',
      'DaemonSet kube-system/node-agent',
      'Deployment istio-system/istiod-1-27',
    ])
  })

  const ROWS = [
    { name: 'good nodes', nodes: [node('a', '6.1.0'), node('b', '5.15.0-91-generic')], faults: [], notes: [] },
    { name: 'no node', nodes: [], faults: [], notes: [/no Linux node yet/] },
    { name: 'Windows beside Linux', nodes: [node('a', '6.1.0'), node('w', '10.0', 'amd64', 'windows')], faults: [], notes: [] },
    { name: 'an old kernel', nodes: [node('a', '4.18.0-553.el8'), node('b', '6.1.0')], faults: [], notes: [/^node a: .*nftables/] },
    { name: 'a strange processor', nodes: [node('a', '6.1.0', 's390x'), node('b', '6.1.0')], faults: [], notes: [/^node a: .*processor/] },
    { name: 'only strange processors', nodes: [node('a', '6.1.0', 's390x')], faults: [/no node is amd64 or arm64/], notes: [] },
    {
      name: 'many old ones',
      nodes: ['a', 'b', 'c', 'd', 'e'].map((name) => node(name, '5.4.0')),
      faults: [],
      notes: [/^nodes a, b, c and 2 more: /],
    },
  ]
  for (const { name, nodes, faults, notes } of ROWS)
    it(name, () => {
      const found = surveyNodes(nodes)
      assert.equal(found.faults.length, faults.length)
      assert.equal(found.notes.length, notes.length)
      for (const [index, want] of faults.entries()) assert.match(found.faults[index] ?? '', want)
      for (const [index, want] of notes.entries()) assert.match(found.notes[index] ?? '', want)
    })
})
