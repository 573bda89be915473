// A flood of certificate requests, as a process of its own: HTTP/2 frames by hand over TLS from one address, so that sending costs it
// next to nothing; answers are counted, not read. A connection that is closed is replaced at once.
//   node ca-flood.ts --port N --from 127.0.0.9 --rate 20000 --token-file FILE --name SERVER     until SIGTERM, then one line of JSON
import { readFileSync } from 'node:fs'
import tls from 'node:tls'
import { parseArgs } from 'node:util'

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
const PATH = '/istio.v1.auth.IstioCertificateService/CreateCertificate'
const FRAME = { data: 0, headers: 1, settings: 4, ping: 6 } as const
const END_STREAM = 1
const END_HEADERS = 4
const ACK = 1
const TICK_MS = 5
const CONNECTIONS = 4
const LAST_STREAM = 2 ** 31 - 1
/** Unsent bytes above which a connection is left alone: the far side does not read. */
const MOST_UNSENT_BYTES = 1 << 20

const text = { type: 'string' } as const
const { values } = parseArgs({ options: { port: text, from: text, rate: text, 'token-file': text, name: text } })
const counts = { offered: 0, sent: 0, answered: 0, connected: 0, closed: 0 }

/** One connection; the header fields go into the peer's table with the first request, after which a request is some bytes. */
class Attacker {
  readonly #socket: tls.TLSSocket
  readonly #fields: readonly (readonly [string, string])[]
  #stream = 1
  #isOpen = false
  #rest: Buffer = Buffer.alloc(0)

  constructor(token: string) {
    this.#fields = [
      [':method', 'POST'],
      [':scheme', 'https'],
      [':path', PATH],
      [':authority', values.name ?? ''],
      ['content-type', 'application/grpc'],
      ['te', 'trailers'],
      ['authorization', `Bearer ${token}`],
    ]
    const to = { host: '127.0.0.1', port: Number(values.port), localAddress: values.from ?? '127.0.0.9' }
    this.#socket = tls.connect({ ...to, servername: values.name ?? '', ALPNProtocols: ['h2'], rejectUnauthorized: false })
    this.#socket.on('secureConnect', () => {
      counts.connected++
      this.#isOpen = true
      this.#socket.write(Buffer.concat([PREFACE, frame(FRAME.settings, 0, 0, Buffer.alloc(0))]))
    })
    this.#socket.on('data', (chunk: Buffer) => this.#read(chunk))
    this.#socket.on('error', () => undefined) // the close says it
    this.#socket.on('close', () => {
      counts.closed++
      this.#isOpen = false
      setTimeout(() => attackers.splice(attackers.indexOf(this), 1, new Attacker(token)), TICK_MS)
    })
  }

  send(count: number): void {
    counts.offered += count
    if (!this.#isOpen || this.#socket.writableLength > MOST_UNSENT_BYTES) return
    const frames: Buffer[] = []
    for (let i = 0; i < count && this.#stream < LAST_STREAM; i++, this.#stream += 2) {
      const fields = this.#stream === 1 ? this.#literals() : this.#indexed()
      frames.push(frame(FRAME.headers, END_HEADERS, this.#stream, fields), frame(FRAME.data, END_STREAM, this.#stream, MESSAGE))
    }
    counts.sent += frames.length / 2
    this.#socket.write(Buffer.concat(frames))
  }

  /** RFC 7541 §6.2.1: literals that are added to the table. */
  #literals(): Buffer {
    return Buffer.concat(this.#fields.flatMap(([name, value]) => [Buffer.of(0x40), hpackText(name), hpackText(value)]))
  }

  /** RFC 7541 §6.1; the table's newest entry has index 62. */
  #indexed(): Buffer {
    return Buffer.from(this.#fields.map((_, index) => 0x80 | (62 + this.#fields.length - 1 - index)))
  }

  #read(chunk: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, chunk])
    while (this.#rest.length >= 9) {
      const length = this.#rest.readUIntBE(0, 3)
      if (this.#rest.length < 9 + length) return
      const [type, flags] = [this.#rest[3], this.#rest[4] ?? 0]
      if (type === FRAME.headers && (flags & END_STREAM) !== 0) counts.answered++
      if (type === FRAME.settings && (flags & ACK) === 0) this.#socket.write(frame(FRAME.settings, ACK, 0, Buffer.alloc(0)))
      if (type === FRAME.ping && (flags & ACK) === 0) this.#socket.write(frame(FRAME.ping, ACK, 0, this.#rest.subarray(9, 17)))
      this.#rest = this.#rest.subarray(9 + length)
    }
  }
}

/** A gRPC message that is no request: nothing of it is read before the caller is known. */
const MESSAGE = Buffer.concat([Buffer.of(0, 0, 0, 0, 64), Buffer.alloc(64, 0x41)])

function frame(type: number, flags: number, stream: number, payload: Uint8Array): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head[3] = type
  head[4] = flags
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

/** RFC 7541 §5.2, without Huffman coding. */
function hpackText(value: string): Buffer {
  const bytes = Buffer.from(value)
  if (bytes.length < 127) return Buffer.concat([Buffer.of(bytes.length), bytes])
  const length = [127]
  let rest = bytes.length - 127
  for (; rest >= 128; rest >>= 7) length.push((rest & 127) | 128)
  return Buffer.concat([Buffer.from([...length, rest]), bytes])
}

const token = readFileSync(values['token-file'] ?? '', 'utf8')
const attackers = Array.from({ length: CONNECTIONS }, () => new Attacker(token))
const begunMs = performance.now()
let turn = 0
setInterval(() => {
  const due = Math.floor(((performance.now() - begunMs) * Number(values.rate)) / 1000) - counts.offered
  if (due > 0) attackers[turn++ % attackers.length]?.send(due)
}, TICK_MS)
process.once('SIGTERM', () => {
  console.log(JSON.stringify({ ...counts, seconds: (performance.now() - begunMs) / 1000 }))
  process.exit(0)
})
