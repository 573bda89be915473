// The reflector under everything that can go wrong at once: in the end its copy, and the story of its events, are the server's
// state. A lost event is noticed, which shows that the comparison sees something.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { describe, it } from 'mocha'
import type { MeshObject } from '../../../../model/object.ts'
import { FakeApiServer } from '../../../support/fake-apiserver.ts'
import { clientOf, fastClock, type Follower, follow } from '../../../support/kube-pair.ts'
import { until as untilIn } from '../../../support/xds-pair.ts'

/** Machines that run the tests may be very busy. */
const until = (what: string, test: () => boolean, ms = 20_000): Promise<void> => untilIn(what, test, ms)

const pod = (name: string, labels: Record<string, string> = {}) => ({
  metadata: { name, namespace: 'shop', labels },
  spec: { nodeName: 'node-1', containers: [{ name: 'c', image: 'i' }] },
  status: { phase: 'Running', podIP: '10.1.0.1', podIPs: [{ ip: '10.1.0.1' }] },
})

describe('objects/kube/reflector', () => {
  it('converges over 1,000 dropped watches while objects change', async () => {
    await using fake = await FakeApiServer.listen()
    using client = clientOf(fake, fastClock(2000))
    await using follower = follow(client, ['pods'], {}, fastClock(2000))
    await follower.informer.synced
    for (let i = 0; i < 1000; i++) {
      while (fake.watchCount !== 1) await new Promise((resolve) => setTimeout(resolve, 1))
      fake.put('pods', pod(`p${i % 37}`, { round: String(i) }))
      if (i % 3 === 0) fake.remove('pods', `shop/p${(i * 7) % 37}`)
      if (i % 11 === 0) fake.compact()
      fake.dropWatches()
      fake.put('pods', pod(`q${i % 5}`, { round: String(i) }))
    }
    await until('the last state', () => difference(fake, follower) === '')
    assert.deepEqual(follower.faults, [])
  }).timeout('120s')

  it('converges whatever happens', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 40 }), async (steps) => {
        await play(steps, (fault) => assert.equal(fault, ''))
      }),
      { numRuns: 60 },
    )
  }).timeout('120s')

  it('would notice one lost event', async () => {
    const lost: Step[] = [
      { do: 'put', n: 1 },
      { do: 'lose', n: 1 },
      { do: 'put', n: 2 },
    ]
    await play(lost, (fault) => assert.match(fault, /Pod\/shop\/p1/))
  })
})

interface Step {
  readonly do: 'put' | 'remove' | 'drop' | 'end' | 'expire' | 'compact' | 'bookmark' | 'old' | 'repeat' | 'fail' | 'wait' | 'lose'
  readonly n: number
}

const step: fc.Arbitrary<Step> = fc.record({
  do: fc.constantFrom(
    'put',
    'put',
    'put',
    'remove',
    'remove',
    'drop',
    'end',
    'expire',
    'compact',
    'bookmark',
    'old',
    'repeat',
    'fail',
    'wait',
  ),
  n: fc.nat(5),
})

/** Runs a story; then everything is well again and the copy is compared. */
async function play(steps: readonly Step[], judge: (fault: string) => void): Promise<void> {
  await using fake = await FakeApiServer.listen()
  using client = clientOf(fake, fastClock(2000))
  for (let i = 0; i < 3; i++) fake.put('pods', pod(`p${i}`))
  await using follower = follow(client, ['pods'], {}, fastClock(2000))
  await follower.informer.synced
  for (const one of steps) await act(fake, one)
  fake.heal()
  await until('the server has a watch', () => fake.watchCount === 1)
  fake.put('pods', pod('last'))
  await until('the last event', () => follower.replica.has('Pod/shop/last')).catch(() => undefined)
  await until('the same state', () => difference(fake, follower) === '', 200).catch(() => undefined)
  judge([difference(fake, follower), ...follower.faults].join())
}

async function act(fake: FakeApiServer, { do: what, n }: Step): Promise<void> {
  switch (what) {
    case 'put':
      fake.put('pods', pod(`p${n}`, { at: String(fake.version) }))
      return
    case 'remove':
      fake.remove('pods', `shop/p${n}`)
      return
    case 'drop':
      fake.dropWatches()
      return
    case 'end':
      fake.endWatches()
      return
    case 'expire':
      fake.expireWatches()
      return
    case 'compact':
      fake.compact()
      return
    case 'bookmark':
      fake.bookmark()
      return
    case 'old':
      fake.answerOldLists(n)
      return
    case 'repeat':
      fake.isRepeating = n % 2 === 0
      return
    case 'fail':
      fake.trouble({ match: '/pods', status: n % 2 === 0 ? 500 : 410, times: n })
      return
    case 'wait':
      await new Promise((resolve) => setTimeout(resolve, n * 3))
      return
    case 'lose':
      await until('watching', () => fake.watchCount === 1)
      fake.isLosing = true
      fake.remove('pods', `shop/p${n}`)
      fake.isLosing = false
  }
}

/** What differs between the server, the informer's copy, and what its events tell. */
function difference(fake: FakeApiServer, follower: Follower): string {
  const want = versions([...fake.state('pods').values()])
  const have = versions([...follower.informer.objects('pods')])
  const told = versions([...follower.replica.values()])
  const lines = (a: readonly string[], b: readonly string[]): string[] => a.filter((line) => !b.includes(line))
  return [...lines(want, have), ...lines(have, want), ...lines(have, told), ...lines(told, have)].join(' ')
}

function versions(objects: readonly MeshObject[]): string[] {
  return objects.map(({ kind, metadata }) => `${kind}/${metadata.namespace}/${metadata.name}@${metadata.resourceVersion}`)
}
