// A channel of which the beginning was read: delivered first, with everything else as before.
import assert from 'node:assert/strict'
import { prefixed } from '../../../http/prefixed.ts'
import { channelPair } from '../../support/channel-pair.ts'
import { RawEnd, settle } from '../../support/http1-ends.ts'

describe('http/prefixed', () => {
  it('delivers the bytes first', async () => {
    const [near, far] = channelPair()
    const client = new RawEnd(far)
    await client.send('world')
    const got: string[] = []
    const channel = prefixed(near, Buffer.from('hello'))
    channel.attach({
      onData: (chunk) => void got.push(chunk.toString()),
      onEnd: () => {
        got.push('end')
        channel.end()
      },
      onWritable: () => undefined,
      onClosed: (error) => void got.push(`closed ${error?.code}`),
    })
    assert.deepEqual(got, ['hello'])
    channel.write(Buffer.from('answer'))
    await client.end()
    await settle()
    assert.deepEqual(got, ['hello', 'world', 'end', 'closed undefined'])
    assert.equal(client.text, 'answer')
  })

  it('pauses when the sink asks for it within the first bytes', async () => {
    const [near, far] = channelPair()
    const client = new RawEnd(far)
    await client.send('world')
    const got: string[] = []
    const channel = prefixed(near, Buffer.from('hello'))
    channel.attach({
      onData: (chunk) => {
        got.push(chunk.toString())
        channel.pause()
      },
      onEnd: () => undefined,
      onWritable: () => undefined,
      onClosed: () => undefined,
    })
    await settle()
    assert.deepEqual(got, ['hello'])
    channel.resume()
    await settle()
    assert.deepEqual(got, ['hello', 'world'])
    channel.reset()
  })

  it('that is reset within the first bytes delivers nothing more', async () => {
    const [near, far] = channelPair()
    const client = new RawEnd(far)
    const got: string[] = []
    const channel = prefixed(near, Buffer.from('hello'))
    channel.attach({
      onData: (chunk) => {
        got.push(chunk.toString())
        channel.reset()
      },
      onEnd: () => undefined,
      onWritable: () => undefined,
      onClosed: () => undefined,
    })
    await client.send('world')
    assert.deepEqual(got, ['hello'])
    assert.equal(client.isClosed, true)
  })

  it('without bytes is the channel itself', () => {
    const [near] = channelPair()
    assert.equal(prefixed(near, Buffer.alloc(0)), near)
  })
})
