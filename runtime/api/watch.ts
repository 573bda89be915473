// GET /watch: newline-delimited JSON of every change after a version, a BOOKMARK once caught up, then as it happens.
// A reader that falls behind is cut off; it continues from its version or lists again.
import type { ServerResponse } from 'node:http'
import { objectFailure } from '../../objects/errors.ts'
import { kindByPlural } from '../../objects/kinds.ts'
import type { ObjectStore, StoredEvent } from '../store.ts'

const MAX_UNSENT_BYTES = 16 * 1024 * 1024

/**
 * Answers until the reader goes away.
 * @param query `kinds=a,b` and `since=VERSION`
 * @throws MeshError VERSION_TOO_OLD | UNKNOWN_KIND | BAD_REQUEST (before the first byte)
 */
export function serveWatch(store: ObjectStore, query: URLSearchParams, response: ServerResponse): undefined {
  const kinds = new Set((query.get('kinds') ?? '').split(',').filter((kind) => kind !== ''))
  for (const kind of kinds) if (kindByPlural(kind) === undefined) throw objectFailure('UNKNOWN_KIND', { kind })
  const since = query.get('since') ?? '0'
  if (!/^\d{1,15}$/.test(since) || kinds.size === 0) throw objectFailure('BAD_REQUEST', { what: 'kinds=a,b and since=VERSION are needed' })
  const missed = store.eventsSince(Number(since), kinds)
  response.writeHead(200, { 'content-type': 'application/x-ndjson' })
  for (const entry of missed) write(response, entry)
  response.write(`${JSON.stringify({ type: 'BOOKMARK', resourceVersion: store.version })}\n`)
  const subscription = store.onEvent((entry) => {
    if (kinds.has(entry.kind)) write(response, entry)
  })
  response.on('close', () => subscription[Symbol.dispose]())
  return undefined
}

function write(response: ServerResponse, entry: StoredEvent): void {
  if (response.writableLength > MAX_UNSENT_BYTES) response.destroy()
  else response.write(`${JSON.stringify(entry.event)}\n`)
}
