// The name server of one pod: port 15053 over UDP and TCP, in the pod's namespace. Every message comes from the pod and is
// hostile until parsed; sizes, open queries and idle connections are bounded.
import type { Socket as DatagramSocket, RemoteInfo } from 'node:dgram'
import type net from 'node:net'
import type { Clock } from '../../kit/clock.ts'
import type { Workload } from '../../model/workload.ts'
import { answerReply, errorReply, HEADER_BYTES, LONGEST_QUERY_BYTES, parseMessage } from './message.ts'
import type { DnsQuery } from './message.ts'
import { resolve } from './resolver.ts'
import type { DnsOptions, DnsView } from './resolver.ts'
import type { DnsTransport, UpstreamDns } from './upstream.ts'

/** What a pod's name server works with. */
export interface DnsServerOptions extends DnsOptions {
  readonly view: DnsView
  readonly upstream: UpstreamDns
  readonly clock: Clock
  /** The pod that asks; undefined while the control plane has not described it: see #answerUndescribed. */
  client(): Workload | undefined
  /** Counts one query; `forwarded` = the cluster's name servers were asked, `failed` = they did not answer. */
  onQuery(what: 'answered' | 'forwarded' | 'failed'): void
}

const MOST_TCP_CONNECTIONS = 64
const TCP_IDLE_MS = 10_000
/** Queries of one pod that wait for the cluster's name servers: a pod must not use up what all pods of the node share. */
const MOST_FORWARDED = 256

/** Answers on the given sockets until disposed; it owns them. */
export class DnsServer implements Disposable {
  readonly #options: DnsServerOptions
  readonly #datagrams: readonly DatagramSocket[]
  readonly #listeners: readonly net.Server[]
  readonly #connections = new Set<net.Socket>()
  #forwarded = 0
  #isOpen = true

  constructor(
    options: DnsServerOptions,
    sockets: { readonly datagrams: readonly DatagramSocket[]; readonly listeners: readonly net.Server[] },
  ) {
    this.#options = options
    this.#datagrams = sockets.datagrams
    this.#listeners = sockets.listeners
    for (const socket of sockets.datagrams) {
      socket.on('message', (message, from) => void this.#answerDatagram(socket, message, from))
      socket.on('error', () => undefined) // ICMP errors of askers that are gone
    }
    for (const listener of sockets.listeners) listener.on('connection', (connection) => this.#serve(connection))
  }

  [Symbol.dispose](): void {
    this.#isOpen = false
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
    let received: Buffer = Buffer.alloc(0)
    connection.on('data', (chunk: Buffer) => {
      received = received.length === 0 ? chunk : Buffer.concat([received, chunk])
      if (received.length < 2) return
      const length = received.readUInt16BE(0)
      if (length < HEADER_BYTES || length > LONGEST_QUERY_BYTES) return void connection.destroy()
      if (received.length < length + 2) return
      const query = received.subarray(2, length + 2)
      const rest = received.subarray(length + 2)
      received = Buffer.alloc(0)
      connection.pause() // one query at a time: answers keep their order and nothing piles up
      void this.#answer(query, 'tcp').then((answer) => {
        if (connection.destroyed) return
        if (answer !== undefined) connection.write(framed(answer))
        if (rest.length > 0) connection.unshift(rest)
        connection.resume()
      })
    })
  }

  async #answerDatagram(socket: DatagramSocket, message: Buffer, from: RemoteInfo): Promise<void> {
    if (from.port === 0) return // forged: nobody can be answered there
    const answer = await this.#answer(message, 'udp')
    if (answer !== undefined && this.#isOpen) socket.send(answer, from.port, from.address, () => undefined) // the asker may be gone
  }

  /** @returns the answer, or undefined when the message deserves none (a response, or not DNS at all). Never rejects. */
  async #answer(message: Buffer, transport: DnsTransport): Promise<Buffer | undefined> {
    const parsed = parseMessage(message)
    if (parsed.kind === 'ignore') return undefined
    if (parsed.kind === 'refuse') return errorReply(message, parsed.code, parsed.questionEnd)
    const { query } = parsed
    const client = this.#options.client()
    const { question } = query
    if (client === undefined) return this.#answerUndescribed(query, transport)
    const resolution = question === undefined ? undefined : resolve(question, client, this.#options.view, this.#options)
    if (question !== undefined && resolution?.kind === 'answer') {
      this.#options.onQuery('answered')
      return answerReply(query, question, resolution.answers, transport)
    }
    return this.#forward(query, transport)
  }

  /**
   * A ztunnel that has just started knows nothing of the mesh yet. The cluster's name servers know its services, and what they say of one
   * holds; that they know a name not does not, since it may be the mesh's alone, and neither does an address from outside.
   */
  async #answerUndescribed(query: DnsQuery, transport: DnsTransport): Promise<Buffer> {
    const name = query.question?.name.toLowerCase().replace(/\.$/, '') ?? ''
    if (name.endsWith(`.svc.${this.#options.clusterDomain}`)) {
      const answer = await this.#forward(query, transport)
      if (isFound(answer)) return answer
    }
    return errorReply(query.message, 'SERVFAIL', query.questionEnd)
  }

  async #forward(query: DnsQuery, transport: DnsTransport): Promise<Buffer> {
    this.#options.onQuery('forwarded')
    let answer: Buffer | undefined
    if (this.#forwarded < MOST_FORWARDED) {
      this.#forwarded++
      answer = await this.#options.upstream.ask(query.message, transport)
      this.#forwarded--
    }
    if (answer !== undefined) return answer
    this.#options.onQuery('failed')
    return errorReply(query.message, 'SERVFAIL', query.questionEnd)
  }
}

/** Code 0: the name exists, perhaps not in the family that was asked for. */
function isFound(answer: Buffer): boolean {
  return answer.length >= HEADER_BYTES && (answer.readUInt8(3) & 0x0f) === 0
}

function framed(message: Buffer): Buffer {
  const length = Buffer.alloc(2)
  length.writeUInt16BE(message.length)
  return Buffer.concat([length, message])
}
