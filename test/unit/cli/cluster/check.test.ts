// weft check on a cluster: each thing that can be missing is named with its way out; what may not be looked at is said.
import assert from 'node:assert/strict'
import { checkCluster, type CheckedCluster } from '../../../../cli/cluster/check.ts'
import type { AnyObject, KindPath } from '../../../../cli/cluster/any-objects.ts'
import type { Redirections } from '../../../../cli/redirects.ts'
import { objectFailure } from '../../../../objects/errors.ts'
import { nodeValue, podValue } from '../../../support/cluster-values.ts'

const CRDS = [
  ...['gatewayclasses', 'gateways', 'httproutes', 'grpcroutes', 'referencegrants'].map((one) => `${one}.gateway.networking.k8s.io`),
  ...['authorizationpolicies', 'peerauthentications'].map((one) => `${one}.security.istio.io`),
  ...['destinationrules', 'serviceentries', 'virtualservices'].map((one) => `${one}.networking.istio.io`),
  'ratelimitpolicies.weft.dev',
]

const EBPF: Redirections = new Map([['node1', { mode: 'ebpf', reason: 'the kernel has what it needs' }]])

interface Held {
  readonly version?: object
  readonly lists?: Readonly<Record<string, readonly unknown[]>>
  readonly cilium?: Readonly<Record<string, string>>
  readonly mayNot?: string
  readonly forbidden?: string
  readonly lines?: string
  readonly redirections?: Redirections
}

function given({ version, lists = {}, cilium, mayNot, forbidden, lines = '', redirections = EBPF }: Held): CheckedCluster {
  const all: Readonly<Record<string, readonly unknown[]>> = {
    customresourcedefinitions: CRDS.map((name) => ({ metadata: { name } })),
    nodes: [nodeValue('node1')],
    pods: [podValue('weft-system', 'cni-a', 'node1', { account: 'cni' })],
    ...lists,
  }
  return {
    access: { get: async () => version ?? { major: '1', minor: '36+', gitVersion: 'v1.36.3' } },
    cluster: {
      list: async <T extends AnyObject>({ plural }: KindPath) => {
        if (plural === forbidden) throw objectFailure('FORBIDDEN', { verb: 'list', resource: plural })
        return (all[plural] ?? []) as T[]
      },
      get: async <T extends AnyObject>() =>
        cilium === undefined ? undefined : ({ metadata: { name: 'x' }, data: cilium } as unknown as T),
      may: async (verb, { plural }) => `${verb} ${plural}` !== mayNot,
    },
    systemNamespace: 'weft-system',
    lastLines: async () => lines,
    redirections: async () => redirections,
  }
}

describe('checkCluster', () => {
  it('finds nothing wrong with a good cluster', async () => {
    const findings = await checkCluster(given({}))
    assert.deepEqual(
      findings.filter((one) => !one.isGood),
      [],
    )
    assert.ok(findings.length >= 7)
  })

  it('says how the nodes redirect', async () => {
    const seen = (await checkCluster(given({}))).find(({ what }) => what === 'redirection')?.seen
    assert.equal(seen, 'ebpf: the kernel has what it needs (node1)')
  })

  it('asks no agents where none run', async () => {
    const findings = await checkCluster(given({ lists: { pods: [] } }))
    assert.ok(findings.every(({ what }) => what !== 'redirection'))
  })

  const istiod = { metadata: { name: 'istiod', namespace: 'istio-system', labels: { app: 'istiod' } } }
  const rows: { name: string; held: Held; says: RegExp; isNeeded: boolean }[] = [
    {
      name: 'an old API server',
      held: { version: { major: '1', minor: '25', gitVersion: 'v1.25.0' } },
      says: /v1\.25\.0.*1\.30 or newer/,
      isNeeded: true,
    },
    {
      name: 'a missing right',
      held: { mayNot: 'create pods/exec' },
      says: /right to create pods\/exec.*grant create on pods\/exec/,
      isNeeded: false,
    },
    {
      name: 'a missing definition',
      held: { lists: { customresourcedefinitions: CRDS.slice(2).map((name) => ({ metadata: { name } })) } },
      says: /missing: gatewayclasses\.gateway\.networking\.k8s\.io, gateways.*weft install brings them/,
      isNeeded: true,
    },
    {
      name: 'another mesh',
      held: { lists: { deployments: [istiod] } },
      says: /Deployment istio-system\/istiod.*two meshes cannot share a node/,
      isNeeded: true,
    },
    {
      name: 'a socket load balancer inside pods',
      held: { cilium: { 'kube-proxy-replacement': 'true' } },
      says: /in the namespaces of pods.*socketLB\.hostNamespaceOnly=true/,
      isNeeded: true,
    },
    {
      name: 'a kubelet whose cgroup is shared',
      held: { lines: '{"message":"other processes share the cgroup of the kubelet: they reach pods past the mesh"}' },
      says: /shared with other processes on node1.*cgroup of its own/,
      isNeeded: false,
    },
    { name: 'what may not be looked at', held: { forbidden: 'nodes' }, says: /nodes.*list.*ask somebody with this right/, isNeeded: false },
  ]
  for (const { name, held, says, isNeeded } of rows)
    it(`names ${name}`, async () => {
      const bad = (await checkCluster(given(held))).filter((one) => !one.isGood)
      assert.equal(bad.length, 1, JSON.stringify(bad))
      assert.match(`${bad[0]?.what} ${bad[0]?.seen} ${bad[0]?.wayOut}`, says)
      assert.equal(bad[0]?.isNeeded, isNeeded)
    })

  it('takes a socket load balancer of the host alone', async () => {
    const cilium = { 'kube-proxy-replacement': 'true', 'bpf-lb-sock-hostns-only': 'true' }
    assert.ok((await checkCluster(given({ cilium }))).every((one) => one.isGood))
  })
})
