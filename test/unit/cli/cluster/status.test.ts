// State of the mesh in a cluster: what counts as whole, what is said when it is not, and how it reads.
import assert from 'node:assert/strict'
import { type ClusterFacts, statusOfCluster } from '../../../../cli/cluster/status.ts'
import { formatClusterStatus } from '../../../../cli/cluster/status-text.ts'
import type { Redirection } from '../../../../cli/redirects.ts'
import { namespaceValue, nodeValue, podValue } from '../../../support/cluster-values.ts'

const SYSTEM = 'weft-system'
const NOW_MS = Date.parse('2026-01-02T00:00:00Z')

function facts(more: Partial<ClusterFacts> = {}): ClusterFacts {
  const parts = ['node1', 'node2'].flatMap((node) =>
    ['cni', 'ztunnel'].map((account) => podValue(SYSTEM, `${account}-${node}`, node, { account })),
  )
  return {
    server: 'https://api:6443',
    version: 'v1.36.3',
    systemNamespace: SYSTEM,
    nodes: [nodeValue('node1'), nodeValue('node2')],
    namespaces: [namespaceValue('shop', 'ambient'), namespaceValue(SYSTEM)],
    pods: [
      ...parts,
      podValue(SYSTEM, 'controlplane-a', 'node1', { account: 'controlplane' }),
      podValue('shop', 'cart', 'node1', { enrolment: 'enabled' }),
    ],
    memory: new Map([[`${SYSTEM}/controlplane-a`, 64 * 1024 * 1024]]),
    dumps: [
      {
        node: 'node1',
        dump: {
          certificates: [
            { certChain: [{ expirationTime: '2026-01-03T00:00:00Z' }] },
            { certChain: [{ expirationTime: '2026-01-01T00:00:00Z' }] },
            { certChain: [] },
          ],
        },
      },
    ],
    redirections: new Map<string, Redirection | string>([
      ['node1', { mode: 'nftables', reason: 'Linux 5.10 is older than 5.15' }],
      ['node2', 'it does not answer'],
    ]),
    nowMs: NOW_MS,
    unknown: [],
    ...more,
  }
}

describe('statusOfCluster', () => {
  it('is ready when all parts are, and every labelled pod is captured', () => {
    const status = statusOfCluster(facts())
    assert.equal(status.isReady, true)
    assert.deepEqual(status.missing, [])
    assert.deepEqual(
      status.components.map(({ component, node, version }) => `${component} ${node} ${version}`),
      ['controlplane node1 1.2.3', 'cni node1 1.2.3', 'cni node2 1.2.3', 'ztunnel node1 1.2.3', 'ztunnel node2 1.2.3'],
    )
    assert.equal(status.components[0]?.memoryBytes, 64 * 1024 * 1024)
  })

  it('counts certificates, pods and kernels per node', () => {
    const [first, second] = statusOfCluster(facts()).nodes
    assert.deepEqual(first, {
      name: 'node1',
      kernel: '6.12.1',
      pods: 4,
      enrolled: 1,
      pending: 0,
      redirection: { mode: 'nftables', reason: 'Linux 5.10 is older than 5.15' },
      certificates: { valid: 1, total: 3, nextExpiry: '2026-01-01T00:00:00Z' },
    })
    assert.equal(second?.certificates, undefined)
    assert.equal(second?.redirection, undefined)
    assert.match(formatClusterStatus(statusOfCluster(facts()), ''), /node1 .* nftables: Linux 5\.10 is older than 5\.15\n/)
  })

  const all = facts()
  const rows: { name: string; more: Partial<ClusterFacts>; says: RegExp }[] = [
    { name: 'nothing is installed', more: { pods: [] }, says: /weft is not installed in namespace weft-system/ },
    {
      name: 'no control plane',
      more: { pods: all.pods.filter((pod) => pod.metadata.name !== 'controlplane-a') },
      says: /no control plane is ready/,
    },
    {
      name: 'a node without agent',
      more: { pods: all.pods.filter((pod) => pod.metadata.name !== 'cni-node2') },
      says: /node node2 has no ready cni/,
    },
    {
      name: 'a part that does not start',
      more: { pods: [...all.pods, podValue(SYSTEM, 'controlplane-b', 'node2', { account: 'controlplane', isReady: false })] },
      says: /NOT ready .*CrashLoopBackOff/,
    },
    {
      name: 'a pod that is labelled and not captured',
      more: { pods: [...all.pods, podValue('shop', 'late', 'node2')] },
      says: /shop\/late .* -$/m,
    },
    {
      name: 'a released namespace',
      more: { namespaces: [namespaceValue('shop', 'none', { 'weft.dev/released': '2026-01-01T00:00:00Z' })] },
      says: /^!!!!!! RELEASED[\s\S]*!! namespace shop since 2026-01-01T00:00:00Z; take it back with: weft release --resume -n shop --context c$/m,
    },
    {
      name: 'a released node',
      more: { nodes: [nodeValue('node1', { 'weft.dev/released': '2026-01-01T00:00:00Z' }), nodeValue('node2')] },
      says: /weft release --resume --node node1 --context c$/m,
    },
  ]
  for (const { name, more, says } of rows)
    it(`is not ready with ${name}`, () => {
      const status = statusOfCluster(facts(more))
      assert.equal(status.isReady, false)
      assert.match(formatClusterStatus(status, ' --context c'), says)
    })

  it('leaves out pods that have ended or use the network of their node', () => {
    const ended = podValue('shop', 'ended', 'node1')
    const host = podValue('shop', 'host', 'node1')
    const pods = [
      ...all.pods,
      { ...ended, status: { phase: 'Succeeded' as const } },
      { ...host, spec: { ...host.spec, containers: [], hostNetwork: true } },
    ]
    assert.deepEqual(
      statusOfCluster(facts({ pods })).pods.map(({ name }) => name),
      ['cart'],
    )
  })
})
