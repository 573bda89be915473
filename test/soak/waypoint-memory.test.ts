// What a waypoint holds: bodies of a gigabyte pass it at constant memory, and connections that are kept alive cost little.
import assert from 'node:assert/strict'
import http from 'node:http'
import http2 from 'node:http2'
import type { AddressInfo, Server } from 'node:net'
import { duplexOf } from '../../hbone/duplex.ts'
import type { AppProtocol } from '../../model/service.ts'
import { SERVICE, startWaypoint, type WaypointProcess } from '../support/waypoint-child.ts'

const GIGABYTE = 1 << 30
const PIECE = Buffer.alloc(64 * 1024, 'a')
const SAMPLE_MS = 100
/** Buffers of the sockets in between, and garbage. Measured: 0 to 40 MiB. */
const GROWTH_BYTES = 64 * 1024 * 1024
const CONNECTIONS = 100
const STREAMS = 100
const BYTES_PER_IDLE = 12 * 1024

/** Takes what is sent to /up and says how much it was; sends as many MiB as /down asks for. */
function handle(request: http.IncomingMessage | http2.Http2ServerRequest, response: http.ServerResponse | http2.Http2ServerResponse): void {
  const out = response as http.ServerResponse
  const [path, mebibytes] = request.url?.split('?') ?? []
  if (path === '/down') {
    let left = Number(mebibytes) << 20
    const go = (): void => {
      while (left > 0) {
        left -= PIECE.length
        if (!out.write(PIECE)) return
      }
      out.end()
    }
    out.on('drain', go)
    go()
    return
  }
  let bytes = 0
  request.on('data', (chunk: Buffer) => {
    bytes += chunk.length
  })
  request.on('end', () => out.end(String(bytes)))
}

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}

/** The most that it held meanwhile, beyond what it held before. */
async function growth(waypoint: WaypointProcess, run: () => Promise<void>): Promise<number> {
  const before = waypoint.pssBytes()
  let most = before
  const timer = setInterval(() => {
    most = Math.max(most, waypoint.pssBytes())
  }, SAMPLE_MS)
  try {
    await run()
  } finally {
    clearInterval(timer)
  }
  return Math.max(most, waypoint.pssBytes()) - before
}

/** One request with a body of `upBytes`. @returns bytes of the answer, and its begin */
type Ask = (path: string, upBytes: number) => Promise<{ bytes: number; text: string }>

async function overHttp1(waypoint: WaypointProcess): Promise<Ask> {
  const connection = await waypoint.dial()
  return async (path, upBytes) => {
    const stream = duplexOf(await connection.open({ authority: SERVICE }))
    const request = http.request({ path, method: 'POST', host: 'reviews', createConnection: () => stream as never })
    feed(request, upBytes)
    const response = await new Promise<http.IncomingMessage>((resolve, reject) => request.once('response', resolve).once('error', reject))
    const answer = await drink(response)
    stream.end()
    return answer
  }
}

async function overHttp2(waypoint: WaypointProcess): Promise<Ask> {
  const connection = await waypoint.dial()
  const stream = duplexOf(await connection.open({ authority: SERVICE }))
  const session = http2.connect('http://reviews', { createConnection: () => stream, settings: { initialWindowSize: 1 << 20 } })
  for (const one of [stream, session]) one.on('error', () => undefined) // the waypoint ends with the test
  return async (path, upBytes) => {
    const request = session.request({ ':path': path, ':method': 'POST' })
    feed(request, upBytes)
    return await drink(request)
  }
}

function feed(to: NodeJS.WritableStream, bytes: number): void {
  let left = bytes
  const go = (): void => {
    while (left > 0) {
      left -= PIECE.length
      if (!to.write(PIECE)) return
    }
    to.end()
  }
  to.on('drain', go)
  go()
}

