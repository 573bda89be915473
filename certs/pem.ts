// PEM, strictly (RFC 7468): labelled blocks of base64 lines; text between blocks is ignored, as OpenSSL does.
// Own reader because PEM comes from outside: bounded, linear in its input, and it reports faults instead of skipping blocks.
import { faults, success } from '../kit/error.ts'
import type { Result } from '../kit/error.ts'

/** Largest PEM text that is read: bundles of many roots fit. */
export const PEM_LIMIT_BYTES = 1024 * 1024

/** One block: the label (`CERTIFICATE`) and its bytes. */
export interface PemBlock {
  readonly label: string
  readonly der: Uint8Array
}

const BEGIN = /^-----BEGIN ([A-Z0-9 ]{1,64})-----$/
const BASE64_LINE = /^[A-Za-z0-9+/]{1,4096}={0,2}$/

/** Every block of the text, in order. A block that is not closed, or that is not base64, is a fault. */
export function parsePem(text: string, limitBytes = PEM_LIMIT_BYTES): Result<readonly PemBlock[]> {
  if (text.length > limitBytes) return faults(`PEM of ${text.length} bytes, at most ${limitBytes} are read`)
  const blocks: PemBlock[] = []
  let label: string | undefined
  let base64: string[] = []
  for (const raw of text.split('\n')) {
    const line = raw.trim()
    const begin = BEGIN.exec(line)?.[1]
    if (label === undefined) {
      if (begin !== undefined) [label, base64] = [begin, []]
    } else if (line === `-----END ${label}-----`) {
      const body = base64.join('')
      const der = Buffer.from(body, 'base64')
      // The decoder skips what it does not understand; the length tells whether it did.
      if (body === '' || body.length % 4 !== 0 || der.toString('base64') !== body) return faults(`a ${label} block is not base64`)
      blocks.push({ label, der })
      label = undefined
    } else if (BASE64_LINE.test(line)) base64.push(line)
    else if (line !== '') return faults(`a ${label} block holds a line that is not base64`)
  }
  return label === undefined ? success(blocks) : faults(`a ${label} block has no end`)
}

/** One block as text, lines of 64 characters, with a final newline. */
export function formatPem(label: string, der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? []
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`
}
