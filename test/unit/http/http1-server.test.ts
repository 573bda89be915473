// HTTP/1.1 as a server: order, framing of responses, bodies that nobody reads, switches.
import assert from 'node:assert/strict'
import type { ServerExchange } from '../../../http/exchange.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { logBody, QUICK_LIMITS, serveRaw, settle } from '../../support/http1-ends.ts'

const GET = 'GET /a HTTP/1.1\r\nHost: h\r\n\r\n'
const OK = { status: 200, headers: [] }

/** Request, what the handler answers, what the client gets. */
const RESPONSES: readonly {
  readonly name: string
  readonly request: string
  readonly respond: (exchange: ServerExchange) => void
  readonly want: string
  readonly isClosed?: boolean
}[] = [
  { name: 'no body', request: GET, respond: (exchange) => exchange.respond(OK, 0), want: 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n' },
  {
    name: 'known length',
    request: GET,
    respond: (exchange) => write(exchange, 5, 'hello'),
    want: 'HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello',
  },
  {
    name: 'chunked',
    request: GET,
    respond: (exchange) => write(exchange, undefined, 'hello', 'x'),
    want: 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\nx\r\n0\r\n\r\n',
  },
  {
    name: 'chunked and empty',
    request: GET,
    respond: (exchange) => write(exchange, undefined),
    want: 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
  },
  {
    name: 'trailers, framing dropped',
    request: GET,
    respond: (exchange) =>
      exchange.respond(OK, undefined).end([
        ['x-a', 'b'],
        ['content-length', '3'],
      ]),
    want: 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx-a: b\r\n\r\n',
  },
  {
    name: 'HEAD keeps the told length',
    request: 'HEAD / HTTP/1.1\r\nHost: h\r\n\r\n',
    respond: (exchange) => exchange.respond({ status: 200, headers: [['content-length', '7']] }, 0).write(Buffer.from('x')),
    want: 'HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n',
  },
  {
    name: 'HEAD with an unknown length',
    request: 'HEAD / HTTP/1.1\r\nHost: h\r\n\r\n',
    respond: (exchange) => write(exchange, undefined, 'x'),
    want: 'HTTP/1.1 200 OK\r\n\r\n',
  },
  {
    name: '204',
    request: GET,
    respond: (exchange) => exchange.respond({ status: 204, headers: [] }, 0),
    want: 'HTTP/1.1 204 No Content\r\n\r\n',
  },
  {
    name: '304 keeps the told length',
    request: GET,
    respond: (exchange) =>
      exchange.respond(
        {
          status: 304,
          headers: [
            ['content-length', '7'],
            ['etag', '"x"'],
          ],
        },
        0,
      ),
    want: 'HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\netag: "x"\r\n\r\n',
  },
  {
    name: 'a status without a reason',
    request: GET,
    respond: (exchange) => exchange.respond({ status: 599, headers: [] }, 0),
    want: 'HTTP/1.1 599 \r\ncontent-length: 0\r\n\r\n',
  },
  {
    name: 'framing fields of the handler are dropped',
    request: GET,
    respond: (exchange) =>
      exchange.respond(
        {
          status: 200,
          headers: [
            ['connection', 'x'],
            ['transfer-encoding', 'x'],
            ['content-length', '9'],
            ['keep-alive', '1'],
            ['a', 'b'],
          ],
        },
        0,
      ),
    want: 'HTTP/1.1 200 OK\r\na: b\r\ncontent-length: 0\r\n\r\n',
  },
  {
    name: 'the client asks for close',
    request: 'GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n',
    respond: (exchange) => exchange.respond(OK, 0),
    want: 'HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n',
    isClosed: true,
  },
  {
    name: 'HTTP/1.0 until the end, no interim response',
    request: 'GET / HTTP/1.0\r\nHost: h\r\n\r\n',
    respond: (exchange) => {
      exchange.inform({ status: 103, headers: [] })
      write(exchange, undefined, 'hello')
    },
    want: 'HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhello',
    isClosed: true,
  },
  {
    name: 'interim responses',
    request: GET,
    respond: (exchange) => {
      exchange.inform({ status: 103, headers: [['link', '</x>']] })
      exchange.inform({ status: 101, headers: [] })
      exchange.respond(OK, 0)
    },
    want: 'HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n',
  },
]

describe('http/http1-server', () => {
  for (const row of RESPONSES) {
    it(`responds: ${row.name}`, async () => {
      const { raw, connection } = serveRaw(row.respond)
      await raw.send(row.request)
      assert.equal(raw.text, row.want)
      assert.equal(raw.isEnded, row.isClosed ?? false)
      assert.equal(connection.isIdle, true)
      connection.close()
    })
  }

  it('writes the head and the first bytes together', async () => {
    const served = serveRaw((exchange) => write(exchange, 5, 'hello'))
    const writes: number[] = []
    const { write: send } = served.near
    served.near.write = (bytes) => {
      writes.push(bytes.length)
      return send.call(served.near, bytes)
    }
    await served.raw.send(GET)
    assert.equal(writes.length, 1)
    served.connection.close()
  })

  it('sends the head alone when the body takes its time', async () => {
    const { raw, exchanges, connection } = serveRaw()
    await raw.send(GET)
    const writer = exchanges[0]!.respond(OK, 2)
    await settle()
    assert.equal(raw.text, 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n')
    writer.write(Buffer.from('hi'))
    writer.end()
    await settle()
    assert.match(raw.text, /hi$/)
    connection.close()
  })

  it('serves pipelined requests one after the other', async () => {
    const { raw, exchanges, connection } = serveRaw()
    await raw.send(`${GET}POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi${GET}`)
    assert.deepEqual(
      exchanges.map(({ request }) => request.path),
      ['/a'],
    )
    write(exchanges[0]!, 1, '1')
    await settle()
    const body = logBody(exchanges[1]!.body)
    await settle()
    assert.deepEqual([exchanges.length, body.text], [2, 'hi'])
    write(exchanges[1]!, 1, '2')
    await settle()
    write(exchanges[2]!, 1, '3')
    await settle()
    assert.equal(raw.text.replaceAll(/HTTP.*?\r\n\r\n/gs, '|'), '|1|2|3')
    connection.close()
  })

  it('takes thousands of pipelined requests without a deep stack', async () => {
    const { raw, exchanges, connection } = serveRaw((exchange) => exchange.respond(OK, 0))
    await raw.send(GET.repeat(5_000))
    assert.equal(exchanges.length, 5_000)
    connection.close()
  })

  it('delivers nothing before start, and nothing while paused', async () => {
    const { raw, exchanges, connection } = serveRaw()
    await raw.send('POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n')
    const { body } = exchanges[0]!
    assert.equal(body.length, undefined)
    let text = ''
    let isEnded = false
    body.start({
      onData: (chunk) => {
        text += chunk.toString()
        body.pause()
      },
      onEnd: () => {
        isEnded = true
      },
      onError: assert.ifError,
    })
    assert.equal(text, 'hello')
    await raw.send('5\r\nworld\r\n0\r\n\r\n')
    assert.equal(text, 'hello')
    body.resume()
    await settle()
    assert.equal(text, 'helloworld')
    assert.equal(isEnded, false)
    body.resume()
    assert.equal(isEnded, true)
    connection.close()
  })

  it('slows a client down whose body is not read', async () => {
    const { raw, near, exchanges, connection } = serveRaw()
    await raw.send('POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10000000\r\n\r\n')
    for (let i = 0; i < 100; i++) await raw.send('x'.repeat(10_000))
    assert.ok(near.delivered < 50_000, `${near.delivered} taken`)
    const log = logBody(exchanges[0]!.body)
    await settle()
    assert.equal(log.text.length, 1_000_000)
    connection.close()
  })

  it('tells a writer when the client does not read', async () => {
    const { raw, exchanges, connection } = serveRaw()
    await raw.send(GET)
    raw.channel.pause()
    const writer = exchanges[0]!.respond(OK, undefined)
    let drains = 0
    writer.onDrain = () => {
      drains++
    }
    let writes = 0
    while (writer.write(Buffer.alloc(10_000))) if (++writes > 100) break
    assert.ok(writes < 50)
    raw.channel.resume()
    await settle()
    assert.equal(drains, 1)
    assert.equal(writer.write(Buffer.from('x')), true)
    connection.close()
  })

  describe('bodies that nobody reads', () => {
    it('drops a short one and goes on', async () => {
      const { raw, exchanges, connection } = serveRaw((exchange) => exchange.respond(OK, 0))
      await raw.send('POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhe')
      await raw.send(`llo${GET}`)
      assert.equal(exchanges.length, 2)
      assert.equal(raw.isEnded, false)
      connection.close()
    })

    it('closes instead of dropping a long one', async () => {
      const { raw, exchanges, closed } = serveRaw((exchange) => exchange.respond(OK, 0))
      await raw.send('POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5000000\r\n\r\nhello')
      assert.match(raw.text, /connection: close/)
      assert.equal(raw.isEnded, true)
      await raw.end()
      assert.deepEqual([exchanges.length, closed], [1, ['-']])
    })

    it('closes when a chunked one turns out long', async () => {
      const { raw, exchanges } = serveRaw((exchange) => exchange.respond(OK, 0))
      await raw.send('POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n')
      for (let i = 0; i < 10; i++) await raw.send(`2710\r\n${'x'.repeat(10_000)}\r\n`)
      assert.equal(raw.isEnded, true)
      assert.equal(exchanges.length, 1)
    })

    it('closes when it does not come', async () => {
      const clock = new FakeClock()
      const { raw, closed } = serveRaw((exchange) => exchange.respond(OK, 0), clock)
      await raw.send('POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n')
      assert.equal(raw.isEnded, false)
      await clock.advance(QUICK_LIMITS.drainMs)
      await settle()
      assert.deepEqual([raw.isClosed, closed, clock.pending], [true, ['CLIENT_GONE'], 0])
    })

    it('closes when 100-continue was asked for and not given', async () => {
      const { raw } = serveRaw((exchange) => exchange.respond({ status: 417, headers: [] }, 0))
      await raw.send('POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n')
      assert.equal(raw.text, 'HTTP/1.1 417 Expectation Failed\r\nconnection: close\r\ncontent-length: 0\r\n\r\n')
      assert.equal(raw.isEnded, true)
    })
  })

  it('passes 100-continue on', async () => {
    const { raw, exchanges, connection } = serveRaw()
    await raw.send('POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-Continue\r\n\r\n')
    assert.deepEqual(exchanges[0]!.request.headers, [['expect', '100-Continue']])
    exchanges[0]!.inform({ status: 100, headers: [] })
    await settle()
    assert.equal(raw.text, 'HTTP/1.1 100 Continue\r\n\r\n')
    const log = logBody(exchanges[0]!.body)
    await raw.send('hello')
    assert.equal(log.text, 'hello')
    exchanges[0]!.respond(OK, 0)
    await settle()
    assert.doesNotMatch(raw.text, /close/)
    connection.close()
  })

  describe('switch', () => {
    const UPGRADE = 'GET /ws HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\r\n'

    it('carries raw bytes both ways, half-closes included', async () => {
      const { raw, exchanges, closed, gone } = serveRaw()
      await raw.send(`${UPGRADE}early`)
      const exchange = exchanges[0]!
      assert.equal(exchange.request.upgrade, 'websocket')
      assert.deepEqual(exchange.request.headers, [])
      const pair = exchange.upgrade({ status: 101, headers: [['x', 'y']] })
      const log = logBody(pair.reader)
      assert.equal(log.text, 'early')
      await settle()
      assert.equal(raw.text, 'HTTP/1.1 101 Switching Protocols\r\nx: y\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n')
      pair.writer.write(Buffer.from('down'))
      await raw.send('up')
      await raw.end()
      assert.deepEqual([log.text, log.trailers], ['earlyup', []])
      pair.writer.write(Buffer.from('more'))
      pair.writer.end()
      await settle()
      assert.match(raw.text, /downmore$/)
      assert.deepEqual([raw.isEnded, closed, gone], [true, ['-'], []])
    })

    it('that is refused ends the connection: what follows may not be HTTP', async () => {
      const { raw, exchanges } = serveRaw((exchange) => exchange.respond({ status: 403, headers: [] }, 0))
      await raw.send(UPGRADE + GET)
      assert.match(raw.text, /^HTTP\/1.1 403 .*connection: close/s)
      assert.deepEqual([exchanges.length, raw.isEnded], [1, true])
    })

    it('that was not asked for is not made', async () => {
      const { raw, gone } = serveRaw((exchange) => void exchange.upgrade({ status: 101, headers: [] }))
      await raw.send(GET)
      assert.match(raw.text, /^HTTP\/1.1 500 /)
      assert.deepEqual(gone, ['BAD_HEAD'])
    })

    for (const value of ['h2c', 'H2C, websocket', 'websocket, other', 'TLS/1.2', 'HTTP/2.0', 'a b', 'websocket\xa0', ''])
      it(`to ${JSON.stringify(value)} is not taken up`, async () => {
        const { raw, exchanges, connection } = serveRaw()
        await raw.send(`GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: ${value}\r\n\r\n`)
        assert.equal(exchanges[0]!.request.upgrade, undefined)
        connection.close()
      })
  })
})

function write(exchange: ServerExchange, length: number | undefined, ...pieces: string[]): void {
  const writer = exchange.respond(OK, length)
  for (const piece of pieces) writer.write(Buffer.from(piece))
  writer.end()
}
