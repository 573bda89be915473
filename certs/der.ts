// The one piece of DER that is read by hand: the elements of a SEQUENCE, to look at names byte by byte. Strict: definite
// lengths in their shortest form (X.690 §10.1), single-byte tags, nothing after the end.
import { faults, success } from '../kit/error.ts'
import type { Result } from '../kit/error.ts'

/** One element: its identifier octet and its contents (a view, not a copy). */
export interface DerElement {
  readonly tag: number
  readonly value: Uint8Array
}

const SEQUENCE = 0x30
const MULTI_BYTE_TAG = 0x1f
const MOST_LENGTH_OCTETS = 3 // 16 MiB; what is read here is far smaller

/** The elements of the one SEQUENCE that `der` must be. */
export function readSequence(der: Uint8Array): Result<readonly DerElement[]> {
  const outer = readElements(der)
  if (!outer.ok) return outer
  const [sequence, ...rest] = outer.value
  if (sequence === undefined || rest.length > 0 || sequence.tag !== SEQUENCE) return faults('not one SEQUENCE')
  return readElements(sequence.value)
}

function readElements(bytes: Uint8Array): Result<readonly DerElement[]> {
  const elements: DerElement[] = []
  for (let at = 0; at < bytes.length; ) {
    const tag = bytes[at] ?? 0
    if ((tag & MULTI_BYTE_TAG) === MULTI_BYTE_TAG) return faults('a tag of several bytes')
    const header = readLength(bytes, at + 1)
    if (header === undefined || header.end > bytes.length) return faults('a length that is not DER')
    elements.push({ tag, value: bytes.subarray(header.start, header.end) })
    at = header.end
  }
  return success(elements)
}

function readLength(bytes: Uint8Array, at: number): { start: number; end: number } | undefined {
  const first = bytes[at]
  if (first === undefined || first === 0x80) return undefined // 0x80 = indefinite: BER only
  if (first < 0x80) return { start: at + 1, end: at + 1 + first }
  const octets = first & 0x7f
  if (octets > MOST_LENGTH_OCTETS) return undefined
  let length = 0
  for (let i = 1; i <= octets; i++) length = length * 256 + (bytes[at + i] ?? 0)
  const isShortest = length >= 0x80 && length >= 256 ** (octets - 1)
  return isShortest ? { start: at + 1 + octets, end: at + 1 + octets + length } : undefined
}
