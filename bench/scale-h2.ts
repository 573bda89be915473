// A delta xDS client that costs next to nothing, for bench/scale.ts: HTTP/2 frames by hand over one TLS connection, responses skipped
// through as they stream in (type, nonce and counts are kept, resources are neither kept nor decoded), acknowledged at once.
import tls from 'node:tls'
import { DeltaDiscoveryRequestSchema } from '../proto/discovery_pb.ts'
import { encodeMessage } from '../proto/wire.ts'
import { DELTA_ADS } from '../xds/ads.ts'

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
const WINDOW_BYTES = 1024 * 1024
const FRAME = { data: 0, headers: 1, reset: 3, settings: 4, ping: 6, goaway: 7, windowUpdate: 8 } as const
const HEADER_BYTES = 9

/** One response, as far as anybody looks at it. */
export interface SkimmedResponse {
  readonly typeUrl: string
  readonly upserts: number
  readonly removes: number
  readonly bytes: number
}

/** What a client is told and tells. */
export interface SkimClientOptions {
  readonly port: number
  readonly serverName: string
  readonly token: string
  readonly nodeId: string
  /** First request of each kind. */
  readonly kinds: readonly { readonly typeUrl: string; readonly subscribe: readonly string[]; readonly unsubscribe: readonly string[] }[]
  /** Called when a response has come whole, before it is acknowledged. */
  onResponse(response: SkimmedResponse): void
  /** Called once. */
  onEnd(reason: string): void
}

/** A connected client; `close` ends it without `onEnd`. */
export class SkimClient {
  readonly #options: SkimClientOptions
  readonly #socket: tls.TLSSocket
  readonly #skimmer = new Skimmer((response, nonce) => this.#answer(response, nonce))
  readonly #head = Buffer.alloc(HEADER_BYTES)
  #headFill = 0
  #left = 0 // bytes of the frame under way
  #small: Buffer[] = [] // payload of frames other than DATA
  #unreported = 0
  #isEnded = false

  constructor(options: SkimClientOptions) {
    this.#options = options
    const { port, serverName } = options
    this.#socket = tls.connect({ port, host: '127.0.0.1', servername: serverName, ALPNProtocols: ['h2'], rejectUnauthorized: false })
    this.#socket.setNoDelay(true)
    this.#socket.on('secureConnect', () => this.#open())
    this.#socket.on('data', (chunk: Buffer) => this.#read(chunk))
    this.#socket.on('error', (error) => this.#end(error.message))
    this.#socket.on('close', () => this.#end('closed'))
  }

  close(): void {
    this.#isEnded = true
    this.#socket.destroy()
  }