async function drink(from: NodeJS.ReadableStream): Promise<{ bytes: number; text: string }> {
  let bytes = 0
  let text = ''
  for await (const chunk of from) {
    bytes += chunk.length
    if (text.length < 100) text += String(chunk).slice(0, 100)
  }
  return { bytes, text }
}

describe('memory of a waypoint', function () {
  this.timeout('90s')

  for (const [name, appProtocol, makeServer, connect] of [
    ['HTTP/1.1', 'HTTP11', () => http.createServer(handle), overHttp1],
    ['HTTP/2', 'HTTP2', () => http2.createServer({ settings: { initialWindowSize: 1 << 20 } }, handle), overHttp2],
  ] as const satisfies readonly (readonly [string, AppProtocol, () => Server, (waypoint: WaypointProcess) => Promise<Ask>])[])
    it(`a gigabyte up and a gigabyte down over ${name}`, async () => {
      const server = makeServer()
      await using waypoint = await startWaypoint({ ports: [await listen(server)], appProtocol })
      const ask = await connect(waypoint)
      await Promise.all([ask('/up', 64 << 20), ask('/down?64', 0)]) // code and buffers are there after it
      const begunMs = performance.now()
      const up = await growth(waypoint, async () => assert.equal((await ask('/up', GIGABYTE)).text, String(GIGABYTE)))
      const upMs = performance.now() - begunMs
      const down = await growth(waypoint, async () => assert.equal((await ask('/down?1024', 0)).bytes, GIGABYTE))
      const rates = [upMs, performance.now() - begunMs - upMs].map((ms) => Math.round(1024 / (ms / 1000)))
      const grown = [up, down].map((bytes) => (bytes / (1 << 20)).toFixed(1))
      console.log(`      up: +${grown[0]} MiB at ${rates[0]} MiB/s, down: +${grown[1]} MiB at ${rates[1]} MiB/s`)
      assert.ok(Math.max(up, down) < GROWTH_BYTES, `PSS grew by ${grown.join(' and ')} MiB`)
      server.close()
    })

  it('10,000 connections that are kept alive', async () => {
    const server = http.createServer({ keepAliveTimeout: 60_000 }, (_request, response) => response.end('ok'))
    await using waypoint = await startWaypoint({ ports: [await listen(server)] })
    const open = async (count: number, streams: number): Promise<void> => {
      for (let made = 0; made < count; made++) {
        const connection = await waypoint.dial()
        for (let lane = 0; lane < streams; lane += 25)
          await Promise.all(
            Array.from({ length: Math.min(25, streams - lane) }, async () => answered(await connection.open({ authority: SERVICE }))),
          )
      }
    }
    await open(5, STREAMS)
    await waypoint.collect()
    const before = waypoint.pssBytes()
    await open(CONNECTIONS, STREAMS)
    const withGarbage = (waypoint.pssBytes() - before) / (CONNECTIONS * STREAMS)
    await waypoint.collect()
    const each = (waypoint.pssBytes() - before) / (CONNECTIONS * STREAMS)
    const shown = [each, withGarbage].map((bytes) => (bytes / 1024).toFixed(1))
    console.log(`      ${shown[0]} KiB each, ${shown[1]} KiB with garbage; PSS ${Math.round(before / (1 << 20))} MiB before`)
    assert.ok(each < BYTES_PER_IDLE, `${each} bytes each`)
    server.closeAllConnections()
    server.close()
  })
})

/** Makes one request in a tunnel, which stays open. */
function answered(tunnel: import('../../hbone/tunnel.ts').HboneTunnel): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  let text = ''
  tunnel.attach({
    onData(chunk) {
      text += chunk.toString('latin1')
      tunnel.credit(chunk.length)
      if (text.endsWith('ok')) resolve()
    },
    onEnd: () => reject(new Error(text)),
    onWritable: () => undefined,
    onClosed: () => reject(new Error('closed')),
  })
  const request = Buffer.from('GET / HTTP/1.1\r\nHost: reviews\r\n\r\n')
  tunnel.sendBytes(request, request.length)
  return promise
}
