// A socket as a channel: half-closes, resets, back-pressure over loopback.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createConnection, createServer, type Server, type Socket } from 'node:net'
import type { Channel } from '../../../http/channel.ts'
import { socketChannel } from '../../../http/socket-channel.ts'

describe('http/socket-channel', () => {
  let server: Server
  let peer: Socket
  let channel: Channel
  let got: string[]

  beforeEach(async () => {
    server = createServer({ allowHalfOpen: true })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const address = server.address()
    assert.ok(address !== null && typeof address === 'object')
    channel = socketChannel(createConnection({ port: address.port, host: '127.0.0.1', allowHalfOpen: true }))
    ;[peer] = (await once(server, 'connection')) as [Socket]
    peer.on('error', () => undefined)
    got = []
  })

  afterEach(() => {
    channel.reset()
    peer.destroy()
    server.close()
  })

  function attach(): Promise<string> {
    const { promise, resolve } = Promise.withResolvers<string>()
    channel.attach({
      onData: (chunk) => void got.push(chunk.toString()),
      onEnd: () => void got.push('end'),
      onWritable: () => void got.push('writable'),
      onClosed: (error) => resolve(error?.code ?? '-'),
    })
    return promise
  }

  it('ends in order, one half after the other', async () => {
    const closed = attach()
    peer.end('hello')
    await once(peer, 'finish')
    const parts: Buffer[] = []
    peer.on('data', (part: Buffer) => void parts.push(part))
    const bytes = Buffer.from('answer')
    channel.write(bytes)
    bytes.fill(0) // it was copied
    channel.end()
    await once(peer, 'end')
    assert.equal(await closed, '-')
    assert.deepEqual(got, ['hello', 'end'])
    assert.equal(Buffer.concat(parts).toString(), 'answer')
  })

  it('tells a reset from an end', async () => {
    const closed = attach()
    peer.resetAndDestroy()
    assert.equal(await closed, 'CHANNEL_FAILED')
  })

  it('resets', async () => {
    void attach()
    const { promise: failed, resolve } = Promise.withResolvers<boolean>()
    peer.on('close', resolve)
    peer.resume()
    channel.reset()
    channel.reset()
    channel.write(Buffer.from('x'))
    channel.end()
    assert.equal(await failed, true)
  })

  it('says when to stop writing and when to go on', async () => {
    void attach()
    let writes = 0
    while (channel.write(Buffer.alloc(64 * 1024))) assert.ok(++writes < 1000)
    peer.resume()
    while (!got.includes('writable')) await new Promise((resolve) => setTimeout(resolve, 1))
  })

  it('fails when nobody listens', async () => {
    const socket = createConnection({ port: 1, host: '127.0.0.1', allowHalfOpen: true })
    const { promise, resolve } = Promise.withResolvers<string>()
    socketChannel(socket).attach({
      onData: () => undefined,
      onEnd: () => undefined,
      onWritable: () => undefined,
      onClosed: (error) => resolve(error?.code ?? '-'),
    })
    assert.equal(await promise, 'CHANNEL_FAILED')
  })
})