  #open(): void {
    const { serverName, token, nodeId, kinds } = this.#options
    const settings = Buffer.alloc(6)
    settings.writeUInt16BE(4, 0) // SETTINGS_INITIAL_WINDOW_SIZE
    settings.writeUInt32BE(WINDOW_BYTES, 2)
    const headers = Buffer.concat(
      [
        [':method', 'POST'],
        [':scheme', 'https'],
        [':path', DELTA_ADS.path],
        [':authority', serverName],
        ['content-type', 'application/grpc'],
        ['te', 'trailers'],
        ['authorization', `Bearer ${token}`],
      ].map(([name = '', value = '']) => Buffer.concat([Buffer.from([0]), hpackText(name), hpackText(value)])),
    )
    // The connection has a window of its own, 64 KiB until it is told otherwise.
    const opening = [PREFACE, frame(FRAME.settings, 0, 0, settings), frame(FRAME.windowUpdate, 0, 0, uint32(WINDOW_BYTES))]
    this.#socket.write(Buffer.concat([...opening, frame(FRAME.headers, 4, 1, headers)]))
    const node = { id: nodeId, metadata: {} }
    for (const [i, { typeUrl, subscribe, unsubscribe }] of kinds.entries()) {
      const wish = { typeUrl, resourceNamesSubscribe: [...subscribe], resourceNamesUnsubscribe: [...unsubscribe] }
      this.#send(encodeMessage(DeltaDiscoveryRequestSchema, { ...wish, ...(i === 0 && { node }) }))
    }
  }

  #answer(response: SkimmedResponse, responseNonce: string): void {
    this.#options.onResponse(response)
    this.#send(encodeMessage(DeltaDiscoveryRequestSchema, { typeUrl: response.typeUrl, responseNonce }))
  }

  #send(message: Buffer): void {
    const prefix = Buffer.alloc(5)
    prefix.writeUInt32BE(message.length, 1)
    this.#socket.write(frame(FRAME.data, 0, 1, Buffer.concat([prefix, message])))
  }

  #read(chunk: Buffer): void {
    let at = 0
    while (at < chunk.length) {
      if (this.#headFill < HEADER_BYTES) {
        const taken = Math.min(HEADER_BYTES - this.#headFill, chunk.length - at)
        chunk.copy(this.#head, this.#headFill, at, at + taken)
        this.#headFill += taken
        at += taken
        if (this.#headFill < HEADER_BYTES) return
        this.#left = this.#head.readUIntBE(0, 3)
      }
      const part = chunk.subarray(at, at + this.#left)
      at += part.length
      this.#left -= part.length
      if (this.#head[3] === FRAME.data) this.#data(part)
      else this.#small.push(part)
      if (this.#left === 0) this.#endFrame()
    }
  }

  #data(part: Buffer): void {
    this.#skimmer.write(part)
    this.#unreported += part.length
    if (this.#unreported < WINDOW_BYTES / 4) return
    const increment = uint32(this.#unreported)
    this.#unreported = 0
    this.#socket.write(Buffer.concat([frame(FRAME.windowUpdate, 0, 0, increment), frame(FRAME.windowUpdate, 0, 1, increment)]))
  }

  #endFrame(): void {
    const type = this.#head[3]
    const flags = this.#head[4] ?? 0
    const payload = Buffer.concat(this.#small)
    this.#small = []
    this.#headFill = 0
    if (type === FRAME.settings && (flags & 1) === 0) this.#socket.write(frame(FRAME.settings, 1, 0))
    else if (type === FRAME.ping && (flags & 1) === 0) this.#socket.write(frame(FRAME.ping, 1, 0, payload))
    else if (type === FRAME.goaway || type === FRAME.reset) this.#end(`ended by the server (frame ${type})`)
    else if ((type === FRAME.headers || type === FRAME.data) && (flags & 1) === 1) this.#end('the stream was ended')
  }

  #end(reason: string): void {
    if (this.#isEnded) return
    this.#isEnded = true
    this.#socket.destroy()
    this.#options.onEnd(reason)
  }
}

/** Walks over gRPC messages of DeltaDiscoveryResponse as they come, in pieces of any size. */
class Skimmer {
  readonly #onResponse: (response: SkimmedResponse, nonce: string) => void
  #prefix = 5 // bytes of the message's prefix that are missing
  #length = 0
  #left = 0 // bytes of the message that are missing
  #varint = 0
  #shift = 1
  #field = 0 // 0 = a tag comes next
  #skip = -1 // bytes of the field's value that are missing; -1 = its length comes next
  #kept: number[] = []
  #typeUrl = ''
  #nonce = ''
  #upserts = 0
  #removes = 0

  constructor(onResponse: (response: SkimmedResponse, nonce: string) => void) {
    this.#onResponse = onResponse
  }

  write(part: Buffer): void {
    for (let at = 0; at < part.length; ) {
      if (this.#skip > 0) {
        const taken = Math.min(this.#skip, part.length - at)
        if (this.#field === 4 || this.#field === 5) for (const byte of part.subarray(at, at + taken)) this.#kept.push(byte)
        at += taken
        this.#left -= taken
        this.#skip -= taken
        if (this.#skip === 0) this.#endField()
      } else this.#byte(part[at++] ?? 0)
      if (this.#prefix === 0 && this.#left === 0) this.#endMessage()
    }
  }

  #byte(byte: number): void {
    if (this.#prefix > 0) {
      this.#length = this.#prefix === 5 ? 0 : this.#length * 256 + byte
      this.#left = this.#length
      this.#prefix--
      return
    }
    this.#left--
    this.#varint += (byte & 127) * this.#shift
    this.#shift *= 128
    if (byte >= 128) return
    const value = this.#varint
    this.#varint = 0
    this.#shift = 1
    if (this.#field === 0)
      this.#field = value >> 3 // every field of this message is length-delimited
    else if (value === 0) this.#endField()
    else this.#skip = value
  }

  #endField(): void {
    if (this.#field === 2) this.#upserts++
    else if (this.#field === 6) this.#removes++
    else if (this.#field === 4) this.#typeUrl = Buffer.from(this.#kept).toString()
    else if (this.#field === 5) this.#nonce = Buffer.from(this.#kept).toString()
    this.#kept = []
    this.#field = 0
    this.#skip = -1
  }

  #endMessage(): void {
    const response = { typeUrl: this.#typeUrl, upserts: this.#upserts, removes: this.#removes, bytes: this.#length }
    this.#prefix = 5
    this.#upserts = 0
    this.#removes = 0
    this.#onResponse(response, this.#nonce)
  }
}

function frame(type: number, flags: number, stream: number, payload: Uint8Array = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(HEADER_BYTES)
  head.writeUIntBE(payload.length, 0, 3)
  head[3] = type
  head[4] = flags
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

/** A string literal of HPACK without Huffman coding. */
function hpackText(text: string): Buffer {
  const bytes = Buffer.from(text)
  if (bytes.length < 127) return Buffer.concat([Buffer.from([bytes.length]), bytes])
  const length = [127]
  let rest = bytes.length - 127
  for (; rest >= 128; rest >>= 7) length.push((rest & 127) | 128)
  return Buffer.concat([Buffer.from([...length, rest]), bytes])
}
