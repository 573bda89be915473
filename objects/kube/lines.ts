// The body of a watch as JSON lines, of bounded length.
import type { IncomingMessage } from 'node:http'
import { codeOf, messageOf } from '../../kit/error.ts'
import { objectFailure } from '../errors.ts'

const MAX_LINE_BYTES = 16 * 1024 * 1024 // an object of etcd has 1.5 MB; its JSON with managed fields is larger
const NEWLINE = 10

/**
 * Yields each parsed line until the body ends.
 * @throws API_FAILED for a line that is no JSON or has no end, API_UNREACHABLE when the body breaks off
 */
export async function* jsonLines(body: IncomingMessage): AsyncGenerator<unknown> {
  let parts: Buffer[] = []
  let length = 0
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      let start = 0
      for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
        parts.push(chunk.subarray(start, end))
        const line = parts.length === 1 ? parts[0] : Buffer.concat(parts)
        parts = []
        length = 0
        start = end + 1
        if (line !== undefined && line.length > 0) yield parse(line)
      }
      if (start === chunk.length) continue
      parts.push(chunk.subarray(start))
      length += chunk.length - start
      if (length > MAX_LINE_BYTES) throw objectFailure('API_FAILED', { reason: 'a line of the watch is too long' })
    }
  } catch (error) {
    const isOurs = codeOf(error) === 'API_FAILED' || codeOf(error) === 'API_UNREACHABLE'
    throw isOurs ? error : objectFailure('API_UNREACHABLE', { reason: 'the watch broke off' }, error)
  }
}

function parse(line: Buffer): unknown {
  try {
    return JSON.parse(line.toString('utf8'))
  } catch (error) {
    throw objectFailure('API_FAILED', { reason: `a line of the watch is no JSON: ${messageOf(error).slice(0, 200)}` })
  }
}
