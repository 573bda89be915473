// Asks the cluster's name servers what the mesh does not know. Sockets are opened in ztunnel's own namespace, one per query,
// so that port and id are both unpredictable. Follows RFC 5452 §9.
import { randomInt } from 'node:crypto'
import { createSocket } from 'node:dgram'
import net from 'node:net'
import type { Clock } from '../../kit/clock.ts'
import type { Endpoint } from '../../model/address.ts'
import { isIpv6 } from '../../model/address.ts'

/** How a query came, and so how it is passed on. */
export type DnsTransport = 'udp' | 'tcp'

/** Asks the servers in turn. Bounded: more than `mostPending` open queries are refused. */
export class UpstreamDns {
  readonly #servers: readonly Endpoint[]
  readonly #clock: Clock
  readonly #mostPending: number
  #pending = 0

  constructor(options: { readonly servers: readonly Endpoint[]; readonly clock: Clock; readonly mostPending?: number }) {
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
    const exchange = transport === 'udp' ? overUdp(server, sent) : overTcp(server, sent)
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
const QUESTION_START = 12

interface Exchange {
  readonly answer: Promise<Buffer | undefined>
  close(): void
}

function overUdp(server: Endpoint, query: Buffer): Exchange {
  const { promise: answer, resolve } = Promise.withResolvers<Buffer | undefined>()
  const socket = createSocket(isIpv6(server.ip) ? 'udp6' : 'udp4')
  let isOpen = true
  socket.on('error', () => resolve(undefined)) // unreachable: the next server is asked
  socket.on('message', (message) => {
    if (isAnswerTo(query, message)) resolve(message)
  })
  // Connected: the kernel drops what does not come from the server.
  socket.connect(server.port, server.ip, () => {
    if (isOpen) socket.send(query)
  })
  return {
    answer,
    close: () => {
      isOpen = false
      socket.close()
    },
  }
}

function overTcp(server: Endpoint, query: Buffer): Exchange {
  const { promise: answer, resolve } = Promise.withResolvers<Buffer | undefined>()
  const socket = net.connect({ host: server.ip, port: server.port })
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

/** Same id, a response, and the same question bytes as far as the name goes. */
function isAnswerTo(query: Buffer, answer: Buffer): boolean {
  if (answer.length < QUESTION_START || (answer.readUInt8(2) & 0x80) === 0 || answer.readUInt16BE(0) !== query.readUInt16BE(0)) return false
  const end = questionEnd(query)
  return answer.subarray(QUESTION_START, end).equals(query.subarray(QUESTION_START, end))
}

/** End of the first question's name; the query was parsed before, so it is sound. */
function questionEnd(query: Buffer): number {
  let at = QUESTION_START
  for (let length = query[at] ?? 0; length !== 0 && at < query.length; length = query[at] ?? 0) at += length + 1
  return at + 1
}
