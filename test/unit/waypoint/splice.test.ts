// Bytes between two channels.
import assert from 'node:assert/strict'
import type { Channel, ChannelSink } from '../../../http/channel.ts'
import { httpFailure } from '../../../http/errors.ts'
import { spliceChannels } from '../../../waypoint/splice.ts'

class FakeChannel implements Channel {
  sink: ChannelSink | undefined
  text = ''
  hasEnded = false
  wasReset = false
  isPaused = false
  takesMore = true

  attach(sink: ChannelSink): void {
    this.sink = sink
  }

  write(bytes: Buffer): boolean {
    this.text += bytes.toString()
    return this.takesMore
  }

  end(): void {
    this.hasEnded = true
  }

  reset(): void {
    this.wasReset = true
  }

  pause(): void {
    this.isPaused = true
  }

  resume(): void {
    this.isPaused = false
  }
}

describe('splice', () => {
  let a: FakeChannel
  let b: FakeChannel
  beforeEach(() => {
    a = new FakeChannel()
    b = new FakeChannel()
  })

  it('carries bytes and ends both ways', async () => {
    const counters = { fromA: 0, fromB: 0 }
    const done = spliceChannels(a, b, counters)
    a.sink?.onData(Buffer.from('hello'))
    a.sink?.onEnd()
    b.sink?.onData(Buffer.from('hi'))
    b.sink?.onEnd()
    a.sink?.onClosed(undefined)
    b.sink?.onClosed(undefined)
    assert.deepEqual(await done, { by: 'both', error: undefined })
    assert.deepEqual([a.text, b.text, a.hasEnded, b.hasEnded, counters], ['hi', 'hello', true, true, { fromA: 5, fromB: 2 }])
  })

  it('a failure of one side resets the other', async () => {
    const done = spliceChannels(a, b, { fromA: 0, fromB: 0 })
    b.sink?.onClosed(httpFailure('CONNECTION_CLOSED'))
    const end = await done
    assert.deepEqual([end.by, end.error?.code, a.wasReset], ['b', 'CONNECTION_CLOSED', true])
  })

  it('a slow side slows the other down', () => {
    void spliceChannels(a, b, { fromA: 0, fromB: 0 })
    b.takesMore = false
    a.sink?.onData(Buffer.from('x'))
    assert.equal(a.isPaused, true)
    b.sink?.onWritable()
    assert.equal(a.isPaused, false)
  })
})
