// A server that breaks HTTP in as many ways as it has paths: node hostile-backend.ts. HTTP/1.1 on 8080, HTTP/2 on 8082, bytes before
// any request on 8083. A path that it does not know is answered well, and with the argument `good` all are. Runs inside a pod.
import net from 'node:net'
import { CLIENT_PREFACE, encodeFrame, FrameDecoder, FrameType as T } from '../../hbone/frame.ts'
import { encodeHeaders, HpackDecoder } from '../../hbone/hpack.ts'

const IS_GOOD = process.argv[2] === 'good'
type Act = (socket: net.Socket) => void

const OK = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok'
const SMUGGLED = 'HTTP/1.1 200 OK\r\nx-smuggled: yes\r\ncontent-length: 8\r\n\r\nsmuggled'
const HEAD = 'HTTP/1.1 200 OK\r\n'
const MEGABYTE = Buffer.alloc(1 << 20, 'a')
const DRIP_MS = 50

/** Says one text. */
const say =
  (text: string): Act =>
  (socket) =>
    void socket.write(text, 'latin1')
/** Says one text and ends. */
const last =
  (text: string): Act =>
  (socket) =>
    void socket.end(text, 'latin1')
/** Says something, and then something again for as long as the other side takes it, at most `most` times. */
const flood =
  (first: string, again: string | Buffer, most = Number.POSITIVE_INFINITY): Act =>
  (socket) => {
    const piece = Buffer.isBuffer(again) ? again : Buffer.from(again.repeat(Math.ceil(16_384 / again.length)), 'latin1')
    let sent = 0
    socket.write(first, 'latin1')
    const go = (): void => {
      while (!socket.destroyed && sent++ < most) if (!socket.write(piece)) return
    }
    socket.on('drain', go)
    go()
  }
/** Says a text byte by byte. */
const drip =
  (first: string, text: string): Act =>
  (socket) => {
    let at = 0
    socket.write(first)
    const timer = setInterval(() => socket.write(text.charAt(at++ % text.length)), DRIP_MS)
    socket.once('close', () => clearInterval(timer))
  }

/** path -> what happens to the connection when a request for it has come */
const HTTP1: Readonly<Record<string, Act>> = {
  '/endless-headers': flood(HEAD, 'x-more: and more\r\n'),
  '/huge-head': flood(`${HEAD}x: `, MEGABYTE, 100),
  '/endless-1xx': flood('', 'HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n'),
  '/two-lengths': say(`${HEAD}content-length: 2\r\ncontent-length: 3\r\n\r\nok!`),
  '/length-and-chunked': say(`${HEAD}content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n`),
  '/bad-length': say(`${HEAD}content-length: -1\r\n\r\nok`),
  '/bad-coding': say(`${HEAD}transfer-encoding: xchunked\r\n\r\nok`),
  '/bad-chunk': say(`${HEAD}transfer-encoding: chunked\r\n\r\nzz\r\nok\r\n0\r\n\r\n`),
  '/endless-extension': flood(`${HEAD}transfer-encoding: chunked\r\n\r\n2;`, 'a'),
  '/endless-trailers': flood(`${HEAD}transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n`, 'x-more: and more\r\n'),
  '/bare-lf': say('HTTP/1.1 200 OK\ncontent-length: 2\n\nok'),
  '/folded': say(`${HEAD}x: a\r\n b\r\ncontent-length: 2\r\n\r\nok`),
  '/nul': say(`${HEAD}x: a\0b\r\ncontent-length: 2\r\n\r\nok`),
  '/status-99': say('HTTP/1.1 99 What\r\ncontent-length: 2\r\n\r\nok'),
  '/status-101': say('HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n'),
  '/http-2': say('\0\0\0\x04\0\0\0\0\0'),
  '/garbage': flood('', '\xff\0\r\n\x80'),
  '/end-at-once': last(''),
  '/end-in-head': last(`${HEAD}content-len`),
  '/end-in-body': last(`${HEAD}content-length: 100\r\n\r\nok`),
  '/end-in-chunk': last(`${HEAD}transfer-encoding: chunked\r\n\r\n5\r\nok`),
  '/reset': (socket) => void socket.resetAndDestroy(),
  '/silent': () => undefined,
  '/slow-head': drip('', `${HEAD}x: ${'a'.repeat(10_000)}`),
  '/slow-body': drip(`${HEAD}content-length: 10000\r\n\r\n`, 'a'),
  '/second': say(OK + SMUGGLED),
  '/second-late': (socket) => {
    socket.write(OK)
    setImmediate(() => socket.write(SMUGGLED))
  },
  '/body-of-204': say(`HTTP/1.1 204 No Content\r\n\r\n${SMUGGLED}`),
  '/body-of-304': say(`HTTP/1.1 304 Not Modified\r\ncontent-length: 2\r\n\r\n${SMUGGLED}`),
}
/** Those whose first response is good. */
const HARMLESS = ['/second', '/second-late', '/body-of-204', '/body-of-304']

const word = (type: number, stream: number, value: number): Buffer => {
  const payload = Buffer.alloc(4)
  payload.writeUInt32BE(value)
  return encodeFrame(type, 0, stream, payload)
}
const repeated = (frame: Buffer): Buffer => Buffer.concat(Array.from({ length: 100 }, () => frame))
const head = (stream: number, status = '200'): Buffer => encodeFrame(T.headers, 4, stream, encodeHeaders([[':status', status]]))
const BOMB = Buffer.concat([Buffer.from([0x88, 0x40, 1, 0x78, 0x7f, 0xa1, 0x1e]), Buffer.alloc(4000, 'a'), Buffer.alloc(4000, 0xbe)])

