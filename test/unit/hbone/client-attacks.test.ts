// Raw frames against our client: a hostile server costs one tunnel or one connection, with the error that says so.
import assert from 'node:assert/strict'
import { connectHbone } from '../../../hbone/client.ts'
import { H2Error as E } from '../../../hbone/errors.ts'
import { encodeFrame, FrameType as T } from '../../../hbone/frame.ts'
import { encodeHeaders } from '../../../hbone/hpack.ts'
import type { MeshError } from '../../../kit/error.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { attackedPair, closeAttacked, SWALLOW } from '../../support/h2-victim.ts'
import { data, headers, RawPeer, repeat, settings, word } from '../../support/raw-h2.ts'

describe('hbone/client: attacks', function () {
  this.timeout(10_000)
  afterEach(closeAttacked)

  async function hostile(...answer: readonly Buffer[]): Promise<{ code: string; peer: RawPeer; closed: Promise<MeshError | undefined> }> {
    const pair = await attackedPair()
    const closed = Promise.withResolvers<MeshError | undefined>()
    const clock = new FakeClock()
    const client = connectHbone(pair.client, { clock, onClosed: closed.resolve })
    const peer = new RawPeer(pair.server)
    const opening = client.open({ authority: '10.0.0.2:80' })
    peer.send(settings(), ...answer)
    const code = await opening
      .then((tunnel) => tunnel.closed.then((error) => error?.code ?? 'ended'))
      .catch((error: MeshError) => error.code)
    await clock.advance(1000)
    return { code, peer, closed: closed.promise }
  }

  const ok = headers(1, [[':status', '200']])
  /** name, what the server sends, the error of the tunnel. */
  const ANSWERS: readonly (readonly [string, readonly Buffer[], string])[] = [
    ['401', [headers(1, [[':status', '401']], 1)], 'CONNECT_REFUSED'],
    ['204 is not a tunnel', [headers(1, [[':status', '204']])], 'CONNECT_REFUSED'],
    ['DATA before the 200', [data(1, 5)], 'PROTOCOL_VIOLATION'],
    ['no :status', [headers(1, [['a', 'b']])], 'PROTOCOL_VIOLATION'],
    [
      'two :status',
      [
        headers(1, [
          [':status', '200'],
          [':status', '200'],
        ]),
      ],
      'PROTOCOL_VIOLATION',
    ],
    ['101', [headers(1, [[':status', '101']])], 'PROTOCOL_VIOLATION'],
    ['a flood of 100', [repeat(headers(1, [[':status', '100']]), 20)], 'PROTOCOL_VIOLATION'],
    [
      '503 with a length',
      [
        headers(1, [
          [':status', '503'],
          ['content-length', '5'],
        ]),
        data(1, 5, 1),
      ],
      'CONNECT_REFUSED',
    ],
    ['RST_STREAM NO_ERROR before the end', [ok, word(T.rstStream, 1, E.noError)], 'STREAM_RESET'],
    ['the end and RST_STREAM NO_ERROR', [ok, data(1, 0, 1), word(T.rstStream, 1, E.noError)], 'ended'],
    ['the end and RST_STREAM CANCEL', [ok, data(1, 0, 1), word(T.rstStream, 1, E.cancel)], 'STREAM_RESET'],
    ['RST_STREAM', [word(T.rstStream, 1, E.internalError)], 'STREAM_RESET'],
    ['REFUSED_STREAM', [word(T.rstStream, 1, E.refusedStream)], 'STREAM_REFUSED'],
    ['GOAWAY below the stream', [encodeFrame(T.goAway, 0, 0, Buffer.alloc(8))], 'GOAWAY'],
    ['a second 200 without END_STREAM', [ok, ok], 'PROTOCOL_VIOLATION'],
    ['a stream that nobody asked for', [headers(3, [[':status', '200']])], 'PROTOCOL_VIOLATION'],
    ['PUSH_PROMISE', [encodeFrame(T.pushPromise, 4, 1, Buffer.alloc(4))], 'PROTOCOL_VIOLATION'],
    ['ENABLE_PUSH', [settings(2, 1)], 'PROTOCOL_VIOLATION'],
    ['overflow of the connection window', [ok, word(T.windowUpdate, 0, 0x7fffffff)], 'PROTOCOL_VIOLATION'],
    ['overflow of a stream window', [ok, word(T.windowUpdate, 1, 0x7fffffff)], 'PROTOCOL_VIOLATION'],
    ['more than the stream window', [ok, repeat(data(1, 65536), 17)], 'PROTOCOL_VIOLATION'],
    ['CONTINUATION flood', [encodeFrame(T.headers, 0, 1), repeat(encodeFrame(T.continuation, 0, 1), 40)], 'PEER_ABUSE'],
    ['PING flood', [repeat(encodeFrame(T.ping, 0, 0, Buffer.alloc(8)), 600)], 'PEER_ABUSE'],
    [
      'a bomb of indexed fields',
      [encodeFrame(T.headers, 4, 1, Buffer.concat([encodeHeaders([[':status', '200']]), Buffer.alloc(16000, 0x90)]))],
      'PEER_ABUSE',
    ],
  ]
  for (const [name, frames, code] of ANSWERS) {
    it(`survives ${name}`, async () => assert.equal((await hostile(...frames)).code, code))
  }

  it('reads a 100 before the 200, and a 200 that ends its half', async () => {
    const pair = await attackedPair()
    const client = connectHbone(pair.client)
    const peer = new RawPeer(pair.server)
    const opening = client.open({ authority: '10.0.0.2:80' })
    peer.send(
      settings(),
      headers(1, [[':status', '103']]),
      headers(
        1,
        [
          [':status', '200'],
          ['baggage', 'k8s.pod.name=x'],
          ['content-length', '5'],
        ],
        1,
      ),
    )
    const tunnel = await opening
    assert.deepEqual({ ...tunnel.responseHeaders }, { baggage: 'k8s.pod.name=x' })
    const ended = new Promise<void>((resolve) => tunnel.attach({ ...SWALLOW, onEnd: resolve }))
    await ended
    tunnel.end()
    assert.equal(await tunnel.closed, undefined)
  })

  it('keeps to a limit of 0 streams after SETTINGS, and to one that grows', async () => {
    const pair = await attackedPair()
    const client = connectHbone(pair.client)
    const peer = new RawPeer(pair.server)
    const changed = (): Promise<void> => new Promise((resolve) => Object.assign(client, { onCapacity: resolve }))
    let next = changed()
    peer.send(settings(3, 0))
    await next
    await assert.rejects(client.open({ authority: 'a:1' }), { code: 'STREAM_LIMIT' })
    next = changed()
    peer.send(settings(3, 1))
    await next
    const opening = client.open({ authority: 'a:1' })
    await assert.rejects(client.open({ authority: 'a:1' }), { code: 'STREAM_LIMIT' })
    peer.send(headers(1, [[':status', '200']]))
    await opening
  })
})
