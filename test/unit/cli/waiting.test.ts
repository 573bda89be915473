// The progress line of `weft up`: short while everything starts, with reasons once it takes long.
import assert from 'node:assert/strict'
import { describeWaiting } from '../../../cli/waiting.ts'
import type { MeshStatus } from '../../../runtime/status.ts'

type Given = Pick<MeshStatus, 'components' | 'pods'>

const component = (name: string, node: string | undefined, change: Partial<MeshStatus['components'][number]> = {}) => ({
  name,
  node,
  pid: 1,
  state: 'running' as const,
  restarts: 0,
  lastExit: undefined,
  rssBytes: undefined,
  pssBytes: undefined,
  unready: undefined,
  ...change,
})
const pod = (name: string, phase: string, ready = false) => ({
  namespace: 'shop',
  name,
  node: 'node-1',
  ip: undefined,
  phase,
  ready,
  restarts: 0,
  enrolment: '-',
})

const STARTING: Given = {
  components: [
    component('controlplane', undefined, { unready: 'does not answer yet' }),
    component('ztunnel-node-1', 'node-1', { unready: 'waits for snapshot of pods' }),
    component('ztunnel-node-2', 'node-2', { pid: undefined as never, state: 'waiting', lastExit: 'status 1' }),
    component('kubelet-node-1', 'node-1'),
  ],
  pods: [pod('a', 'Pending'), pod('b', 'Running'), pod('c', 'Running', true), pod('d', 'Succeeded')],
}

describe('cli/waiting', () => {
  const rows: { name: string; given: Given; withReasons: boolean; want: string | undefined }[] = [
    { name: 'counts at first', given: STARTING, withReasons: false, want: 'waiting for controlplane, ztunnel (2) and 2 pods' },
    {
      name: 'says why later, three at most',
      given: STARTING,
      withReasons: true,
      want: 'waiting for controlplane (does not answer yet), ztunnel-node-1 (waits for snapshot of pods), ztunnel-node-2 (ended: status 1) and 2 more',
    },
    {
      name: 'says why a pod is not there',
      given: { components: [], pods: [pod('a', 'Pending'), pod('b', 'Running')] },
      withReasons: true,
      want: 'waiting for pod shop/a (Pending) and pod shop/b (not ready)',
    },
    { name: 'counts one pod', given: { components: [], pods: [pod('a', 'Pending')] }, withReasons: false, want: 'waiting for 1 pod' },
    {
      name: 'is silent when all is there',
      given: { components: [], pods: [pod('c', 'Running', true)] },
      withReasons: true,
      want: undefined,
    },
  ]
  for (const { name, given, withReasons, want } of rows) it(name, () => assert.equal(describeWaiting(given, withReasons), want))
})
