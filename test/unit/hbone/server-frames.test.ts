// Raw frames against our server: every attack on a connection ends in the error that RFC 9113 or our limits name.
import assert from 'node:assert/strict'
import { H2Error as E } from '../../../hbone/errors.ts'
import { CLIENT_PREFACE, encodeFrame, FrameType as T } from '../../../hbone/frame.ts'
import { closeAttacked, victim } from '../../support/h2-victim.ts'
import { connect, data, headers, ids, repeat, settings, word } from '../../support/raw-h2.ts'

const NONE = Buffer.alloc(0)

/** name, frames after the greeting, error code of the GOAWAY. */
const CONNECTION_ERRORS: readonly (readonly [string, readonly Buffer[], number])[] = [
  ['DATA on stream 0', [data(0, 1)], E.protocolError],
  ['HEADERS on stream 0', [headers(0, [[':method', 'CONNECT']])], E.protocolError],
  ['HEADERS on an even stream', [connect(2)], E.protocolError],
  ['stream ids that go back', [connect(5), connect(3)], E.streamClosed],
  ['DATA on an idle stream', [data(1, 1)], E.protocolError],
  ['RST_STREAM on an idle stream', [word(T.rstStream, 7, 0)], E.protocolError],
  ['WINDOW_UPDATE on an idle stream', [word(T.windowUpdate, 7, 1)], E.protocolError],
  ['RST_STREAM on stream 0', [word(T.rstStream, 0, 0)], E.protocolError],
  ['SETTINGS on a stream', [encodeFrame(T.settings, 0, 1, NONE)], E.protocolError],
  ['SETTINGS of 5 bytes', [encodeFrame(T.settings, 0, 0, Buffer.alloc(5))], E.frameSizeError],
  ['SETTINGS ack with a payload', [encodeFrame(T.settings, 1, 0, Buffer.alloc(6))], E.frameSizeError],
  ['SETTINGS with 33 entries', [settings(...Array.from({ length: 66 }, () => 1))], E.enhanceYourCalm],
  ['ENABLE_PUSH of 2', [settings(2, 2)], E.protocolError],
  ['INITIAL_WINDOW_SIZE above 2^31-1', [settings(4, 0x80000000)], E.flowControlError],
  ['MAX_FRAME_SIZE too small', [settings(5, 16383)], E.protocolError],
  ['MAX_FRAME_SIZE too large', [settings(5, 1 << 24)], E.protocolError],
  [
    'INITIAL_WINDOW_SIZE that overflows an open stream',
    [connect(1), word(T.windowUpdate, 1, 0x7fffffff - 65535), settings(4, 65536)],
    E.flowControlError,
  ],
  ['PING of 7 bytes', [encodeFrame(T.ping, 0, 0, Buffer.alloc(7))], E.frameSizeError],
  ['PING on a stream', [encodeFrame(T.ping, 0, 1, Buffer.alloc(8))], E.protocolError],
  ['GOAWAY on a stream', [encodeFrame(T.goAway, 0, 1, Buffer.alloc(8))], E.protocolError],
  ['GOAWAY of 7 bytes', [encodeFrame(T.goAway, 0, 0, Buffer.alloc(7))], E.frameSizeError],
  ['WINDOW_UPDATE of 3 bytes', [encodeFrame(T.windowUpdate, 0, 0, Buffer.alloc(3))], E.frameSizeError],
  ['WINDOW_UPDATE of 0 on the connection', [word(T.windowUpdate, 0, 0)], E.protocolError],
  ['overflow of the connection window', [word(T.windowUpdate, 0, 0x7fffffff)], E.flowControlError],
  ['PRIORITY of 4 bytes', [encodeFrame(T.priority, 0, 1, Buffer.alloc(4))], E.frameSizeError],
  ['PUSH_PROMISE from a client', [connect(1), encodeFrame(T.pushPromise, 4, 1, Buffer.alloc(4))], E.protocolError],
  ['CONTINUATION without HEADERS', [encodeFrame(T.continuation, 4, 1, NONE)], E.protocolError],
  ['a PING inside a header block', [encodeFrame(T.headers, 0, 1, NONE), encodeFrame(T.ping, 0, 0, Buffer.alloc(8))], E.protocolError],
  ['DATA inside a header block', [encodeFrame(T.headers, 0, 1, NONE), data(1, 1)], E.protocolError],
  ['an unknown frame inside a header block', [encodeFrame(T.headers, 0, 1, NONE), encodeFrame(99, 0, 1)], E.protocolError],
  ['CONTINUATION of another stream', [encodeFrame(T.headers, 0, 1, NONE), encodeFrame(T.continuation, 4, 3)], E.protocolError],
  ['padding longer than DATA', [connect(1), encodeFrame(T.data, 8, 1, Buffer.from([9, 0]))], E.protocolError],
  ['padded DATA without the length', [connect(1), encodeFrame(T.data, 8, 1, NONE)], E.frameSizeError],
  ['padding longer than HEADERS', [encodeFrame(T.headers, 0xc, 1, Buffer.from([9, 0]))], E.protocolError],
  ['HEADERS too short for its priority', [encodeFrame(T.headers, 0x24, 1, Buffer.alloc(4))], E.frameSizeError],
  ['a frame above MAX_FRAME_SIZE', [connect(1), data(1, 65537)], E.frameSizeError],
  ['HEADERS of 40 KiB', [encodeFrame(T.headers, 4, 1, Buffer.alloc(40_000))], E.enhanceYourCalm],
  ['a bad header block', [encodeFrame(T.headers, 4, 1, Buffer.from([0x80]))], E.compressionError],
  ['a table size above the setting', [encodeFrame(T.headers, 4, 1, Buffer.from([0x3f, 0xe2, 0x1f]))], E.compressionError],
  ['HEADERS on a stream that both have closed', [connect(1), data(1, 0, 1), word(T.rstStream, 1, 8), connect(1)], E.streamClosed],
  ['DATA on a stream that the client has reset', [connect(1), word(T.rstStream, 1, 8), data(1, 1)], E.streamClosed],
  [
    'CONTINUATION flood of empty frames',
    [encodeFrame(T.headers, 0, 1, NONE), repeat(encodeFrame(T.continuation, 0, 1), 40)],
    E.enhanceYourCalm,
  ],
  [
    'CONTINUATION flood of bytes',
    [encodeFrame(T.headers, 0, 1, NONE), repeat(encodeFrame(T.continuation, 0, 1, Buffer.alloc(4000)), 20)],
    E.enhanceYourCalm,
  ],
  ['SETTINGS flood', [repeat(settings(), 600)], E.enhanceYourCalm],
  ['SETTINGS ack flood', [repeat(encodeFrame(T.settings, 1, 0), 600)], E.enhanceYourCalm],
  ['PING flood', [repeat(encodeFrame(T.ping, 0, 0, Buffer.alloc(8)), 600)], E.enhanceYourCalm],
  ['PING ack flood', [repeat(encodeFrame(T.ping, 1, 0, Buffer.alloc(8)), 600)], E.enhanceYourCalm],
  ['PRIORITY flood', [repeat(encodeFrame(T.priority, 0, 3, Buffer.alloc(5)), 600)], E.enhanceYourCalm],
  ['empty DATA flood', [connect(1), repeat(data(1, 0), 600)], E.enhanceYourCalm],
  ['WINDOW_UPDATE flood', [connect(1), repeat(word(T.windowUpdate, 1, 1), 600)], E.enhanceYourCalm],
  ['flood of unknown frames', [repeat(encodeFrame(77, 0, 0, Buffer.alloc(3)), 600)], E.enhanceYourCalm],
  ['GOAWAY flood', [connect(1), repeat(encodeFrame(T.goAway, 0, 0, Buffer.alloc(8)), 600)], E.enhanceYourCalm],
  ['RST_STREAM flood on closed streams', [connect(1), word(T.rstStream, 1, 8), repeat(word(T.rstStream, 1, 8), 600)], E.enhanceYourCalm],
  ['rapid reset', ids(600).map((id) => Buffer.concat([connect(id), word(T.rstStream, id, 8)])), E.enhanceYourCalm],
  [
    'made-you-reset by WINDOW_UPDATE of 0',
    ids(600).map((id) => Buffer.concat([connect(id), word(T.windowUpdate, id, 0)])),
    E.enhanceYourCalm,
  ],
  ['made-you-reset by malformed heads', ids(600).map((id) => connect(id, [['te', 'x']])), E.enhanceYourCalm],
  ['streams above the limit, 400 refused', ids(600).map((id) => connect(id)), E.enhanceYourCalm],
]
describe('hbone/server: frames', function () {
  this.timeout(10_000)
  afterEach(closeAttacked)

  for (const [name, frames, code] of CONNECTION_ERRORS) {
    it(`ends the connection: ${name}`, async () => {
      const { peer, closed, clock } = await victim()
      peer.send(...frames)
      assert.equal(await peer.goAway(), code)
      await clock.advance(1000)
      const error = await closed
      assert.equal(error?.code, code === E.enhanceYourCalm ? 'PEER_ABUSE' : 'PROTOCOL_VIOLATION')
    })
  }

  it('refuses bytes of a tunnel before the 200', async () => {
    const { peer, streams } = await victim({ accept: false })
    peer.send(connect(1), data(1, 5))
    assert.equal(await peer.reset(1), E.protocolError)
    await streams[0]?.closed
    assert.equal(
      peer.frames.some((frame) => frame.type === T.headers),
      false,
    )
  })

  it('resets a stream that overruns its window, and ends a connection that overruns its own', async () => {
    const one = await victim()
    one.peer.send(connect(1), repeat(data(1, 65536), 17))
    assert.equal(await one.peer.reset(1), E.flowControlError)
    const two = await victim()
    two.peer.send(...ids(17).map((id) => connect(id)), ...ids(17).map((id) => repeat(data(id, 65536), 16)))
    assert.equal(await two.peer.goAway(), E.flowControlError)
  })

  it('takes 200 streams and refuses the next', async () => {
    const { peer } = await victim()
    peer.send(...ids(201).map((id) => connect(id)))
    assert.equal(await peer.reset(401), E.refusedStream)
    peer.send(word(T.rstStream, 1, 8), connect(403))
    assert.ok(await peer.frame(T.headers, 403))
  })

  it('lets 400 streams be reset in a second, and 600 if they lived longer than one', async () => {
    const { peer, clock } = await victim()
    peer.send(...ids(400).map((id) => Buffer.concat([connect(id), word(T.rstStream, id, 8)])))
    await peer.frame(T.headers, 799)
    await clock.advance(3000)
    for (let round = 0; round < 5; round++) {
      const mine = ids(150).map((id) => id + 800 + round * 300)
      peer.send(...mine.map((id) => connect(id)))
      await peer.frame(T.headers, mine.at(-1))
      await clock.advance(1500)
      peer.send(...mine.map((id) => word(T.rstStream, id, 8)))
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    peer.send(connect(9001))
    assert.ok(await peer.frame(T.headers, 9001))
  })

  it('ignores unknown frames, flags, settings, PRIORITY, and late frames of a stream that it reset', async () => {
    const { peer } = await victim()
    peer.send(encodeFrame(200, 0xff, 5, Buffer.alloc(100)), settings(0x99, 5), encodeFrame(T.priority, 0, 9, Buffer.alloc(5)))
    peer.send(connect(1, [['te', 'bad']]), data(1, 100), word(T.windowUpdate, 1, 5), word(T.rstStream, 1, 0), connect(3))
    assert.ok(await peer.frame(T.headers, 3))
  })

  it('gives credit for padding and for frames of dead streams', async () => {
    const { peer } = await victim({ accept: false })
    peer.send(connect(1, [['te', 'bad']]))
    await peer.reset(1)
    for (let i = 0; i < 20; i++) peer.send(repeat(data(1, 65536), 16))
    peer.send(connect(3))
    const credits = (): number => peer.frames.filter((frame) => frame.type === T.windowUpdate && frame.streamId === 0).length
    await peer.frame(T.windowUpdate, 0, () => credits() > 10)
    assert.ok(credits() > 10)
    assert.equal(
      peer.frames.some((frame) => frame.type === T.goAway),
      false,
    )
  })

  it('refuses a wrong preface, HTTP/1, and a first frame that is not SETTINGS', async () => {
    for (const bytes of [
      Buffer.from('GET / HTTP/1.1\r\nHost: a\r\n\r\n'),
      Buffer.concat([CLIENT_PREFACE, encodeFrame(T.ping, 0, 0, Buffer.alloc(8))]),
    ]) {
      const { peer } = await victim({ greet: false })
      peer.send(bytes)
      assert.equal(await peer.goAway(), E.protocolError)
    }
  })

  it('ends a connection without a preface after 10 s, whatever dribbles in', async () => {
    const { peer, clock, closed } = await victim({ greet: false })
    peer.send(CLIENT_PREFACE.subarray(0, 20))
    await new Promise((resolve) => setTimeout(resolve, 10))
    await clock.advance(9_999)
    assert.equal(peer.isEnded, false)
    await clock.advance(1)
    await peer.goAway()
    await clock.advance(1000)
    assert.equal((await closed)?.code, 'HANDSHAKE_TIMEOUT')
  })

  it('pings after 10 s and ends a silent connection 20 s later; any byte is a sign of life', async () => {
    const { peer, clock, closed } = await victim()
    await peer.frame(T.settings, 0, (frame) => frame.flags === 1)
    await clock.advance(10_000)
    assert.ok(await peer.frame(T.ping))
    await clock.advance(19_000)
    peer.send(encodeFrame(T.ping, 1, 0, Buffer.alloc(8)))
    await new Promise((resolve) => setTimeout(resolve, 20))
    await clock.advance(10_000)
    assert.equal(peer.isEnded, false)
    await clock.advance(25_000)
    await clock.advance(1000)
    assert.equal((await closed)?.code, 'KEEPALIVE_TIMEOUT')
  })

  it('closes a peer that asks and does not read the answers', async () => {
    const { peer, clock, closed } = await victim()
    await peer.frame(T.settings, 0, (frame) => frame.flags === 1)
    peer.socket.pause()
    const pings = repeat(encodeFrame(T.ping, 0, 0, Buffer.alloc(8)), 400)
    const timer = setInterval(() => {
      void clock.advance(4000)
      for (let i = 0; i < 10 && peer.socket.writableLength < 1e6; i++) peer.send(pings)
    }, 1)
    const error = await closed
    clearInterval(timer)
    assert.equal(error?.code, 'PEER_ABUSE')
  })
})
