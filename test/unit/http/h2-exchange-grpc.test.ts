// gRPC through serveHttp2 and connectHttp2 back to back, with the real client and server of @grpc/grpc-js.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'
import * as grpc from '@grpc/grpc-js'
import { channelDuplex } from '../../../http/channel-duplex.ts'
import { connectHttp2 } from '../../../http/h2-client.ts'
import { serveHttp2 } from '../../../http/h2-server.ts'
import { HTTP_LIMITS, type HttpConnection } from '../../../http/options.ts'
import { systemClock } from '../../../kit/clock.ts'
import { channelPair } from '../../support/channel-pair.ts'
import { relay } from '../../support/h2-ends.ts'

const bytes = (value: Buffer): Buffer => value
const method = (name: string, requestStream: boolean, responseStream: boolean) => ({
  path: `/test.Echo/${name}`,
  requestStream,
  responseStream,
  requestSerialize: bytes,
  requestDeserialize: bytes,
  responseSerialize: bytes,
  responseDeserialize: bytes,
})
const SERVICE = {
  unary: method('Unary', false, false),
  collect: method('Collect', true, false),
  repeat: method('Repeat', false, true),
  chat: method('Chat', true, true),
  refuse: method('Refuse', false, false),
  wait: method('Wait', false, false),
}

type Client = grpc.Client & Record<string, (...args: never[]) => never>
const EchoClient = grpc.makeGenericClientConstructor(SERVICE, 'Echo')
const LARGEST = { 'grpc.max_receive_message_length': -1, 'grpc.max_send_message_length': -1 }

interface Unary {
  unary(request: Buffer, metadata: grpc.Metadata, options: grpc.CallOptions, done: grpc.requestCallback<Buffer>): grpc.ClientUnaryCall
  refuse(request: Buffer, done: grpc.requestCallback<Buffer>): grpc.ClientUnaryCall
  wait(request: Buffer, metadata: grpc.Metadata, options: grpc.CallOptions, done: grpc.requestCallback<Buffer>): grpc.ClientUnaryCall
  collect(done: grpc.requestCallback<Buffer>): grpc.ClientWritableStream<Buffer>
  repeat(request: Buffer): grpc.ClientReadableStream<Buffer>
  chat(): grpc.ClientDuplexStream<Buffer, Buffer>
}

/** Copies between a socket and a Duplex of a channel. */
function join(socket: net.Socket, duplex: ReturnType<typeof channelDuplex>): void {
  socket.setNoDelay(true)
  socket.pipe(duplex).pipe(socket)
  socket.on('error', () => duplex.destroy())
  duplex.on('error', () => socket.destroy())
  socket.on('close', () => duplex.destroy())
  duplex.on('close', () => socket.destroy())
}

/** Calls that the server saw cancelled. */
const cancelled: string[] = []

const SERVES = {
  unary: (call: grpc.ServerUnaryCall<Buffer, Buffer>, done: grpc.sendUnaryData<Buffer>) => {
    const initial = new grpc.Metadata()
    initial.set('x-initial', String(call.metadata.get('x-ask')))
    call.sendMetadata(initial)
    const trailing = new grpc.Metadata()
    trailing.set('x-trailing', 'yes')
    trailing.set('x-blob-bin', Buffer.from([0, 1, 255]))
    done(null, call.request, trailing)
  },
  collect: (call: grpc.ServerReadableStream<Buffer, Buffer>, done: grpc.sendUnaryData<Buffer>) => {
    let total = 0
    call.on('data', (chunk: Buffer) => {
      total += chunk.length
    })
    call.on('end', () => done(null, Buffer.from(String(total))))
  },
  repeat: (call: grpc.ServerWritableStream<Buffer, Buffer>) => {
    for (let left = Number(call.request); left > 0; left--) call.write(Buffer.alloc(left, 'r'))
    call.end()
  },
  chat: (call: grpc.ServerDuplexStream<Buffer, Buffer>) => {
    call.on('data', (chunk: Buffer) => call.write(Buffer.concat([Buffer.from('re:'), chunk])))
    call.on('end', () => call.end())
    call.on('cancelled', () => cancelled.push('chat'))
  },
  refuse: (_call: unknown, done: grpc.sendUnaryData<Buffer>) => {
    done({ code: grpc.status.FAILED_PRECONDITION, details: 'not today: ü%' })
  },
  wait: (call: grpc.ServerUnaryCall<Buffer, Buffer>) => {
    call.on('cancelled', () => cancelled.push('wait'))
  },
}

