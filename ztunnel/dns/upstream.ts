// Asks the cluster's name servers what the mesh does not know. Sockets are opened in ztunnel's own namespace, one per query,
// so that port and id are both unpredictable. Follows RFC 5452 §9.
import { randomInt } from 'node:crypto'
import { createSocket } from 'node:dgram'
import type { Socket as DatagramSocket } from 'node:dgram'
import net from 'node:net'
import type { Clock } from '../../kit/clock.ts'
import type { Endpoint } from '../../model/address.ts'
import { isIpv6 } from '../../model/address.ts'
import { endOfName, HEADER_BYTES } from './message.ts'

/** How a query came, and so how it is passed on. */
export type DnsTransport = 'udp' | 'tcp'

/** Makes the sockets to the cluster's name servers: never in a pod's namespace, where policy and capture would apply. */
export interface UpstreamSockets {
  /** Unbound. */
  udp(server: Endpoint): DatagramSocket
  /** Connecting or connected. */
  tcp(server: Endpoint): net.Socket
}

const OWN_NAMESPACE: UpstreamSockets = {
  udp: (server) => createSocket(isIpv6(server.ip) ? 'udp6' : 'udp4'),
  tcp: (server) => net.connect({ host: server.ip, port: server.port }),
}

/** Asks the servers in turn. Bounded: more than `mostPending` open queries are refused. */
export class UpstreamDns {
  readonly #servers: readonly Endpoint[]
  readonly #clock: Clock
  readonly #mostPending: number
  readonly #sockets: UpstreamSockets
  #pending = 0

  /** @param options.sockets default: sockets of the calling thread's own network namespace, which is ztunnel's */
  constructor(options: {
    readonly servers: readonly Endpoint[]
    readonly clock: Clock
    readonly mostPending?: number
    readonly sockets?: UpstreamSockets
  }) {
    this.#sockets = options.sockets ?? OWN_NAMESPACE
    this.#servers = options.servers
    this.#clock = options.clock
    this.#mostPending = options.mostPending ?? 1000
  }

  /**
   * Passes a query on.
   * @param query the message as received; its id is replaced on the way and put back
   * @returns the answer, or undefined when no server gave one in time or too many queries are open
   */
  async ask(query: Buffer, transport: DnsTransport): Promise<Buffer | undefined> {
    if (this.#pending >= this.#mostPending) return undefined
    this.#pending++
    try {
      for (const server of this.#servers) {
        const answer = await this.#askOne(server, query, transport)
        if (answer !== undefined) return answer
      }
      return undefined
    } finally {
      this.#pending--
    }
  }

  async #askOne(server: Endpoint, query: Buffer, transport: DnsTransport): Promise<Buffer | undefined> {
    const sent = Buffer.from(query)
    sent.writeUInt16BE(randomInt(0x10000), 0)
    const deadline = Promise.withResolvers<undefined>()
    using _timer = this.#clock.after(UPSTREAM_TIMEOUT_MS, () => deadline.resolve(undefined))
    const exchange = transport === 'udp' ? overUdp(this.#sockets.udp(server), server, sent) : overTcp(this.#sockets.tcp(server), sent)
    const answer = await Promise.race([exchange.answer, deadline.promise])
    exchange.close()
    if (answer === undefined) return undefined
    const back = Buffer.from(answer)
    query.copy(back, 0, 0, 2)
    return back
  }
}

const UPSTREAM_TIMEOUT_MS = 2_000 // resolvers of libc try again after 5 s
const LARGEST_TCP_MESSAGE_BYTES = 65_535

interface Exchange {
  readonly answer: Promise<Buffer | undefined>
  close(): void
}

function overUdp(socket: DatagramSocket, server: Endpoint, query: Buffer): Exchange {
  const { promise: answer, resolve } = Promise.withResolvers<Buffer | undefined>()
  let isOpen = true
  socket.on('error', () => resolve(undefined)) // unreachable: the next server is asked
  socket.on('message', (message) => {
    if (isAnswerTo(query, message)) resolve(message)
  })
  // Connected: the kernel drops what does not come from the server. By event: a callback would also get the errors.
  socket.once('connect', () => {
    if (isOpen) socket.send(query)
  })
  socket.connect(server.port, server.ip)
  return {
    answer,
    close: () => {
      isOpen = false
      socket.close()
    },
  }
}

function overTcp(socket: net.Socket, query: Buffer): Exchange {
  const { promise: answer, resolve } = Promise.withResolvers<Buffer | undefined>()
  let received = Buffer.alloc(0)
  socket.on('error', () => resolve(undefined))
  socket.on('close', () => resolve(undefined))
  socket.on('data', (chunk: Buffer) => {
    received = Buffer.concat([received, chunk])
    const length = received.length < 2 ? LARGEST_TCP_MESSAGE_BYTES : received.readUInt16BE(0)
    if (received.length < length + 2) return
    const message = received.subarray(2, length + 2)
    resolve(isAnswerTo(query, message) ? message : undefined)
  })
  const length = Buffer.alloc(2)
  length.writeUInt16BE(query.length)
  socket.write(Buffer.concat([length, query]))
  return { answer, close: () => void socket.destroy() }
}

/** Same id, a response, and the same question byte for byte. */
function isAnswerTo(query: Buffer, answer: Buffer): boolean {
  if (answer.length < HEADER_BYTES || (answer.readUInt8(2) & 0x80) === 0 || answer.readUInt16BE(0) !== query.readUInt16BE(0)) return false
  const nameEnd = endOfName(query)
  const end = nameEnd === undefined ? query.length : nameEnd + 4 // type and class
  return answer.subarray(HEADER_BYTES, end).equals(query.subarray(HEADER_BYTES, end))
}
