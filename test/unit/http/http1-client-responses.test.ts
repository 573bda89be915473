// HTTP/1.1 as a client: which responses are believed, and whether the connection goes on after them.
import assert from 'node:assert/strict'
import { ask, describeAnswer, dialRaw, settle } from '../../support/http1-ends.ts'

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi'

/** What a server sends; what the caller gets: `STATUS body`, or the code of the failure; whether the connection can go on. */
const RESPONSES: readonly {
  readonly name: string
  readonly bytes: string
  readonly want: string
  readonly method?: string
  readonly goesOn?: boolean
  readonly ends?: boolean
}[] = [
  { name: 'known length', bytes: OK, want: '200 hi', goesOn: true },
  { name: 'empty', bytes: 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n', want: '200 ', goesOn: true },
  { name: 'chunked', bytes: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n', want: '200 hi', goesOn: true },
  {
    name: 'chunked with trailers',
    bytes: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX: y\r\nContent-Length: 3\r\n\r\n',
    want: '200 hi x=y',
    goesOn: true,
  },
  { name: 'until the end', bytes: 'HTTP/1.1 200 OK\r\n\r\nhi', want: '200 hi', ends: true },
  { name: 'until the end, empty', bytes: 'HTTP/1.1 200 OK\r\n\r\n', want: '200 ', ends: true },
  { name: 'HTTP/1.0', bytes: 'HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi', want: '200 hi' },
  {
    name: 'HTTP/1.0 keep-alive is not believed',
    bytes: 'HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi',
    want: '200 hi',
  },
  { name: 'close', bytes: 'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi', want: '200 hi' },
  { name: 'no reason', bytes: 'HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nhi', want: '200 hi', goesOn: true },
  { name: 'an empty reason', bytes: 'HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nhi', want: '200 hi', goesOn: true },
  { name: 'HEAD', method: 'HEAD', bytes: 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n', want: '200 ', goesOn: true },
  { name: 'HEAD, chunked', method: 'HEAD', bytes: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n', want: '200 ', goesOn: true },
  { name: 'HEAD, no length', method: 'HEAD', bytes: 'HTTP/1.1 200 OK\r\n\r\n', want: '200 ', goesOn: true },
  { name: 'HEAD with a body', method: 'HEAD', bytes: OK, want: '200 ' },
  { name: '204', bytes: 'HTTP/1.1 204 No Content\r\n\r\n', want: '204 ', goesOn: true },
  { name: '204 with length 0', bytes: 'HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n', want: '204 ', goesOn: true },
  { name: '304 with a length', bytes: 'HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n', want: '304 ', goesOn: true },
  { name: 'interim first', bytes: `HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n${OK}`, want: '103 200 hi', goesOn: true },
  {
    name: 'hop-by-hop fields',
    bytes: 'HTTP/1.1 200 OK\r\nKeep-Alive: 5\r\nConnection: keep-alive, x-own\r\nX-Own: 1\r\nContent-Length: 2\r\n\r\nhi',
    want: '200 hi',
    goesOn: true,
  },
  { name: 'a second response', bytes: OK + OK, want: '200 hi' },
  { name: 'one byte more', bytes: `${OK}x`, want: '200 hi' },
  { name: 'cut in the head', bytes: 'HTTP/1.1 200 OK\r\nConte', want: 'CONNECTION_CLOSED', ends: true },
  { name: 'nothing', bytes: '', want: 'CONNECTION_CLOSED', ends: true },
  { name: 'cut in the body', bytes: 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi', want: '200 hi UPSTREAM_RESET', ends: true },
  {
    name: 'cut in a chunk',
    bytes: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhi',
    want: '200 hi UPSTREAM_RESET',
    ends: true,
  },
  {
    name: 'cut before the last chunk',
    bytes: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n',
    want: '200 hi UPSTREAM_RESET',
    ends: true,
  },
  { name: 'a bad chunk', bytes: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\nx', want: '200 hi UPSTREAM_BAD_MESSAGE' },
]

const BAD = [
  'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi',
  'HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nhi',
  'HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nhi',
  'HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nhi',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nhi',
  'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  'HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nhi',
  'HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  'HTTP/1.1 100 Continue\r\nContent-Length: 2\r\n\r\nhi',
  'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n',
  'HTTP/1.1 200 OK\nContent-Length: 2\n\nhi',
  'HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n',
  'HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n',
  'HTTP/1.1 200 OK\r\nA : b\r\n\r\n',
  'HTTP/1.1 200 OK\r\nA: \x00\r\n\r\n',
  'HTTP/1.1 200 OK\r\n: b\r\n\r\n',
  'HTTP/1.1 200 OK\r\nConnection: content-length\r\nContent-Length: 2\r\n\r\nhi',
  'HTTP/1.1 99 X\r\n\r\n',
  'HTTP/1.1 600 X\r\n\r\n',
  'HTTP/1.1 20 X\r\n\r\n',
  'HTTP/1.1 2000 X\r\n\r\n',
  'HTTP/1.1 2x0 X\r\n\r\n',
  'HTTP/1.1  200 OK\r\n\r\n',
  'HTTP/1.1\t200 OK\r\n\r\n',
  'HTTP/1.1 200OK\r\n\r\n',
  'HTTP/1.1 200 O\x00K\r\n\r\n',
  'HTTP/1.1\r\n\r\n',
  'HTTP/2.0 200 OK\r\n\r\n',
  'HTTP/1.2 200 OK\r\n\r\n',
  'http/1.1 200 OK\r\n\r\n',
  'ICY 200 OK\r\n\r\n',
  ' HTTP/1.1 200 OK\r\n\r\n',
  '\r\nHTTP/1.1 200 OK\r\n\r\n',
  '\x16\x03\x01',
  `HTTP/1.1 200 OK\r\nA: ${'b'.repeat(61_440)}\r\n\r\n`,
  `HTTP/1.1 200 OK\r\n${'a: b\r\n'.repeat(101)}\r\n`,
  'HTTP/1.1 103 X\r\n\r\n'.repeat(17),
]

describe('http/http1-client: responses', () => {
  for (const row of RESPONSES) {
    for (const isCut of [false, true]) {
      it(`reads: ${row.name}${isCut ? ', byte by byte' : ''}`, async () => {
        const { raw, connection } = dialRaw()
        const answer = ask(connection, { method: row.method ?? 'GET' })
        for (const piece of isCut ? row.bytes : [row.bytes]) raw.channel.write(Buffer.from(piece, 'latin1'))
        if (row.ends === true) raw.channel.end()
        await settle(8)
        assert.equal(describeAnswer(answer), row.want)
        assert.equal(connection.canRequest, row.goesOn ?? false)
        assert.equal(connection.active, 0)
        connection.close()
      })
    }
  }

  for (const bytes of BAD) {
    it(`does not believe ${JSON.stringify(bytes.slice(0, 80))}`, async () => {
      const { raw, connection, closed } = dialRaw()
      const answer = ask(connection)
      await raw.send(bytes)
      assert.deepEqual([answer.failed, answer.wasSent, answer.head], ['UPSTREAM_BAD_MESSAGE', true, undefined])
      assert.deepEqual([closed, raw.isClosed, connection.canRequest], [['UPSTREAM_BAD_MESSAGE'], true, false])
    })
  }
})
