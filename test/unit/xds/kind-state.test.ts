// What a delta client remembers of a kind that it asks for by name.
import assert from 'node:assert/strict'
import { create } from '@bufbuild/protobuf'
import { describe, it } from 'mocha'
import { DeltaDiscoveryResponseSchema } from '../../../proto/discovery_pb.ts'
import { KindState, MOST_UNRESOLVED } from '../../../xds/kind-state.ts'

const THINGS = 'type.googleapis.com/test.Thing'
const keyOf = (i: number): string => `/10.0.${i >> 8}.${i & 255}`

class Kind {
  readonly state = new KindState({ typeUrl: THINGS, mode: 'on-demand' })

  receive(names: Readonly<Record<string, readonly string[]>>, removedResources: readonly string[] = []): void {
    const resources = Object.entries(names).map(([name, aliases]) => ({
      name,
      version: '1',
      aliases: [...aliases],
      resource: { typeUrl: THINGS, value: new Uint8Array() },
    }))
    const response = create(DeltaDiscoveryResponseSchema, { typeUrl: THINGS, resources, removedResources: [...removedResources] })
    const { push, versions } = this.state.read(response)
    this.state.record(versions, push.removes, true)
  }

  demand(from: number, to: number): void {
    for (let i = from; i < to; i++) this.state.demand(keyOf(i))
  }
}

describe('xds/kind-state, on demand', () => {
  it('gives up the oldest demands that found nothing, answered or not, when there are too many', () => {
    const kind = new Kind()
    kind.demand(0, MOST_UNRESOLVED)
    kind.receive({}, [keyOf(0)])
    assert.deepEqual(kind.state.giveUp(), [])
    kind.demand(MOST_UNRESOLVED, MOST_UNRESOLVED + 2)
    assert.deepEqual(kind.state.giveUp(), [keyOf(0), keyOf(1)])
    assert.equal(kind.state.initial().subscribe.length, 1 + MOST_UNRESOLVED)
    assert.equal(kind.state.demand(keyOf(0)), true, 'asked for again when it is dialled again')
  })

  for (const { name, key, found } of [
    { name: 'name', key: 'pod', found: { pod: [] } },
    { name: 'alias', key: keyOf(0), found: { pod: ['/1.1.1.1', keyOf(0)] } },
  ]) {
    it(`keeps the demand for what was found by ${name}, until it is gone`, () => {
      const kind = new Kind()
      kind.state.demand(key)
      kind.receive(found)
      kind.demand(1, 1 + MOST_UNRESOLVED)
      assert.deepEqual(kind.state.giveUp(), [])
      kind.receive({}, ['pod'])
      assert.deepEqual(kind.state.giveUp(), [keyOf(1)], 'gone, it is the newest of those without a resource')
      kind.demand(1 + MOST_UNRESOLVED, 1 + 2 * MOST_UNRESOLVED)
      assert.ok(kind.state.giveUp().includes(key))
    })
  }

  it('names on a new stream what it holds and what it asks for', () => {
    const kind = new Kind()
    kind.demand(0, 2)
    kind.receive({ pod: [keyOf(0)] })
    const { subscribe, unsubscribe, versions } = kind.state.initial()
    assert.deepEqual([subscribe, unsubscribe, { ...versions }], [['*', keyOf(0), keyOf(1)], ['*'], { pod: '1' }])
  })
})
