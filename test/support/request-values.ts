// Heads of requests for tests: whole values from the few facts that a test is about.
import type { HeaderField, RequestHead } from '../../model/http.ts'

/** GET of a target (`/path?query`) at `reviews`, with headers `{ name: value }`; a list of values gives several fields. */
export function requestOf(
  target = '/',
  headers: Readonly<Record<string, string | readonly string[]>> = {},
  change: Partial<RequestHead> = {},
): RequestHead {
  const question = target.indexOf('?')
  return {
    version: 'HTTP/1.1',
    method: 'GET',
    scheme: 'http',
    authority: 'reviews',
    path: question < 0 ? target : target.slice(0, question),
    query: question < 0 ? undefined : target.slice(question + 1),
    headers: Object.entries(headers).flatMap(([name, value]) => [value].flat().map((text): HeaderField => [name, text])),
    upgrade: undefined,
    ...change,
  }
}
