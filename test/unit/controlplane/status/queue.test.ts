// Writes that wait: the newest per object, and namespaces in turn.
import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import { StatusQueue } from '../../../../controlplane/status/queue.ts'
import { object } from '../../../support/route-world.ts'

const made = (namespace: string, name: string, version = 1) => ({
  kind: 'httproutes' as const,
  object: object('v1', 'X', namespace, name, {}),
  status: { version },
})

function drain(queue: StatusQueue): string[] {
  const taken: string[] = []
  for (let next = queue.take(); next !== undefined; next = queue.take())
    taken.push(`${next.object.metadata.name} ${JSON.stringify(next.status)}`)
  return taken
}

describe('controlplane/status/queue', () => {
  it('lets namespaces take turns', () => {
    const queue = new StatusQueue()
    for (let i = 0; i < 1000; i++) queue.put(made('noisy', `n${i}`))
    queue.put(made('quiet', 'q0'))
    queue.put(made('quiet', 'q1'))
    const taken = drain(queue).map((line) => line.split(' ')[0])
    assert.deepEqual(taken.slice(0, 5), ['n0', 'q0', 'n1', 'q1', 'n2'])
    assert.equal(taken.length, 1002)
  })

  it('holds one write per object, the newest, and forgets it on demand', () => {
    const queue = new StatusQueue()
    queue.put(made('a', 'x', 1))
    queue.put(made('a', 'x', 2))
    queue.put(made('a', 'y'))
    queue.drop('httproutes', made('a', 'y').object)
    queue.drop('gateways', made('a', 'x').object)
    assert.deepEqual(drain(queue), ['x {"version":2}'])
    assert.equal(queue.take(), undefined)
  })
})