describe('http/h2: gRPC through the relay', () => {
  let server: grpc.Server
  let relayServer: net.Server
  let upstream: HttpConnection | undefined
  let client: Unary & grpc.Client

  before(async () => {
    server = new grpc.Server(LARGEST)
    server.addService(SERVICE, SERVES)
    const port = await new Promise<number>((resolve, reject) => {
      const insecure = grpc.ServerCredentials.createInsecure()
      server.bindAsync('127.0.0.1:0', insecure, (error, bound) => (error === null ? resolve(bound) : reject(error)))
    })
    relayServer = net.createServer((socket) => {
      const [near, far] = channelPair()
      join(socket, channelDuplex(near))
      if (upstream === undefined) {
        const [ours, theirs] = channelPair()
        join(net.connect(port, '127.0.0.1'), channelDuplex(theirs))
        upstream = connectHttp2(ours, { limits: HTTP_LIMITS, clock: systemClock })
      }
      const connection = upstream
      serveHttp2(far, { handler: relay(() => connection), scheme: 'http', limits: HTTP_LIMITS, clock: systemClock })
    })
    relayServer.listen(0, '127.0.0.1')
    await once(relayServer, 'listening')
    const address = `127.0.0.1:${(relayServer.address() as AddressInfo).port}`
    client = new EchoClient(address, grpc.credentials.createInsecure(), LARGEST) as unknown as Unary & Client
  })

  after(() => {
    client.close()
    upstream?.close()
    relayServer.close()
    server.forceShutdown()
  })

  it('unary, with metadata both ways and in trailers', async () => {
    const metadata = new grpc.Metadata()
    metadata.set('x-ask', 'please')
    const seen: grpc.Metadata[] = []
    const reply = await new Promise<Buffer | undefined>((resolve, reject) => {
      const call = client.unary(Buffer.from('hello'), metadata, {}, (error, value) => (error === null ? resolve(value) : reject(error)))
      call.on('metadata', (initial) => seen.push(initial))
      call.on('status', (status) => seen.push(status.metadata))
    })
    assert.equal(reply?.toString(), 'hello')
    assert.deepEqual(seen[0]?.get('x-initial'), ['please'])
    assert.deepEqual(seen[1]?.get('x-trailing'), ['yes'])
    assert.deepEqual(seen[1]?.get('x-blob-bin'), [Buffer.from([0, 1, 255])])
  })

  it('an error status, which comes without a body', async () => {
    const error = await new Promise<grpc.ServiceError | null>((resolve) => client.refuse(Buffer.alloc(0), resolve))
    assert.equal(error?.code, grpc.status.FAILED_PRECONDITION)
    assert.equal(error?.details, 'not today: ü%')
  })

  it('an unknown method', async () => {
    const error = await new Promise<grpc.ServiceError | null>((resolve) => {
      const none = new grpc.Metadata()
      client.makeUnaryRequest('/test.Echo/None', bytes, bytes, Buffer.alloc(0), none, {}, resolve)
    })
    assert.equal(error?.code, grpc.status.UNIMPLEMENTED)
  })

  it('client streaming', async () => {
    const reply = await new Promise<Buffer | undefined>((resolve, reject) => {
      const call = client.collect((error, value) => (error === null ? resolve(value) : reject(error)))
      for (let at = 0; at < 200; at++) call.write(Buffer.alloc(1000))
      call.end()
    })
    assert.equal(reply?.toString(), '200000')
  })

  it('server streaming', async () => {
    let total = 0
    const call = client.repeat(Buffer.from('300'))
    for await (const chunk of call) total += (chunk as Buffer).length
    assert.equal(total, (300 * 301) / 2)
  })

  it('both ways at once, message by message', async () => {
    const call = client.chat()
    for (const word of ['one', 'two', 'three']) {
      call.write(Buffer.from(word))
      const [reply] = await once(call, 'data')
      assert.equal(String(reply), `re:${word}`)
    }
    const status = once(call, 'status')
    call.end()
    call.resume()
    assert.equal((await status)[0].code, grpc.status.OK)
  })

  it('a deadline and a cancel reach the server', async () => {
    const error = await new Promise<grpc.ServiceError | null>((resolve) => {
      client.wait(Buffer.alloc(0), new grpc.Metadata(), { deadline: Date.now() + 100 }, resolve)
    })
    assert.equal(error?.code, grpc.status.DEADLINE_EXCEEDED)
    const call = client.chat()
    call.on('error', () => undefined)
    call.write(Buffer.from('x'))
    await once(call, 'data')
    call.cancel()
    while (cancelled.length < 2) await new Promise((resolve) => setTimeout(resolve, 5))
    assert.deepEqual(cancelled.toSorted(), ['chat', 'wait'])
  })

  it('a message larger than every window', async () => {
    const large = Buffer.alloc(12 * 1024 * 1024, 'abcdefg')
    const reply = await new Promise<Buffer | undefined>((resolve, reject) => {
      client.unary(large, new grpc.Metadata(), {}, (error, value) => (error === null ? resolve(value) : reject(error)))
    })
    assert.equal(reply?.equals(large), true)
  })

  it('many calls at once', async () => {
    const calls = Array.from({ length: 80 }, (_, at) => {
      return new Promise<Buffer | undefined>((resolve, reject) => {
        const text = Buffer.from(`call ${at}`)
        client.unary(text, new grpc.Metadata(), {}, (error, value) => (error === null ? resolve(value) : reject(error)))
      })
    })
    const replies = await Promise.all(calls)
    assert.deepEqual(
      replies.map(String),
      Array.from({ length: 80 }, (_, at) => `call ${at}`),
    )
    assert.equal(upstream?.active, 0)
  })
})
