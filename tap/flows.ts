// What a tap remembers of the packets that it saw: TCP and UDP flows, whether their payload is TLS, watched markers.
// Pure: bytes in, records out; bounded. Used by worker.ts. Follows RFC 9293 (sequence numbers), RFC 8446 §5.1 (records).
import { ipFromBytes } from '../model/address.ts'
import { TlsCheck } from './tls-check.ts'

/** One TCP connection or one UDP address pair as it was seen on a link. */
export interface Flow {
  readonly protocol: 'tcp' | 'udp'
  /** Who sent the first SYN; the sender of the first packet when no SYN was seen. */
  readonly client: string
  readonly clientPort: number
  readonly server: string
  readonly serverPort: number
  /** SYNs without ACK, retransmitted ones too. 0: the flow is older than the tap (or is UDP). */
  syns: number
  resets: number
  fins: number
  packets: number
  bytesToServer: number
  bytesToClient: number
  /** First payload bytes of each direction, at most FIRST_BYTES. */
  firstToServer: Uint8Array
  firstToClient: Uint8Array
  /** `none`: no payload; `tls`: TLS records only; `plain`: something else; `unknown`: begun before the tap, or a gap. */
  payload: 'none' | 'tls' | 'plain' | 'unknown'
}

/** How often a watched text was seen, and where first. */
export interface Sighting {
  readonly marker: string
  count: number
  /** `client:port > server:port` of the first sighting. */
  where: string
}

/** Payload bytes kept per direction. */
export const FIRST_BYTES = 256
const MOST_FLOWS = 20_000
const PROTOCOL_TCP = 6
const PROTOCOL_UDP = 17
const FIN = 1
const SYN = 2
const RST = 4
const ACK = 16

interface Direction {
  tail: Buffer // end of the payload so far, for markers that two segments share
  readonly tls: TlsCheck
}

interface Entry {
  readonly flow: Flow
  readonly toServer: Direction
  readonly toClient: Direction
}

interface Segment {
  readonly source: string
  readonly sourcePort: number
  readonly destination: string
  readonly destinationPort: number
  readonly flags: number // -1: UDP
  readonly seq: number
  readonly payload: Buffer
}

/** The memory of one tap. */
export class FlowTable {
  readonly #all: Entry[] = []
  readonly #live = new Map<string, Entry>() // both directions of the newest flow of an address pair
  readonly #markers = new Map<string, { readonly bytes: Buffer; readonly sighting: Sighting }>()
  #longestMarker = 0
  packets = 0
  /** Flows that found no room; whatever the tap says is incomplete when it is not 0. */
  overflowed = 0

  /** From now on payloads are searched for `marker`. */
  watch(marker: string): void {
    if (this.#markers.has(marker)) return
    const bytes = Buffer.from(marker)
    this.#markers.set(marker, { bytes, sighting: { marker, count: 0, where: '' } })
    this.#longestMarker = Math.max(this.#longestMarker, bytes.length)
  }

  /** All watched markers, seen or not. */
  sightings(): Sighting[] {
    return [...this.#markers.values()].map((each) => each.sighting)
  }

  flows(): Flow[] {
    return this.#all.map((entry) => {
      entry.flow.payload = payloadOf(entry)
      return entry.flow
    })
  }

  /** Forgets flows and sightings, keeps what is watched. Open connections are `unknown` afterwards. */
  clear(): void {
    this.#all.length = 0
    this.#live.clear()
    for (const { sighting } of this.#markers.values()) Object.assign(sighting, { count: 0, where: '' })
    this.packets = 0
    this.overflowed = 0
  }

  /** Takes one packet, beginning with its IP header. Anything but TCP and UDP is only counted. */
  add(packet: Buffer): void {
    this.packets++
    const segment = parse(packet)
    if (segment === undefined) return
    const entry = this.#entryOf(segment)
    if (entry === undefined) return
    const { flow } = entry
    const isToServer = flow.client === segment.source && flow.clientPort === segment.sourcePort
    const direction = isToServer ? entry.toServer : entry.toClient
    const { payload } = segment
    flow.packets++
    if (segment.flags !== -1) count(flow, segment, direction)
    if (payload.length === 0) return
    if (isToServer) flow.bytesToServer += payload.length
    else flow.bytesToClient += payload.length
    if (isToServer) flow.firstToServer = extended(flow.firstToServer, payload)
    else flow.firstToClient = extended(flow.firstToClient, payload)
    if (segment.flags !== -1) direction.tls.take(segment.seq, payload)
    this.#search(direction, payload, flow)
  }

  #entryOf(segment: Segment): Entry | undefined {
    const protocol = segment.flags === -1 ? 'udp' : 'tcp'
    const source = `${segment.source} ${segment.sourcePort}`
    const destination = `${segment.destination} ${segment.destinationPort}`
    const handshake = segment.flags === -1 ? 0 : segment.flags & (SYN | ACK)
    const known = this.#live.get(`${protocol} ${source} ${destination}`)
    const isReused = known !== undefined && handshake === SYN && known.flow.fins + known.flow.resets > 0 // the same ports again
    if (known !== undefined && !isReused) return known
    if (this.#all.length >= MOST_FLOWS) {
      this.overflowed++
      return undefined
    }
    const flow = newFlow(protocol, segment, handshake === (SYN | ACK)) // a SYN+ACK comes from the server
    const entry = { flow, toServer: newDirection(), toClient: newDirection() }
    this.#all.push(entry)
    this.#live.set(`${protocol} ${source} ${destination}`, entry)
    this.#live.set(`${protocol} ${destination} ${source}`, entry)
    return entry
  }

