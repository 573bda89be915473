// The name server of one pod: port 15053 over UDP and TCP, in the pod's namespace. Every message comes from the pod and is
// hostile until parsed; sizes, open queries and idle connections are bounded.
import type { Socket as DatagramSocket } from 'node:dgram'
import type net from 'node:net'
import dnsPacket from 'dns-packet'
import type { Packet } from 'dns-packet'
import type { Clock } from '../../kit/clock.ts'
import type { Workload } from '../../model/workload.ts'
import { reply, resolve } from './resolver.ts'
import type { DnsOptions, DnsView } from './resolver.ts'
import type { DnsTransport, UpstreamDns } from './upstream.ts'

/** What a pod's name server works with. */
export interface DnsServerOptions extends DnsOptions {
  readonly view: DnsView
  readonly upstream: UpstreamDns
  readonly clock: Clock
  /** The pod that asks; undefined while the control plane has not described it: SERVFAIL, the resolver tries again. */
  client(): Workload | undefined
  /** Counts one query; `forwarded` = the cluster's name servers were asked, `failed` = they did not answer. */
  onQuery(what: 'answered' | 'forwarded' | 'failed'): void
}

const SMALLEST_MESSAGE_BYTES = 12
const LARGEST_UDP_QUERY_BYTES = 4096
const PLAIN_UDP_ANSWER_BYTES = 512 // RFC 1035 §4.2.1, unless the query has EDNS
const LARGEST_UDP_ANSWER_BYTES = 1232 // fits every path without fragments
const MOST_TCP_CONNECTIONS = 64
const TCP_IDLE_MS = 10_000
const TRUNCATED = 0x0200

/** Answers on the given sockets until disposed; it owns them. */
export class DnsServer implements Disposable {
  readonly #options: DnsServerOptions
  readonly #datagrams: readonly DatagramSocket[]
  readonly #listeners: readonly net.Server[]
  readonly #connections = new Set<net.Socket>()

  constructor(
    options: DnsServerOptions,
    sockets: { readonly datagrams: readonly DatagramSocket[]; readonly listeners: readonly net.Server[] },
  ) {
    this.#options = options
    this.#datagrams = sockets.datagrams
    this.#listeners = sockets.listeners
    for (const socket of sockets.datagrams) {
      socket.on('message', (message, from) => {
        void this.#answer(message, 'udp').then((answer) => {
          if (answer !== undefined) socket.send(answer, from.port, from.address, () => undefined) // the asker may be gone
        })
      })
      socket.on('error', () => undefined) // ICMP errors of askers that are gone
    }
    for (const listener of sockets.listeners) listener.on('connection', (connection) => this.#serve(connection))
  }

  [Symbol.dispose](): void {
    for (const socket of this.#datagrams) socket.close()
    for (const listener of this.#listeners) listener.close()
    for (const connection of this.#connections) connection.destroy()
  }

  #serve(connection: net.Socket): void {
    if (this.#connections.size >= MOST_TCP_CONNECTIONS) return void connection.destroy()
    this.#connections.add(connection)
    connection.on('close', () => this.#connections.delete(connection))
    connection.on('error', () => connection.destroy())
    connection.setTimeout(TCP_IDLE_MS, () => connection.destroy())
    let received = Buffer.alloc(0)
    connection.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk])
      if (received.length < 2) return
      const length = received.readUInt16BE(0)
      if (length < SMALLEST_MESSAGE_BYTES || length > LARGEST_UDP_QUERY_BYTES) return void connection.destroy()
      if (received.length < length + 2) return
      const query = received.subarray(2, length + 2)
      received = received.subarray(length + 2)
      connection.pause() // one query at a time: answers keep their order and nothing piles up
      void this.#answer(query, 'tcp').then((answer) => {
        if (answer !== undefined) connection.write(framed(answer))
        connection.resume()
        if (received.length > 0) connection.unshift(received)
        received = Buffer.alloc(0)
      })
    })
  }

  /** @returns the answer, or undefined when the message deserves none (not a query, or not DNS at all) */
  async #answer(message: Buffer, transport: DnsTransport): Promise<Buffer | undefined> {
    const query = parse(message)
    if (query === undefined) return undefined
    const [question, ...more] = query.questions ?? []
    if (question === undefined || more.length > 0) return encode(reply(query, 'FORMERR', []), query, transport)
    const client = this.#options.client()
    if (client === undefined) return encode(reply(query, 'SERVFAIL', []), query, transport)
    const resolution = resolve(question, client, this.#options.view, this.#options)
    if (resolution.kind === 'answer') {
      this.#options.onQuery('answered')
      return encode(reply(query, 'NOERROR', resolution.answers), query, transport)
    }
    this.#options.onQuery('forwarded')
    const answer = await this.#options.upstream.ask(message, transport)
    if (answer !== undefined) return answer
    this.#options.onQuery('failed')
    return encode(reply(query, 'SERVFAIL', []), query, transport)
  }
}

function parse(message: Buffer): Packet | undefined {
  if (message.length < SMALLEST_MESSAGE_BYTES || message.length > LARGEST_UDP_QUERY_BYTES) return undefined
  try {
    const packet = dnsPacket.decode(message)
    return packet.type === 'query' ? packet : undefined
  } catch (error) {
    // The library throws RangeError and Error for malformed bytes; anything else is a fault of ours.
    if (error instanceof Error) return undefined
    throw error
  }
}

function encode(packet: Packet, query: Packet, transport: DnsTransport): Buffer {
  const whole = dnsPacket.encode(packet)
  const edns = query.additionals?.find((record) => record.type === 'OPT')
  const claimed = edns !== undefined && 'udpPayloadSize' in edns ? Number(edns.udpPayloadSize) : PLAIN_UDP_ANSWER_BYTES
  const limit = Math.max(PLAIN_UDP_ANSWER_BYTES, Math.min(claimed, LARGEST_UDP_ANSWER_BYTES))
  if (transport === 'tcp' || whole.length <= limit) return whole
  return dnsPacket.encode({ ...packet, flags: (packet.flags ?? 0) | TRUNCATED, answers: [] })
}

function framed(message: Buffer): Buffer {
  const length = Buffer.alloc(2)
  length.writeUInt16BE(message.length)
  return Buffer.concat([length, message])
}
