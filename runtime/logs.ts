// GET /logs/NS/POD: the last lines of a container's output, and with follow=true what comes.
import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import { join } from 'node:path'
import { pause, systemClock } from '../kit/clock.ts'
import { codeOf } from '../kit/error.ts'
import type { Pod } from '../model/object.ts'
import { objectFailure } from '../objects/errors.ts'
import { type MeshLayout, podDir } from './layout.ts'
import type { ObjectStore } from './store.ts'

const DEFAULT_TAIL_LINES = 1000
const MAX_TAIL_BYTES = 4 * 1024 * 1024
const POLL_MS = 100

/**
 * Answers with text; query: `container`, `tail` (lines), `follow`.
 * @throws MeshError NOT_FOUND | BAD_REQUEST | NOT_READY (nothing was written yet)
 */
export async function serveLogs(
  mesh: MeshLayout,
  store: ObjectStore,
  request: { readonly path: readonly string[]; readonly query: URLSearchParams; readonly response: ServerResponse },
): Promise<undefined> {
  const [, namespace = '', name = ''] = request.path
  const { query, response } = request
  const pod = store.get('pods', namespace, name) as Pod
  const tail = query.get('tail') ?? String(DEFAULT_TAIL_LINES)
  if (!/^\d{1,7}$/.test(tail)) throw objectFailure('BAD_REQUEST', { what: 'tail is a number of lines' })
  const file = join(podDir(mesh, pod.metadata.uid ?? ''), 'logs', `${containerOf(pod, query.get('container'))}.log`)
  let fd: number
  try {
    fd = openSync(file, 'r')
  } catch (error) {
    if (codeOf(error) === 'ENOENT') throw objectFailure('NOT_READY', { what: 'the container has not been started yet' })
    throw error
  }
  try {
    response.writeHead(200, { 'content-type': 'text/plain; charset=utf-8' })
    let offset = tailOffset(fd, Number(tail))
    offset = send(fd, offset, response)
    while (query.get('follow') === 'true' && !response.destroyed && statSync(file, { throwIfNoEntry: false }) !== undefined) {
      if (fstatSync(fd).size < offset) offset = 0 // rotated
      if (response.writableLength < MAX_TAIL_BYTES) offset = send(fd, offset, response)
      await pause(systemClock, POLL_MS)
    }
    response.end()
  } finally {
    closeSync(fd)
  }
  return undefined
}

function containerOf(pod: Pod, asked: string | null): string {
  const names = [...(pod.spec?.containers ?? []), ...(pod.spec?.initContainers ?? [])].map((one) => one.name)
  if (asked === null) return names[0] ?? ''
  if (!names.includes(asked)) throw objectFailure('NOT_FOUND', { container: asked, has: names.join(', ') })
  return asked
}

/** Where the last `lines` lines begin, at most 4 MiB before the end. */
function tailOffset(fd: number, lines: number): number {
  const { size } = fstatSync(fd)
  const start = Math.max(0, size - MAX_TAIL_BYTES)
  const bytes = Buffer.alloc(size - start)
  const length = readSync(fd, bytes, 0, bytes.length, start)
  return start + cutLines(bytes.subarray(0, length), lines)
}

function cutLines(bytes: Buffer, lines: number): number {
  let at = bytes.length
  for (let left = lines; left > 0 && at > 0; left--) at = at === 1 ? 0 : bytes.lastIndexOf(10, at - 2) + 1
  return at
}

function send(fd: number, offset: number, response: ServerResponse): number {
  const { size } = fstatSync(fd)
  if (size <= offset) return offset
  const bytes = Buffer.alloc(Math.min(size - offset, MAX_TAIL_BYTES))
  const length = readSync(fd, bytes, 0, bytes.length, offset)
  response.write(bytes.subarray(0, length))
  return offset + length
}
