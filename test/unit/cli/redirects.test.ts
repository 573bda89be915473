// How nodes redirect, as `weft check` says it: nodes that go the same way together, what is weaker than it could be as a warning.
import assert from 'node:assert/strict'
import { describeRedirection, type Redirection, redirectionFindings } from '../../../cli/redirects.ts'

const GOOD: Redirection = { mode: 'ebpf', reason: 'the kernel has what it needs' }
const OLD: Redirection = { mode: 'nftables', reason: 'Linux 5.10 is older than 5.15' }
const WANTED: Redirection = { mode: 'nftables', reason: 'asked for' }

describe('redirectionFindings', () => {
  const rows: { name: string; nodes: readonly (readonly [string, Redirection | string])[]; want: readonly string[] }[] = [
    { name: 'nothing', nodes: [], want: [] },
    {
      name: 'nodes that go the same way',
      nodes: [
        ['a', GOOD],
        ['b', GOOD],
      ],
      want: ['ok ebpf: the kernel has what it needs (a, b)'],
    },
    { name: 'nftables that somebody chose', nodes: [['a', WANTED]], want: ['ok nftables: asked for (a)'] },
    { name: 'nftables that nobody chose', nodes: [['a', OLD]], want: ['warning nftables: Linux 5.10 is older than 5.15 (a)'] },
    {
      name: 'an agent that is away',
      nodes: [
        ['a', GOOD],
        ['b', 'no answer'],
      ],
      want: ['ok ebpf: the kernel has what it needs (a)', 'warning not known: no answer (b)'],
    },
    {
      name: 'many nodes',
      nodes: ['a', 'b', 'c', 'd', 'e'].map((node) => [node, GOOD] as const),
      want: ['ok ebpf: the kernel has what it needs (a, b, c and 2 more)'],
    },
  ]
  for (const { name, nodes, want } of rows)
    it(`says ${name}`, () => {
      const findings = redirectionFindings(new Map(nodes))
      assert.deepEqual(
        findings.map(({ isGood, seen }) => `${isGood ? 'ok' : 'warning'} ${seen}`),
        want,
      )
      assert.ok(findings.every(({ isNeeded }) => !isNeeded))
    })

  it('has a dash for what is not known', () => assert.equal(describeRedirection(undefined), '-'))
})
