// The answer to a request that cannot be given to a handler, as bytes of HTTP/1.1.
import type { MeshError } from '../kit/error.ts'
import { writeResponse } from './head-writer.ts'

/**
 * What a client gets that no handler answers: the status of the error's row (500 if it has none) and its message, and
 * `connection: close`.
 * @returns the whole response
 */
export function errorResponse(error: MeshError): Buffer {
  const status = error.row.status ?? 500
  const detail = error.detail.reason
  const text = `${error.row.message}${detail === undefined ? '' : `: ${detail}`}\n`
  const body = Buffer.from(text)
  const headers = [
    ['content-type', 'text/plain; charset=utf-8'],
    ['x-content-type-options', 'nosniff'],
  ] as const
  const written = writeResponse({ status, headers }, body.length, { method: 'GET', isOld: false, isLast: true, upgrade: undefined })
  return 'code' in written ? body : Buffer.concat([Buffer.from(written.text, 'latin1'), body])
}
