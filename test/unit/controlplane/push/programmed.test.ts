// When a Gateway counts as programmed: what its waypoints must have accepted, what ends it at once, and what only after a while.
import assert from 'node:assert/strict'
import { beforeEach, describe, it } from 'mocha'
import { Programmed, PROGRAMMED_GRACE_MS, REFUSAL_LIMIT_CHARS } from '../../../../controlplane/push/programmed.ts'
import type { ClientInfo } from '../../../../xds/delta-stream.ts'
import { ADDRESS_TYPE, BACKEND_TYPE, LISTENER_TYPE } from '../../../../xds/kinds.ts'
import { FakeClock } from '../../../support/fake-clock.ts'

interface KindGiven {
  readonly isWaiting?: boolean
  readonly refusal?: string
}

function clientOf(gateway: string | undefined, kinds: Readonly<Record<string, KindGiven>>): ClientInfo {
  const list = Object.entries(kinds).map(([typeUrl, { isWaiting = false, refusal }]) => ({
    typeUrl,
    isWildcard: false,
    acked: 1,
    isWaiting,
    refusal,
  }))
  return { id: 1, node: '', caller: '', peer: '', gateway, kinds: list }
}

const CURRENT = { [ADDRESS_TYPE]: { isWaiting: true }, [BACKEND_TYPE]: {}, [LISTENER_TYPE]: {} }
const BEHIND = { ...CURRENT, [LISTENER_TYPE]: { isWaiting: true } }
const REFUSING = { ...CURRENT, [LISTENER_TYPE]: { refusal: 'bad listener' } }

describe('controlplane/push/programmed', () => {
  let clock: FakeClock
  let clients: ClientInfo[]
  let changes: number
  let programmed: Programmed

  const see = (...list: ClientInfo[]): void => {
    clients = list
    programmed.update()
  }
  const names = (): string => [...programmed.state.programmed].sort().join()

  beforeEach(() => {
    clock = new FakeClock()
    changes = 0
    programmed = new Programmed({ clients: () => clients, clock, onChange: () => void changes++ })
  })

  const CASES: readonly { readonly name: string; readonly given: readonly ClientInfo[]; readonly want: string; readonly said?: string }[] =
    [
      { name: 'nobody is connected', given: [], want: '' },
      { name: 'a waypoint holds the newest of both kinds', given: [clientOf('a/b', CURRENT)], want: 'a/b' },
      { name: 'it has not answered yet', given: [clientOf('a/b', BEHIND)], want: '' },
      { name: 'it does not follow backends', given: [clientOf('a/b', { [LISTENER_TYPE]: {} })], want: '' },
      { name: 'it follows addresses only', given: [clientOf('a/b', { [ADDRESS_TYPE]: {} })], want: '' },
      { name: 'a node’s proxy', given: [clientOf(undefined, CURRENT)], want: '' },
      { name: 'one of two has it', given: [clientOf('a/b', BEHIND), clientOf('a/b', CURRENT)], want: 'a/b' },
      { name: 'it refuses', given: [clientOf('a/b', REFUSING)], want: '', said: 'bad listener' },
      { name: 'one refuses, one has it', given: [clientOf('a/b', REFUSING), clientOf('a/b', CURRENT)], want: 'a/b' },
      { name: 'one has it, one refuses', given: [clientOf('a/b', CURRENT), clientOf('a/b', REFUSING)], want: 'a/b' },
      { name: 'one is behind, one refuses', given: [clientOf('a/b', BEHIND), clientOf('a/b', REFUSING)], want: '', said: 'bad listener' },
      { name: 'two gateways', given: [clientOf('a/b', CURRENT), clientOf('a/c', BEHIND), clientOf('a/d', CURRENT)], want: 'a/b,a/d' },
    ]
  for (const { name, given, want, said } of CASES) {
    it(`${want === '' ? 'not programmed' : 'programmed'}: ${name}`, () => {
      see(...given)
      assert.equal(names(), want)
      assert.equal(programmed.state.refusals.get('a/b'), said)
    })
  }

  it('stays programmed while a push is under way, and says nothing when it is accepted', async () => {
    see(clientOf('a/b', CURRENT))
    see(clientOf('a/b', BEHIND))
    await clock.advance(PROGRAMMED_GRACE_MS - 1)
    see(clientOf('a/b', CURRENT))
    await clock.advance(PROGRAMMED_GRACE_MS * 2)
    assert.equal(names(), 'a/b')
    assert.equal(changes, 1)
    assert.equal(clock.pending, 0)
  })

  it('ends after a while without an answer, or without a waypoint; more pushes do not prolong it', async () => {
    for (const left of [[clientOf('a/b', BEHIND)], []]) {
      see(clientOf('a/b', CURRENT))
      see(...left)
      await clock.advance(PROGRAMMED_GRACE_MS / 2)
      see(...left)
      await clock.advance(PROGRAMMED_GRACE_MS / 2)
      assert.equal(names(), '')
      see(...left)
      assert.equal(names(), '')
    }
    assert.equal(changes, 4)
  })

  it('ends at once with a refusal, which is bounded, and comes back with the next acceptance', () => {
    see(clientOf('a/b', CURRENT))
    see(clientOf('a/b', { ...CURRENT, [BACKEND_TYPE]: { refusal: 'x'.repeat(5000) } }))
    assert.equal(names(), '')
    assert.equal(programmed.state.refusals.get('a/b')?.length, REFUSAL_LIMIT_CHARS)
    see(clientOf('a/b', CURRENT))
    assert.equal(names(), 'a/b')
    assert.equal(programmed.state.refusals.size, 0)
  })

  it('leaves no timer behind', () => {
    see(clientOf('a/b', CURRENT))
    see()
    assert.equal(clock.pending, 1)
    programmed[Symbol.dispose]()
    assert.equal(clock.pending, 0)
  })
})