/** path -> frames in answer to a request on `stream` */
const HTTP2: Readonly<Record<string, (stream: number) => Act>> = {
  '/rst-storm': (stream) => flood('', repeated(word(T.rstStream, stream, 8))),
  '/settings-flood': () => flood('', repeated(encodeFrame(T.settings, 0, 0))),
  '/ping-flood': () => flood('', repeated(encodeFrame(T.ping, 0, 0, Buffer.alloc(8)))),
  '/goaway': () => (socket) => void socket.end(encodeFrame(T.goAway, 0, 0, Buffer.alloc(8))),
  '/no-streams': () => (socket) => void socket.write(encodeFrame(T.settings, 0, 0, Buffer.from([0, 3, 0, 0, 0, 0]))),
  '/huge-trailers': (stream) => (socket) => {
    socket.write(Buffer.concat([head(stream), encodeFrame(T.headers, 1, stream, encodeHeaders([['x', 'y']]))]))
    flood('', encodeFrame(T.continuation, 0, stream, Buffer.alloc(16_000)))(socket)
  },
  '/endless-continuation': (stream) => (socket) => {
    socket.write(encodeFrame(T.headers, 0, stream, Buffer.from([0x88])))
    flood('', repeated(encodeFrame(T.continuation, 0, stream)))(socket)
  },
  '/hpack-bomb': (stream) => (socket) => void socket.write(encodeFrame(T.headers, 4, stream, BOMB)),
  '/push': (stream) => (socket) => void socket.write(encodeFrame(T.pushPromise, 4, stream, Buffer.from([0, 0, 0, 2, 0x82]))),
  '/window-overflow': () => flood('', repeated(word(T.windowUpdate, 0, 0x7fffffff))),
  '/over-window': (stream) => (socket) => {
    socket.write(head(stream))
    flood('', encodeFrame(T.data, 0, stream, Buffer.alloc(16_384)))(socket)
  },
  '/data-first': (stream) => (socket) => void socket.write(encodeFrame(T.data, 1, stream, Buffer.from('ok'))),
  '/empty-data': (stream) => (socket) => {
    socket.write(head(stream))
    flood('', repeated(encodeFrame(T.data, 0, stream)))(socket)
  },
  '/no-status': (stream) => (socket) => void socket.write(encodeFrame(T.headers, 5, stream, encodeHeaders([['x', 'y']]))),
  '/upper-case': (stream) => (socket) =>
    void socket.write(
      encodeFrame(
        T.headers,
        5,
        stream,
        encodeHeaders([
          [':status', '200'],
          ['X-Y', 'z'],
        ]),
      ),
    ),
  '/1xx-flood': (stream) => flood('', head(stream, '103')),
  '/other-stream': (stream) => (socket) => void socket.write(head(stream + 100)),
  '/http-1': () => say(OK),
  '/reset': () => (socket) => void socket.resetAndDestroy(),
  '/end-at-once': () => last(''),
  '/silent': () => () => undefined,
}

/** Everything that it does, for the client that asks for it. */
export const HOSTILE_PATHS = {
  http1: Object.keys(HTTP1),
  http2: Object.keys(HTTP2),
  harmless: HARMLESS,
}

function serveHttp1(socket: net.Socket): void {
  let text = ''
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1')
    for (let end = text.indexOf('\r\n\r\n'); end >= 0; end = text.indexOf('\r\n\r\n')) {
      const path = text.slice(0, end).split(' ')[1] ?? ''
      text = text.slice(end + 4)
      const act = (IS_GOOD ? undefined : HTTP1[path]) ?? say(OK)
      act(socket)
    }
  })
}

function serveHttp2(socket: net.Socket): void {
  const hpack = new HpackDecoder({ maxHeaderBytes: 65_536, maxHeaderFields: 200 })
  socket.write(encodeFrame(T.settings, 0, 0))
  const decoder = new FrameDecoder(
    {
      onDataStart: () => true,
      onDataBytes: () => undefined,
      onDataEnd: () => undefined,
      onFrame(type, _flags, streamId, payload) {
        if (type !== T.headers) return
        const list = hpack.decode(payload)
        const path = list.ok ? list.value.fields.find(([name]) => name === ':path')?.[1] : undefined
        const act = IS_GOOD ? undefined : HTTP2[path ?? '']?.(streamId)
        if (act === undefined) socket.write(Buffer.concat([head(streamId), encodeFrame(T.data, 1, streamId, Buffer.from('ok'))]))
        else act(socket)
      },
      onFault: () => socket.destroy(),
    },
    1 << 20,
  )
  let skip = CLIENT_PREFACE.length
  socket.on('data', (chunk: Buffer) => {
    const rest = chunk.subarray(Math.min(skip, chunk.length))
    skip -= chunk.length - rest.length
    if (rest.length > 0) decoder.push(rest)
  })
}

function serveEarly(socket: net.Socket): void {
  socket.write(SMUGGLED)
  socket.resume()
}

if (import.meta.main) {
  for (const [port, serve] of [
    [8080, serveHttp1],
    [8082, serveHttp2],
    [8083, IS_GOOD ? serveHttp1 : serveEarly],
  ] as const)
    net.createServer((socket) => serve(socket.on('error', () => socket.destroy()))).listen(port, '::')
  process.on('SIGTERM', () => process.exit(0))
}
