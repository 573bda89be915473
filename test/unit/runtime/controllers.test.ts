// Controllers: rollout plans, choice of nodes, service addresses, EndpointSlices.
import assert from 'node:assert/strict'
import type { DeploymentSpec, Node, Pod, Service } from '../../../model/object.ts'
import { planRollout, TEMPLATE_HASH_LABEL, templateHash } from '../../../runtime/controllers/deployments.ts'
import { chooseNode } from '../../../runtime/controllers/scheduler.ts'
import { slicesOf } from '../../../runtime/controllers/services.ts'

const spec = (replicas: number, strategy?: DeploymentSpec['strategy']): DeploymentSpec => ({
  replicas,
  selector: { matchLabels: { app: 'a' } },
  template: { metadata: { labels: { app: 'a' } }, spec: { containers: [] } },
  ...(strategy === undefined ? {} : { strategy }),
})

describe('planRollout', () => {
  const pods = (hash: string, ready: number, unready: number): Pod[] => [
    ...Array.from({ length: ready }, (_, i) => pod(`${hash}-r${i}`, { hash, ready: true })),
    ...Array.from({ length: unready }, (_, i) => pod(`${hash}-u${i}`, { hash, ready: false })),
  ]
  const rows: { name: string; given: [DeploymentSpec, Pod[]]; create: number; remove: number }[] = [
    { name: 'makes all at first', given: [spec(3), []], create: 3, remove: 0 },
    { name: 'rests when all are there', given: [spec(3), pods('new', 3, 0)], create: 0, remove: 0 },
    { name: 'takes away surplus, unready first', given: [spec(1), pods('new', 1, 1)], create: 0, remove: 1 },
    { name: 'adds one above the number for a new template', given: [spec(3), pods('old', 3, 0)], create: 1, remove: 0 },
    {
      name: 'keeps the old while the new is not ready',
      given: [spec(3), [...pods('old', 3, 0), ...pods('new', 0, 1)]],
      create: 0,
      remove: 0,
    },
    { name: 'removes one old when one new is ready', given: [spec(3), [...pods('old', 3, 0), ...pods('new', 1, 0)]], create: 0, remove: 1 },
    { name: 'removes old pods that are not ready at once', given: [spec(2), pods('old', 0, 2)], create: 1, remove: 2 },
    {
      name: 'maxUnavailable lets old ones go before',
      given: [spec(4, { rollingUpdate: { maxSurge: 0, maxUnavailable: 2 } }), pods('old', 4, 0)],
      create: 0,
      remove: 2,
    },
    {
      name: 'surge and unavailable 0 still move',
      given: [spec(1, { rollingUpdate: { maxSurge: 0, maxUnavailable: 0 } }), pods('old', 1, 0)],
      create: 0,
      remove: 1,
    },
    { name: 'Recreate removes all old first', given: [spec(2, { type: 'Recreate' }), pods('old', 2, 0)], create: 0, remove: 2 },
    { name: 'Recreate makes the new after', given: [spec(2, { type: 'Recreate' }), []], create: 2, remove: 0 },
    { name: 'zero replicas', given: [spec(0), pods('new', 2, 0)], create: 0, remove: 2 },
  ]
  for (const row of rows)
    it(row.name, () => {
      const plan = planRollout(row.given[0], 'new', row.given[1])
      assert.deepEqual([plan.create, plan.remove.length], [row.create, row.remove])
    })

  it('hashes the template only', () => {
    assert.equal(templateHash(spec(1).template), templateHash(spec(5).template))
    assert.notEqual(templateHash(spec(1).template), templateHash({ spec: { containers: [{ name: 'x' }] } }))
  })
})

