// A tunnel as a channel: what is written arrives in order whatever the tunnel takes, and credit follows the reader.
import assert from 'node:assert/strict'
import type { Block } from '../../../hbone/block.ts'
import type { HboneTunnel, TunnelSink } from '../../../hbone/tunnel.ts'
import type { ChannelSink } from '../../../http/channel.ts'
import { tunnelChannel } from '../../../waypoint/tunnel-channel.ts'

class FakeTunnel implements HboneTunnel {
  readonly responseHeaders = {}
  readonly closed = Promise.resolve(undefined)
  sink: TunnelSink | undefined
  sent: string[] = []
  credited = 0
  hasEnded = false
  wasReset = false
  takesMore = true

  attach(sink: TunnelSink): void {
    this.sink = sink
  }

  sendBlock(_block: Block, _length: number): boolean {
    throw new Error('not used')
  }

  sendBytes(bytes: Buffer, length: number): boolean {
    this.sent.push(bytes.subarray(0, length).toString())
    return this.takesMore
  }

  end(): void {
    this.hasEnded = true
  }

  reset(): void {
    this.wasReset = true
  }

  credit(bytes: number): void {
    this.credited += bytes
  }
}

function setUp(): { tunnel: FakeTunnel; channel: ReturnType<typeof tunnelChannel>; events: string[] } {
  const tunnel = new FakeTunnel()
  const channel = tunnelChannel(tunnel)
  const events: string[] = []
  const sink: ChannelSink = {
    onData: (chunk) => void events.push(chunk.toString()),
    onEnd: () => void events.push('end'),
    onWritable: () => void events.push('writable'),
    onClosed: (error) => void events.push(`closed ${error?.code ?? 'in order'}`),
  }
  channel.attach(sink)
  return { tunnel, channel, events }
}

describe('tunnel-channel', () => {
  it('credits what the reader took', () => {
    const { tunnel, events } = setUp()
    tunnel.sink?.onData(Buffer.from('abc'))
    assert.deepEqual([events, tunnel.credited], [['abc'], 3])
  })

  it('credits what came to a paused reader when it goes on', () => {
    const { tunnel, channel } = setUp()
    channel.pause()
    tunnel.sink?.onData(Buffer.from('abc'))
    tunnel.sink?.onData(Buffer.from('de'))
    assert.equal(tunnel.credited, 0)
    channel.resume()
    assert.equal(tunnel.credited, 5)
  })

  it('gives the connection back what a paused reader held when it closes', () => {
    const { tunnel, channel, events } = setUp()
    channel.pause()
    tunnel.sink?.onData(Buffer.from('abc'))
    tunnel.sink?.onClosed(undefined)
    assert.equal(tunnel.credited, 3)
    assert.deepEqual(events, ['abc', 'closed in order'])
  })

  it('sends nothing while the tunnel takes nothing, then all of it in order, then the end', () => {
    const { tunnel, channel, events } = setUp()
    tunnel.takesMore = false
    assert.equal(channel.write(Buffer.from('a')), false)
    assert.equal(channel.write(Buffer.from('b')), false)
    channel.end()
    assert.deepEqual([tunnel.sent, tunnel.hasEnded], [['a'], false])
    tunnel.takesMore = true
    tunnel.sink?.onWritable()
    assert.deepEqual([tunnel.sent, tunnel.hasEnded, events], [['a', 'b'], true, []])
  })

  it('tells that it may be written to again', () => {
    const { tunnel, channel, events } = setUp()
    tunnel.takesMore = false
    channel.write(Buffer.from('a'))
    tunnel.takesMore = true
    tunnel.sink?.onWritable()
    assert.deepEqual(events, ['writable'])
  })

  it('cuts what is larger than a block', () => {
    const { tunnel, channel } = setUp()
    channel.write(Buffer.alloc(150 * 1024, 'x'))
    assert.deepEqual(
      tunnel.sent.map((piece) => piece.length),
      [65536, 65536, 22528],
    )
  })

  it('writes a copy', () => {
    const { tunnel, channel } = setUp()
    tunnel.takesMore = false
    channel.write(Buffer.from('a'))
    const bytes = Buffer.from('b')
    channel.write(bytes)
    bytes.fill('x')
    tunnel.takesMore = true
    tunnel.sink?.onWritable()
    assert.deepEqual(tunnel.sent, ['a', 'b'])
  })
})
