// The cluster's name server: UDP and TCP on port 53, answers from the zone only, forwards nothing.
import { createSocket, type Socket as UdpSocket } from 'node:dgram'
import { createServer, type Server, type Socket } from 'node:net'
import dnsPacket, { type Answer, type DecodedPacket, type Packet } from 'dns-packet'
import type { Log } from '../../kit/log.ts'
import type { ZoneAnswer } from './zone.ts'

/** Where it listens and whom it asks. */
export interface DnsServerOptions {
  readonly addresses: readonly string[]
  readonly port: number
  readonly log: Log
  lookup(name: string, type: string): ZoneAnswer
}

const MAX_UDP_BYTES = 1232 // fits any path with EDNS; more sets TC and the client comes by TCP
const PLAIN_UDP_BYTES = 512
const MAX_TCP_CONNECTIONS = 256
const TCP_IDLE_MS = 10_000
const NXDOMAIN = 3
const REFUSED = 5
const FORMAT_ERROR = 1

/** A running server; dispose closes its sockets. */
export class DnsServer implements Disposable {
  readonly #options: DnsServerOptions
  readonly #udp: UdpSocket[] = []
  readonly #tcp: Server[] = []

  private constructor(options: DnsServerOptions) {
    this.#options = options
  }

  /** Resolves when every socket is bound. @throws system errors (EADDRINUSE, …) */
  static async listen(options: DnsServerOptions): Promise<DnsServer> {
    const server = new DnsServer(options)
    for (const address of options.addresses) {
      await server.#listenUdp(address)
      await server.#listenTcp(address)
    }
    return server
  }

  [Symbol.dispose](): void {
    for (const socket of this.#udp) socket.close()
    for (const server of this.#tcp) server.close()
  }

  #listenUdp(address: string): Promise<void> {
    const socket = createSocket({ type: address.includes(':') ? 'udp6' : 'udp4', reuseAddr: true })
    this.#udp.push(socket)
    socket.on('message', (query, from) => {
      const reply = answerPacket(query, this.#options, PLAIN_UDP_BYTES)
      if (reply !== undefined) socket.send(reply, from.port, from.address)
    })
    return new Promise((resolve, reject) => {
      socket.once('error', reject)
      socket.bind(this.#options.port, address, () => {
        socket.off('error', reject)
        socket.on('error', (error) => this.#options.log.warn('DNS socket failed', { error: error.message }))
        resolve()
      })
    })
  }

  #listenTcp(address: string): Promise<void> {
    const server = createServer((socket) => this.#serveTcp(socket))
    server.maxConnections = MAX_TCP_CONNECTIONS
    this.#tcp.push(server)
    return new Promise((resolve, reject) => server.once('error', reject).listen(this.#options.port, address, resolve))
  }

  #serveTcp(socket: Socket): void {
    let rest: Buffer = Buffer.alloc(0)
    socket.setTimeout(TCP_IDLE_MS, () => socket.destroy())
    socket.on('error', () => socket.destroy())
    socket.on('data', (chunk: Buffer) => {
      rest = Buffer.concat([rest, chunk])
      while (rest.length >= 2 && rest.length >= 2 + rest.readUInt16BE(0)) {
        const end = 2 + rest.readUInt16BE(0)
        const reply = answerPacket(rest.subarray(2, end), this.#options, 65_535)
        rest = rest.subarray(end)
        if (reply === undefined) return void socket.destroy()
        const length = Buffer.alloc(2)
        length.writeUInt16BE(reply.length)
        socket.write(Buffer.concat([length, reply]))
      }
    })
  }
}

/**
 * The reply to one query.
 * @param maxBytes what the transport takes when the client says nothing (EDNS may raise it to 1232 on UDP)
 * @returns undefined when the bytes are no query at all
 */
export function answerPacket(bytes: Buffer, options: Pick<DnsServerOptions, 'lookup'>, maxBytes: number): Buffer | undefined {
  let query: DecodedPacket
  try {
    query = dnsPacket.decode(bytes)
  } catch {
    return undefined // not DNS: nobody to answer
  }
  if (query.type !== 'query') return undefined
  const [question] = query.questions ?? []
  const header: Packet = {
    type: 'response',
    ...(query.id === undefined ? {} : { id: query.id }),
    ...(query.questions === undefined ? {} : { questions: query.questions }),
  }
  if (question === undefined || query.questions?.length !== 1) return dnsPacket.encode({ ...header, flags: FORMAT_ERROR })
  const recursionDesired = (query.flags ?? 0) & dnsPacket.RECURSION_DESIRED
  const flags = dnsPacket.AUTHORITATIVE_ANSWER | recursionDesired
  const answer = options.lookup(question.name, question.type)
  if (answer.is !== 'found') return dnsPacket.encode({ ...header, flags: flags | (answer.is === 'refused' ? REFUSED : NXDOMAIN) })
  const answers = [...answer.answers] as Answer[]
  const reply = dnsPacket.encode({ ...header, flags, answers, additionals: [...answer.additionals] as Answer[] })
  const limit = maxBytes === PLAIN_UDP_BYTES && hasEdns(query) ? MAX_UDP_BYTES : maxBytes
  return reply.length <= limit ? reply : dnsPacket.encode({ ...header, flags: flags | dnsPacket.TRUNCATED_RESPONSE })
}

function hasEdns(query: DecodedPacket): boolean {
  return (query.additionals ?? []).some((one) => (one.type as string) === 'OPT')
}