describe('chooseNode', () => {
  const nodes: Node[] = ['node-1', 'node-2', 'node-10'].map((name) => ({
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name, labels: { 'kubernetes.io/hostname': name } },
  }))
  it('spreads pods of one owner, then by load, then by number', () => {
    const there = [
      pod('a', { owner: 'x', node: 'node-1' }),
      pod('b', { owner: 'y', node: 'node-2' }),
      pod('c', { owner: 'y', node: 'node-2' }),
    ]
    assert.equal(chooseNode(pod('n', { owner: 'x' }), nodes, there), 'node-10')
    assert.equal(chooseNode(pod('n', { owner: 'z' }), nodes.slice(0, 2), there), 'node-1')
    assert.equal(chooseNode(pod('n', { owner: 'z' }), nodes, []), 'node-1')
  })
  it('honours nodeSelector', () => {
    const picky = pod('n', {})
    const wants = { ...picky, spec: { ...picky.spec, containers: [], nodeSelector: { 'kubernetes.io/hostname': 'node-2' } } }
    assert.equal(chooseNode(wants, nodes, []), 'node-2')
    assert.equal(chooseNode({ ...wants, spec: { ...wants.spec, nodeSelector: { zone: 'x' } } }, nodes, []), undefined)
  })
})

describe('slicesOf', () => {
  const service: Service = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 's', namespace: 'default', uid: 'u' },
    spec: { selector: { app: 'a' }, ipFamilies: ['IPv4', 'IPv6'], ports: [{ port: 80, targetPort: 'http' }] },
  }
  it('says ready, serving and terminating', () => {
    const all = [
      pod('ready', { ready: true, ip: '10.244.1.1' }),
      pod('unready', { ready: false, ip: '10.244.1.2' }),
      pod('leaving', { ready: true, ip: '10.244.1.3', isGoing: true }),
    ]
    const [four] = slicesOf(service, all)
    const conditions = four?.endpoints?.map((one) => [one.targetRef?.name, one.conditions])
    assert.deepEqual(conditions, [
      ['ready', { ready: true, serving: true, terminating: false }],
      ['unready', { ready: false, serving: false, terminating: false }],
      ['leaving', { ready: false, serving: true, terminating: true }],
    ])
  })
  it('makes one slice per family and per number of a named port', () => {
    const other = pod('b', { ready: true, ip: '10.244.1.2', port: 9090 })
    const slices = slicesOf(service, [pod('a', { ready: true, ip: '10.244.1.1', port: 8080 }), other])
    assert.deepEqual(
      slices.map((slice) => [slice.metadata.name, slice.addressType, slice.ports?.[0]?.port, slice.endpoints?.length]),
      [
        ['s-ipv4', 'IPv4', 8080, 1],
        ['s-ipv4-1', 'IPv4', 9090, 1],
        ['s-ipv6', 'IPv6', undefined, 0],
      ],
    )
  })
  it('leaves services without a selector to others', () => {
    assert.deepEqual(slicesOf({ ...service, spec: { ports: [{ port: 1 }] } }, []), [])
  })
})

interface PodFacts {
  hash?: string
  ready?: boolean
  owner?: string
  node?: string
  ip?: string
  port?: number
  isGoing?: boolean
}

function pod(name: string, facts: PodFacts): Pod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      namespace: 'default',
      uid: name,
      labels: { app: 'a', ...(facts.hash === undefined ? {} : { [TEMPLATE_HASH_LABEL]: facts.hash }) },
      ...(facts.owner === undefined
        ? {}
        : { ownerReferences: [{ apiVersion: 'apps/v1', kind: 'Deployment', name: facts.owner, uid: facts.owner }] }),
      ...(facts.isGoing === true ? { deletionTimestamp: '2026-01-01T00:00:00Z' } : {}),
    },
    spec: {
      ...(facts.node === undefined ? {} : { nodeName: facts.node }),
      containers: [{ name: 'c', ports: [{ name: 'http', containerPort: facts.port ?? 8080 }] }],
    },
    status: {
      phase: 'Running',
      ...(facts.ip === undefined ? {} : { podIPs: [{ ip: facts.ip }] }),
      conditions: [{ type: 'Ready', status: facts.ready === true ? 'True' : 'False' }],
    },
  }
}
