// What an install says while it waits.
import assert from 'node:assert/strict'
import { countOf, describeCounts, reasonOf } from '../../../../cli/install/progress.ts'

const metadata = { name: 'cni', generation: 2 }
const pod = (status: object, spec: object = { nodeName: 'node1', containers: [{ image: 'weft:1' }] }) => ({
  metadata: { name: 'p' },
  spec,
  status,
})
const waiting = (reason: string, message = '') => pod({ containerStatuses: [{ name: 'cni', state: { waiting: { reason, message } } }] })

describe('progress of an install', () => {
  const COUNTS = [
    {
      name: 'a deployment that rolls out',
      given: { metadata, spec: { replicas: 2 }, status: { observedGeneration: 2, updatedReplicas: 1, availableReplicas: 2 } },
      want: [1, 2],
    },
    {
      name: 'not seen by its controller',
      given: { metadata, spec: { replicas: 2 }, status: { observedGeneration: 1, updatedReplicas: 2, availableReplicas: 2 } },
      want: [0, 2],
    },
    {
      name: 'a daemon set on no node',
      given: { metadata, status: { observedGeneration: 2, desiredNumberScheduled: 0, currentNumberScheduled: 0 } },
      want: [0, 0],
    },
    { name: 'a daemon set not seen yet', given: { metadata, status: {} }, want: [0, 1] },
    {
      name: 'a daemon set that is ready',
      given: {
        metadata,
        status: {
          observedGeneration: 2,
          desiredNumberScheduled: 3,
          currentNumberScheduled: 3,
          updatedNumberScheduled: 3,
          numberAvailable: 3,
        },
      },
      want: [3, 3],
    },
  ]
  for (const { name, given, want } of COUNTS)
    it(name, () => {
      const { ready, want: wanted } = countOf(given)
      assert.deepEqual([ready, wanted], want)
    })

  it('says what is waited for', () => {
    const count = (name: string, ready: number, want: number) => ({ name, ready, want })
    assert.equal(describeCounts([count('a', 2, 2)]), undefined)
    assert.equal(describeCounts([count('a', 0, 2), count('b', 1, 3), count('c', 1, 1)]), 'waiting for a (0 of 2) and b (1 of 3)')
  })

  const REASONS = [
    { name: 'just starting', given: waiting('ContainerCreating'), want: undefined },
    {
      name: 'no image',
      given: waiting('ImagePullBackOff'),
      want: 'pod p on node1 cannot get the image weft:1: load it into the nodes, or push it to a registry and say --image',
    },
    {
      name: 'cannot be made',
      given: waiting('CreateContainerError', 'no such device'),
      want: 'pod p on node1 cannot start: no such device',
    },
    {
      name: 'no node',
      given: pod({ conditions: [{ type: 'PodScheduled', status: 'False', message: '0/2 nodes are available' }] }, {}),
      want: 'pod p finds no node: 0/2 nodes are available',
    },
    {
      name: 'ends with our log',
      given: pod({
        containerStatuses: [
          {
            name: 'cni',
            ready: false,
            lastState: {
              terminated: { exitCode: 1, message: '{"message":"x"}\n{"message":"cannot start","code":"NO_BPF","error":"EPERM"}\n' },
            },
          },
        ],
      }),
      want: 'pod p on node1 keeps ending with status 1: cannot start: NO_BPF: EPERM',
    },
    {
      name: 'ends with an exception',
      given: pod({
        containerStatuses: [
          { name: 'cni', lastState: { terminated: { exitCode: 1, message: 'Error: no module\n    at x\n\nNode.js v26.1.0' } } },
        ],
      }),
      want: 'pod p on node1 keeps ending with status 1: Error: no module',
    },
    {
      name: 'ended once, ready now',
      given: pod({ containerStatuses: [{ name: 'cni', ready: true, lastState: { terminated: { exitCode: 1 } } }] }),
      want: undefined,
    },
    {
      name: 'ended without a word',
      given: pod({ containerStatuses: [{ name: 'cni', lastState: { terminated: { exitCode: 137 } } }] }),
      want: 'pod p on node1 keeps ending with status 137: it wrote nothing',
    },
  ]
  for (const { name, given, want } of REASONS) it(name, () => assert.equal(reasonOf(given), want))
})
