// DNS messages as the pod sends them: header and question read by hand, strictly and within bounds, because replies must
// repeat the question byte for byte (dns-packet would re-encode what it cannot represent). RFC 1035 §4, RFC 6891.
import dnsPacket from 'dns-packet'
import type { Answer, Packet, Question } from 'dns-packet'

/** A query with the parts that answering needs. */
export interface DnsQuery {
  /** As received; forwarded unchanged. */
  readonly message: Buffer
  /** Undefined = a name that no service can have (bytes outside printable ASCII, a dot inside a label): somebody else's. */
  readonly question: Question | undefined
  /** End of the question section. */
  readonly questionEnd: number
  readonly hasEdns: boolean
  /** Longest answer over UDP that the asker takes and that is sent. */
  readonly udpLimitBytes: number
}

/** What a message is: a query, something to refuse with a code, or nothing to answer at all. */
export type ParsedMessage =
  | { readonly kind: 'query'; readonly query: DnsQuery }
  | { readonly kind: 'refuse'; readonly code: ErrorCode; readonly questionEnd: number }
  | { readonly kind: 'ignore' }

/** Codes of replies without records. */
export type ErrorCode = 'FORMERR' | 'SERVFAIL' | 'NOTIMP'

/** Longest query that is read; with every EDNS option in use a query has less than 1 KiB. */
export const LONGEST_QUERY_BYTES = 4096
/** A header; shorter messages are noise. */
export const HEADER_BYTES = 12
const PLAIN_UDP_BYTES = 512 // RFC 1035 §4.2.1, unless the query has EDNS
const LARGEST_UDP_BYTES = 1232 // fits every path without fragments
const LONGEST_NAME_BYTES = 255
const LONGEST_LABEL_BYTES = 63
const TYPE_AND_CLASS_BYTES = 4
const CODES = { NOERROR: 0, FORMERR: 1, SERVFAIL: 2, NOTIMP: 4 } as const
const RESPONSE = 0x8000
const AUTHORITATIVE = 0x0400
const TRUNCATED = 0x0200
const RECURSION_DESIRED = 0x0100
const RECURSION_AVAILABLE = 0x0080
const OPCODE = 0x7800

/** Reads a message of a pod. Never throws. */
export function parseMessage(message: Buffer): ParsedMessage {
  if (message.length < HEADER_BYTES || message.length > LONGEST_QUERY_BYTES) return { kind: 'ignore' }
  const flags = message.readUInt16BE(2)
  if ((flags & RESPONSE) !== 0) return { kind: 'ignore' } // two servers that answer each other's errors never stop
  if ((flags & OPCODE) !== 0) return { kind: 'refuse', code: 'NOTIMP', questionEnd: HEADER_BYTES }
  const nameEnd = message.readUInt16BE(4) === 1 ? endOfName(message) : undefined
  const questionEnd = (nameEnd ?? message.length) + TYPE_AND_CLASS_BYTES
  if (nameEnd === undefined || questionEnd > message.length) return { kind: 'refuse', code: 'FORMERR', questionEnd: HEADER_BYTES }
  const packet = decode(message)
  if (packet === undefined) return { kind: 'refuse', code: 'FORMERR', questionEnd }
  const edns = packet.additionals?.find((record) => record.type === 'OPT')
  const claimed = edns !== undefined && 'udpPayloadSize' in edns ? Number(edns.udpPayloadSize) : PLAIN_UDP_BYTES
  const query = {
    message,
    question: isPlainName(message, nameEnd) ? packet.questions?.[0] : undefined,
    questionEnd,
    hasEdns: edns !== undefined,
    udpLimitBytes: Math.max(PLAIN_UDP_BYTES, Math.min(claimed, LARGEST_UDP_BYTES)),
  }
  return { kind: 'query', query }
}

/** A reply with records; empty = the name exists, not in this family. Too long for UDP = truncated, the asker comes by TCP. */
export function answerReply(query: DnsQuery, question: Question, answers: readonly Answer[], transport: 'udp' | 'tcp'): Buffer {
  const flags = (query.message.readUInt16BE(2) & RECURSION_DESIRED) | RECURSION_AVAILABLE | AUTHORITATIVE
  const edns: Packet['additionals'] = query.hasEdns
    ? [
        {
          type: 'OPT',
          name: '.',
          udpPayloadSize: LARGEST_UDP_BYTES,
          extendedRcode: 0,
          ednsVersion: 0,
          flags: 0,
          flag_do: false,
          options: [],
        },
      ]
    : []
  const packet: Packet = { type: 'response', id: query.message.readUInt16BE(0), flags, questions: [question], additionals: edns }
  const whole = dnsPacket.encode({ ...packet, answers: [...answers] })
  if (transport === 'tcp' || whole.length <= query.udpLimitBytes) return whole
  return dnsPacket.encode({ ...packet, flags: flags | TRUNCATED })
}

/** A reply without records that repeats the question as far as it could be read. */
export function errorReply(message: Buffer, code: ErrorCode, questionEnd: number): Buffer {
  const reply = Buffer.alloc(questionEnd)
  message.copy(reply, 0, 0, questionEnd)
  const kept = message.readUInt16BE(2) & (OPCODE | RECURSION_DESIRED)
  reply.writeUInt16BE(RESPONSE | kept | RECURSION_AVAILABLE | CODES[code], 2)
  reply.writeUInt16BE(questionEnd > HEADER_BYTES ? 1 : 0, 4)
  reply.fill(0, 6, HEADER_BYTES)
  return reply
}

/** Position after the first question's name; undefined for what is no name (compressed, too long, cut off). */
export function endOfName(message: Buffer): number | undefined {
  let at = HEADER_BYTES
  for (;;) {
    const length = message[at]
    if (length === undefined || length > LONGEST_LABEL_BYTES) return undefined
    at += length + 1
    if (at - HEADER_BYTES > LONGEST_NAME_BYTES) return undefined
    if (length === 0) return at
  }
}

/** Whether every label is printable ASCII without dots: only such names survive being text. */
function isPlainName(message: Buffer, nameEnd: number): boolean {
  for (let at = HEADER_BYTES; at < nameEnd; ) {
    const end = at + 1 + (message[at] ?? 0)
    for (let i = at + 1; i < end; i++) {
      const byte = message[i] ?? 0
      if (byte <= 0x20 || byte >= 0x7f || byte === 0x2e) return false
    }
    at = end
  }
  return true
}

function decode(message: Buffer): Packet | undefined {
  try {
    return dnsPacket.decode(message)
  } catch (error) {
    if (error instanceof Error) return undefined // the library throws whatever comes for malformed bytes
    throw error
  }
}
