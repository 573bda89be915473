// Heads and frames that our server must refuse without ending the connection, and with which answer.
import assert from 'node:assert/strict'
import { H2Error as E } from '../../../hbone/errors.ts'
import { FrameType as T } from '../../../hbone/frame.ts'
import { encodeHeaders } from '../../../hbone/hpack.ts'
import { closeAttacked, victim } from '../../support/h2-victim.ts'
import { connect, data, headers, word } from '../../support/raw-h2.ts'

/** name, frames, code of the RST_STREAM on stream 1; the connection goes on. */
const STREAM_ERRORS: readonly (readonly [string, readonly Buffer[], number])[] = [
  ['overflow of a stream window', [connect(1), word(T.windowUpdate, 1, 0x7fffffff)], E.flowControlError],
  ['WINDOW_UPDATE of 0', [connect(1), word(T.windowUpdate, 1, 0)], E.protocolError],
  ['DATA after END_STREAM', [connect(1), data(1, 1, 1), data(1, 1)], E.streamClosed],
  ['trailers without END_STREAM', [connect(1), headers(1, [['x', 'y']])], E.protocolError],
  ['trailers with a pseudo field', [connect(1), headers(1, [[':status', '200']], 1)], E.protocolError],
  ['no :method', [headers(1, [[':authority', 'a:1']])], E.protocolError],
  ['no :authority', [headers(1, [[':method', 'CONNECT']])], E.protocolError],
  [':path on a CONNECT', [connect(1, [[':path', '/']])], E.protocolError],
  [':scheme on a CONNECT', [connect(1, [[':scheme', 'https']])], E.protocolError],
  [':protocol (extended CONNECT)', [connect(1, [[':protocol', 'websocket']])], E.protocolError],
  ['an unknown pseudo field', [connect(1, [[':x', 'y']])], E.protocolError],
  ['two :authority', [connect(1, [[':authority', 'b:1']])], E.protocolError],
  [
    'a pseudo field after a plain one',
    [
      headers(1, [
        [':method', 'CONNECT'],
        ['a', 'b'],
        [':authority', 'a:1'],
      ]),
    ],
    E.protocolError,
  ],
  ['an upper-case name', [connect(1, [['Baggage', 'x']])], E.protocolError],
  ['an empty name', [connect(1, [['', 'x']])], E.protocolError],
  ['a name with a blank', [connect(1, [['a b', 'x']])], E.protocolError],
  ['a value with CR LF', [connect(1, [['a', 'x\r\nb: c']])], E.protocolError],
  ['a value with NUL', [connect(1, [['a', 'x\0']])], E.protocolError],
  ['a value that begins with a blank', [connect(1, [['a', ' x']])], E.protocolError],
  ['connection', [connect(1, [['connection', 'close']])], E.protocolError],
  ['transfer-encoding', [connect(1, [['transfer-encoding', 'chunked']])], E.protocolError],
  ['content-length', [connect(1, [['content-length', '5']])], E.protocolError],
  ['te: gzip', [connect(1, [['te', 'gzip']])], E.protocolError],
  [
    'two traceparent',
    [
      connect(1, [
        ['traceparent', 'a'],
        ['traceparent', 'b'],
      ]),
    ],
    E.protocolError,
  ],
]

/** name, head, status. */
const REFUSED: readonly (readonly [string, Buffer, string])[] = [
  [
    'GET',
    headers(1, [
      [':method', 'GET'],
      [':scheme', 'https'],
      [':path', '/'],
      [':authority', 'a:1'],
    ]),
    '400',
  ],
  [
    'authority without a port',
    headers(1, [
      [':method', 'CONNECT'],
      [':authority', '10.0.0.2'],
    ]),
    '400',
  ],
  [
    'authority with port 0',
    headers(1, [
      [':method', 'CONNECT'],
      [':authority', '10.0.0.2:0'],
    ]),
    '400',
  ],
  [
    'authority with a path',
    headers(1, [
      [':method', 'CONNECT'],
      [':authority', '10.0.0.2:80/x'],
    ]),
    '400',
  ],
  [
    'authority with user info',
    headers(1, [
      [':method', 'CONNECT'],
      [':authority', 'u@10.0.0.2:80'],
    ]),
    '400',
  ],
  ['another host header', connect(1, [['host', '10.0.0.3:80']]), '400'],
  [
    'a CONNECT that ends the stream',
    headers(
      1,
      [
        [':method', 'CONNECT'],
        [':authority', '10.0.0.2:80'],
      ],
      1,
    ),
    '400',
  ],
  [
    '101 fields',
    connect(
      1,
      Array.from({ length: 99 }, (_, i) => [`a${i}`, ''] as const),
    ),
    '431',
  ],
]

describe('hbone/server: streams', function () {
  this.timeout(10_000)
  afterEach(closeAttacked)

  for (const [name, frames, code] of STREAM_ERRORS) {
    it(`resets the stream only: ${name}`, async () => {
      const { peer } = await victim()
      peer.send(...frames)
      assert.equal(await peer.reset(1), code)
      peer.send(connect(3))
      assert.ok(await peer.frame(T.headers, 3))
    })
  }

  for (const [name, head, status] of REFUSED) {
    it(`answers ${status}: ${name}`, async () => {
      const { peer, rejects, streams } = await victim()
      peer.send(head)
      const answer = await peer.frame(T.headers, 1)
      assert.deepEqual(answer?.payload, encodeHeaders([[':status', status]]))
      assert.equal((answer?.flags ?? 0) & 1, 1)
      assert.deepEqual([rejects[0]?.[0], streams.length], [Number(status), 0])
    })
  }
})
