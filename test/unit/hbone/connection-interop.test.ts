// Against node:http2 (nghttp2), an independent HTTP/2, in both roles over TLS: CONNECT, flow control, half-close, refusals.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import http2 from 'node:http2'
import type net from 'node:net'
import type { Duplex } from 'node:stream'
import tls from 'node:tls'
import { connectHbone } from '../../../hbone/client.ts'
import type { ConnectRequest } from '../../../hbone/connect.ts'
import { duplexOf } from '../../../hbone/duplex.ts'
import { type HboneServerConnection, serveHbone } from '../../../hbone/server.ts'
import { testCertificate } from '../../support/tls-pair.ts'

const MIB = 1024 * 1024

async function read(stream: Duplex, restEvery = 0): Promise<string> {
  const hash = createHash('sha256')
  let chunks = 0
  const ended = new Promise((resolve, reject) => stream.once('end', resolve).once('error', reject))
  stream.on('data', (chunk: Buffer) => {
    hash.update(chunk)
    if (restEvery === 0 || ++chunks % restEvery !== 0) return
    stream.pause()
    setTimeout(() => stream.resume(), 1)
  })
  await ended
  return hash.digest('hex')
}

function bytes(seed: number, length: number): Buffer {
  const made = Buffer.alloc(length)
  for (let i = 0; i < length; i += 7) made[i] = (i * 31 + seed) & 0xff
  return made
}

const sha = (buffer: Buffer): string => createHash('sha256').update(buffer).digest('hex')

/** Our server, serving one http2 client session. */
async function ourServer(
  onConnect: Parameters<typeof serveHbone>[1]['onConnect'],
): Promise<{ port: number; close(): void; made: HboneServerConnection[] }> {
  const made: HboneServerConnection[] = []
  const listener = tls.createServer({ ...(await testCertificate()), ALPNProtocols: ['h2'] }, (socket) =>
    made.push(serveHbone(socket, { onConnect })),
  )
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
  return { port: (listener.address() as net.AddressInfo).port, close: () => listener.close(), made }
}

describe('hbone/connection: interop with node:http2', function () {
  this.timeout(10_000)

  it('serves its client: headers, 4 MiB both ways at once with a slow reader, half-close', async () => {
    const seen: ConnectRequest[] = []
    const up = bytes(1, 4 * MIB)
    const down = bytes(2, 4 * MIB)
    const got = Promise.withResolvers<string>()
    const server = await ourServer((request, stream) => {
      seen.push(request)
      const duplex = duplexOf(stream.accept({ baggage: 'k8s.pod.name=server' }))
      duplex.end(down)
      read(duplex, 5).then(got.resolve, got.reject)
    })
    const session = http2.connect(`https://127.0.0.1:${server.port}`, { rejectUnauthorized: false })
    const stream = session.request({
      ':method': 'CONNECT',
      ':authority': '10.0.0.2:80',
      baggage: 'k8s.pod.name=client',
      forwarded: 'for="10.0.0.1:1"',
      'x-a': 'b',
    })
    const head = await new Promise<http2.IncomingHttpHeaders & http2.IncomingHttpStatusHeader>((resolve) =>
      stream.once('response', resolve),
    )
    assert.deepEqual([head[':status'], head.baggage], [200, 'k8s.pod.name=server'])
    stream.end(up)
    assert.deepEqual([await read(stream, 3), await got.promise], [sha(down), sha(up)])
    assert.deepEqual(JSON.parse(JSON.stringify(seen[0])), {
      authority: '10.0.0.2:80',
      baggage: 'k8s.pod.name=client',
      forwarded: 'for="10.0.0.1:1"',
      extra: { 'x-a': 'b' },
    })
    session.close()
    server.close()
    await server.made[0]?.closed
  })

  it('refuses its client with 400 and 401, resets it, and sends it GOAWAY', async () => {
    const server = await ourServer((request, stream) => {
      if (request.authority === '10.0.0.2:1') stream.refuse(401)
      else stream.accept().reset()
    })
    const session = http2.connect(`https://127.0.0.1:${server.port}`, { rejectUnauthorized: false })
    const status = (headers: http2.OutgoingHttpHeaders): Promise<number | undefined> =>
      new Promise((resolve, reject) =>
        session
          .request(headers)
          .once('response', (head) => resolve(head[':status']))
          .once('error', reject),
      )
    assert.equal(await status({ ':method': 'CONNECT', ':authority': '10.0.0.2:1' }), 401)
    assert.equal(await status({ ':method': 'CONNECT', ':authority': 'nonsense' }), 400)
    assert.equal(await status({ ':method': 'GET', ':path': '/' }), 400)
    const reset = session.request({ ':method': 'CONNECT', ':authority': '10.0.0.2:2' })
    reset.on('error', () => undefined)
    await new Promise((resolve) => reset.once('close', resolve))
    assert.equal(reset.rstCode, http2.constants.NGHTTP2_CANCEL)
    const goAway = new Promise((resolve) => session.once('goaway', resolve))
    server.made[0]?.goAway()
    assert.equal(await goAway, 0)
    session.close()
    server.close()
    await server.made[0]?.closed
  })

  it('is a client of its server: small windows, 16 KiB frames, half-close, 403', async () => {
    const listener = http2.createSecureServer({ ...(await testCertificate()), settings: { initialWindowSize: 20_000 } })
    const got = Promise.withResolvers<string>()
    const down = bytes(3, 3 * MIB)
    const up = bytes(4, 3 * MIB)
    listener.on('stream', (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => {
      if (headers[':authority'] === '10.0.0.2:1') {
        stream.respond({ ':status': 403 }, { endStream: true })
        return
      }
      stream.respond({ ':status': 200, baggage: 'a=b' })
      stream.end(down)
      read(stream, 4).then(got.resolve, got.reject)
    })
    await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
    const { port } = listener.address() as net.AddressInfo
    const socket = tls.connect({ port, host: '127.0.0.1', ALPNProtocols: ['h2'], rejectUnauthorized: false })
    await new Promise((resolve) => socket.once('secureConnect', resolve))
    const client = connectHbone(socket)
    await assert.rejects(client.open({ authority: '10.0.0.2:1' }), { code: 'CONNECT_REFUSED', detail: { status: 403 } })
    const tunnel = await client.open({ authority: '10.0.0.2:80', baggage: 'x=y' })
    assert.equal(tunnel.responseHeaders.baggage, 'a=b')
    const duplex = duplexOf(tunnel)
    duplex.end(up)
    assert.deepEqual([await read(duplex, 6), await got.promise], [sha(down), sha(up)])
    assert.equal(await tunnel.closed, undefined)
    client.close()
    listener.close()
    await client.closed
  })

  it('carries 150 tunnels at once from its client', async () => {
    const server = await ourServer((_request, stream) => {
      const duplex = duplexOf(stream.accept())
      duplex.pipe(duplex)
    })
    const session = http2.connect(`https://127.0.0.1:${server.port}`, { rejectUnauthorized: false })
    await new Promise((resolve) => session.once('remoteSettings', resolve))
    await Promise.all(
      Array.from({ length: 150 }, async (_, i) => {
        const stream = session.request({ ':method': 'CONNECT', ':authority': `10.0.0.2:${i + 1}` })
        await new Promise((resolve) => stream.once('response', resolve))
        const message = bytes(i, 1000 + i * 400)
        stream.end(message)
        assert.equal(await read(stream), sha(message))
      }),
    )
    session.close()
    server.close()
    await server.made[0]?.closed
  })
})