  #search(direction: Direction, payload: Buffer, flow: Flow): void {
    if (this.#markers.size === 0) return
    const text = direction.tail.length === 0 ? payload : Buffer.concat([direction.tail, payload])
    for (const { bytes, sighting } of this.#markers.values()) {
      for (let at = text.indexOf(bytes); at !== -1; at = text.indexOf(bytes, at + bytes.length)) {
        if (at + bytes.length <= direction.tail.length) continue // counted with the segment before
        if (sighting.count++ === 0) sighting.where = `${flow.client}:${flow.clientPort} > ${flow.server}:${flow.serverPort}`
      }
    }
    direction.tail = Buffer.from(text.subarray(Math.max(0, text.length - this.#longestMarker + 1)))
  }
}

function newDirection(): Direction {
  return { tail: Buffer.alloc(0), tls: new TlsCheck() }
}

function count(flow: Flow, segment: Segment, direction: Direction): void {
  const isSyn = (segment.flags & SYN) !== 0
  if (isSyn) direction.tls.begin(segment.seq + 1)
  if (isSyn && (segment.flags & ACK) === 0) flow.syns++
  if ((segment.flags & RST) !== 0) flow.resets++
  if ((segment.flags & FIN) !== 0) flow.fins++
}

function newFlow(protocol: 'tcp' | 'udp', segment: Segment, isFromServer: boolean): Flow {
  const sender = { ip: segment.source, port: segment.sourcePort }
  const receiver = { ip: segment.destination, port: segment.destinationPort }
  const [client, server] = isFromServer ? [receiver, sender] : [sender, receiver]
  return {
    protocol,
    client: client.ip,
    clientPort: client.port,
    server: server.ip,
    serverPort: server.port,
    syns: 0,
    resets: 0,
    fins: 0,
    packets: 0,
    bytesToServer: 0,
    bytesToClient: 0,
    firstToServer: new Uint8Array(),
    firstToClient: new Uint8Array(),
    payload: 'none',
  }
}

function payloadOf({ flow, toServer, toClient }: Entry): Flow['payload'] {
  if (flow.bytesToServer + flow.bytesToClient === 0) return 'none'
  if (flow.protocol === 'udp') return 'plain'
  const verdicts = [toServer.tls.verdict, toClient.tls.verdict]
  return verdicts.includes('plain') ? 'plain' : verdicts.includes('unknown') ? 'unknown' : 'tls'
}

function extended(first: Uint8Array, payload: Buffer): Uint8Array {
  if (first.length >= FIRST_BYTES) return first
  return new Uint8Array(Buffer.concat([first, payload.subarray(0, FIRST_BYTES - first.length)]))
}

/** @returns undefined for anything but whole TCP and UDP headers (fragments after the first have none) */
function parse(packet: Buffer): Segment | undefined {
  const version = (packet[0] ?? 0) >> 4
  if (version === 4 && packet.length >= 20) {
    if ((packet.readUInt16BE(6) & 0x1fff) !== 0) return undefined
    const end = Math.min(packet.length, packet.readUInt16BE(2) || packet.length) // 0: a segment for the hardware to cut
    return transport(packet[9] ?? 0, packet.subarray(((packet[0] ?? 0) & 15) * 4, end), addressAt(packet, 12, 4), addressAt(packet, 16, 4))
  }
  if (version === 6 && packet.length >= 40) {
    const { protocol, at } = skipExtensions(packet)
    const length = packet.readUInt16BE(4)
    const end = length === 0 ? packet.length : Math.min(packet.length, 40 + length)
    return transport(protocol, packet.subarray(at, end), addressAt(packet, 8, 16), addressAt(packet, 24, 16))
  }
  return undefined
}

function transport(protocol: number, bytes: Buffer, source: string, destination: string): Segment | undefined {
  if (bytes.length < 8) return undefined
  const ends = { source, sourcePort: bytes.readUInt16BE(0), destination, destinationPort: bytes.readUInt16BE(2) }
  if (protocol === PROTOCOL_UDP) return { ...ends, flags: -1, seq: 0, payload: bytes.subarray(8) }
  if (protocol !== PROTOCOL_TCP || bytes.length < 20) return undefined
  const offset = ((bytes[12] ?? 0) >> 4) * 4
  return { ...ends, flags: bytes[13] ?? 0, seq: bytes.readUInt32BE(4), payload: bytes.subarray(offset) }
}

function skipExtensions(packet: Buffer): { protocol: number; at: number } {
  let protocol = packet[6] ?? 0
  let at = 40
  while ([0, 43, 44, 60].includes(protocol) && at + 8 <= packet.length) {
    const length = protocol === 44 ? 8 : 8 + (packet[at + 1] ?? 0) * 8
    protocol = packet[at] ?? 0
    at += length
  }
  return { protocol, at }
}

/** The text of an address, as model/address.ts writes it; few addresses pass a link, so they are kept. */
function addressAt(packet: Buffer, at: number, length: number): string {
  const key = packet.toString('latin1', at, at + length)
  let text = names.get(key)
  if (text === undefined) {
    text = ipFromBytes(packet.subarray(at, at + length)) ?? '?'
    if (names.size < MOST_NAMES) names.set(key, text)
  }
  return text
}

const names = new Map<string, string>()
const MOST_NAMES = 4096
