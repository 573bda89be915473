// The first request of an on-demand client that names no key but what it holds, as Istio's ztunnel does after a reconnect
// (istio/ztunnel:src/xds/client.rs): it follows that, as far as it may.
import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import { create } from '@bufbuild/protobuf'
import type { ServerDuplexStream } from '@grpc/grpc-js'
import { describe, it } from 'mocha'
import { success } from '../../../kit/error.ts'
import { DeltaDiscoveryRequestSchema } from '../../../proto/discovery_pb.ts'
import { SERVER_LIMITS } from '../../../xds/delta-server.ts'
import { DeltaStream } from '../../../xds/delta-stream.ts'
import { Demand } from '../../../xds/demand.ts'
import { encodePush, PiecePool } from '../../../xds/encode-push.ts'
import { PushLine } from '../../../xds/push-line.ts'
import { PushStore } from '../../../xds/push-source.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { keptLog, resource } from '../../support/xds-pair.ts'

const THINGS = 'type.googleapis.com/test.Thing'

class Stage {
  readonly store = new PushStore([THINGS])
  readonly sent: string[] = []
  readonly errors: string[] = []
  readonly stream: DeltaStream
  readonly #clock = new FakeClock()

  constructor(mayDemand: (name: string | undefined) => boolean) {
    const things = { a: resource('a1'), b: resource('b1'), other: resource('other1') }
    this.store.update(new Map([[THINGS, new Map(Object.entries(things))]]))
    const call = Object.assign(new EventEmitter(), { write: () => true, sendMetadata: () => undefined })
    call.on('error', ({ details }: { details: string }) => this.errors.push(details))
    const pool = new PiecePool()
    const demand = new Demand(this.store)
    this.store.onChange((batches) => {
      for (const batch of batches) demand.offer(batch)
      this.stream.offer(batches)
    })
    this.stream = new DeltaStream({
      id: 1,
      call: call as unknown as ServerDuplexStream<Buffer, Buffer>,
      caller: { key: 'k', label: 'k', gateway: undefined, mayDemand: (_type, name) => mayDemand(name) },
      peer: 'p',
      source: this.store,
      demand,
      line: new PushLine(this.#clock, 1),
      pool,
      clock: this.#clock,
      limits: SERVER_LIMITS,
      log: keptLog().log,
      encode: (typeUrl, pending, nonce) => {
        const isThere = (name: string): boolean => this.store.snapshot(THINGS).has(name) && !pending.forgotten.has(name)
        for (const name of pending.names) this.sent.push(isThere(name) ? name : `-${name}`)
        return encodePush({ typeUrl, revision: this.store.revision, nonce }, this.store.snapshot(THINGS), pending, pool)
      },
      onAnswer: () => undefined,
      onEnd: () => undefined,
    })
  }

  first(subscribe: string[], versions: Record<string, string>): void {
    const request = {
      typeUrl: THINGS,
      resourceNamesSubscribe: subscribe,
      resourceNamesUnsubscribe: ['*'],
      initialResourceVersions: versions,
    }
    this.stream.receive(success(create(DeltaDiscoveryRequestSchema, request)))
  }

  answer(nonce: string): void {
    this.stream.receive(success(create(DeltaDiscoveryRequestSchema, { typeUrl: THINGS, responseNonce: nonce })))
  }
}

describe('xds/delta-stream, a client that names what it holds only', () => {
  it('keeps following it, is told what has gone, and gets nothing else', () => {
    const stage = new Stage(() => true)
    stage.first(['*'], { a: '', b: 'b1', gone: '' })
    assert.deepEqual(stage.sent.toSorted(), ['-gone', 'a'])
    stage.answer('1-1')
    stage.store.update(
      new Map([
        [
          THINGS,
          new Map([
            ['b', resource('b2')],
            ['other', resource('other2')],
          ]),
        ],
      ]),
    )
    assert.deepEqual(stage.sent.slice(2), ['b'])
  })

  it('is not for one that names keys too: what they do not stand for is taken back', () => {
    const stage = new Stage(() => true)
    stage.first(['*', 'a'], { a: 'a1', b: 'b1' })
    assert.deepEqual(stage.sent, ['-b'])
  })

  it('opens nothing that the caller may not ask for', () => {
    const stage = new Stage((name) => name === undefined || name === 'a')
    stage.first(['*'], { a: '', b: '' })
    assert.deepEqual(stage.sent, [])
    assert.match(stage.errors.join(), /NOT permitted.* b of/)
  })
})
