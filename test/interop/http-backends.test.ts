// Requests that can be read in two ways, through a whole waypoint to servers that read differently: what it decided on is what
// each of them has read, or it was refused and the connection closed.
import assert from 'node:assert/strict'
import type { RequestRecord } from '../../waypoint/record.ts'
import { backend, PREFIX, REVIEWS, route } from '../support/flow-case.ts'
import { type Backend, type ReadRequest, startHaproxy, startNginx, startNode, startServlet } from '../support/http-backends.ts'
import { decode, spellings } from '../support/path-spellings.ts'
import { VECTORS } from '../support/smuggling-vectors.ts'
import { podOf } from '../support/waypoint-lab.ts'
import { WaypointWorld } from '../support/waypoint-world.ts'

const AUTHORITY = '10.96.0.1:80'
/** HTTP/1 all of them: the preface of HTTP/2 makes the waypoint speak that. */
const SMUGGLED = VECTORS.filter(({ raw }) => !raw.startsWith('PRI * HTTP/2.0'))
const LANES = 8
const SILENT_MS = 5000
/** The policy under test: nothing below /admin is for anybody. Such a request is answered without a backend. */
const ADMIN = route({ backends: [] }, PREFIX('/admin'), 'admin')
const REST = route({ backends: [backend(REVIEWS)] }, {}, 'rest')
const HOSTS = [
  'h',
  'H',
  'h.',
  'h:80',
  'H:80',
  'h.:80',
  'a.h',
  'h:080',
  'h:',
  'h,i',
  'h@i',
  'h/i',
  'h#i',
  'h?i',
  'h\\i',
  '[::1]',
  '127.1',
  '0x7f.1',
]

describe('real servers behind a waypoint', function () {
  this.timeout('60s')
  let world: WaypointWorld
  const records: RequestRecord[] = []

  before(async () => {
    world = await WaypointWorld.start({ isPlain: true, listener: { routes: [ADMIN, REST] } })
    const context = world.waypoint.context as { recorder: typeof world.waypoint.context.recorder }
    context.recorder = { ended: (record) => void records.push(record) }
  })
  after(async () => {
    await world?.[Symbol.asyncDispose]()
  })

  for (const start of [startNode, startServlet, startNginx, startHaproxy])
    it(`what was decided on is what ${start.name.slice(5)} has read`, async () => {
      await using server = await start()
      direct(world, server)
      records.length = 0
      const answers = await each(SMUGGLED, ({ raw }) => exchange(world, raw))
      for (const [index, vector] of SMUGGLED.entries()) checkStatuses(vector.name, vector.want, answers[index] ?? '')
      const authorities = HOSTS.map((host) => `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`)
      const paths = spellings().map((path) => `GET ${path} HTTP/1.1\r\nHost: h\r\n\r\n`)
      await each([...authorities, ...paths], async (raw) => {
        const answer = await exchange(world, raw)
        assert.match(answer, /^HTTP\/1\.1 (?:200|400|500) /, JSON.stringify(raw))
        return undefined
      })
      const served = records.filter((record) => record.status === 200)
      const read = await server.read(served.length)
      assert.deepEqual(differences(records, read, server.dropsParameters === true), [])
      const { refused, denied } = { refused: read.filter((one) => !one.isServed).length, denied: records.filter(isDenied).length }
      assert.ok(served.length > 300 && denied > 300, `${served.length} served, ${denied} denied`)
      const sent = SMUGGLED.length + authorities.length + paths.length
      console.log(`      ${server.name}: ${sent} sent, ${served.length} served, ${denied} denied, ${refused} refused by it, 0 differences`)
    })
})

/** The endpoint is this server from now on. */
function direct({ waypoint }: WaypointWorld, { port }: Backend): void {
  const services = new Map([[REVIEWS, [{ servicePort: 80, targetPort: port }]]])
  waypoint.context.config.apply({
    workloads: { upserts: [podOf('reviews-1', '127.0.0.1', [], { services, protocol: 'NONE' })], removes: [] },
  })
}

/** Sends bytes in a tunnel of their own, ends it. @returns everything that came back until its end */
async function exchange(world: WaypointWorld, raw: string): Promise<string> {
  const stream = await world.tunnel(AUTHORITY)
  return new Promise((resolve, reject) => {
    let text = ''
    const guard = setTimeout(() => reject(new Error(`no end of ${JSON.stringify(raw.slice(0, 200))}: ${text}`)), SILENT_MS)
    const end = (): void => {
      clearTimeout(guard)
      resolve(text)
    }
    stream.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1')
    })
    stream.once('end', end).once('error', end).once('close', end)
    stream.end(Buffer.from(raw, 'latin1'))
  })
}

async function each<T>(list: readonly T[], run: (item: T) => Promise<string | undefined>): Promise<string[]> {
  const results: string[] = []
  let next = 0
  const lane = async (): Promise<void> => {
    for (let index = next++; index < list.length; index = next++) results[index] = (await run(list[index] as T)) ?? ''
  }
  await Promise.all(Array.from({ length: LANES }, lane))
  return results
}

function checkStatuses(name: string, want: number | readonly string[], answer: string): void {
  const statuses = [...answer.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map((match) => Number(match[1]))
  const wanted = typeof want === 'number' ? [want] : want.map((line) => (line === 'REFUSED' ? 400 : 200))
  assert.deepEqual(statuses, wanted, name)
  if (typeof want === 'number') assert.match(answer, /\r\nconnection: close\r\n/, name)
}

function isDenied(record: RequestRecord): boolean {
  return record.route === 'admin'
}

/** Everything that does not agree, a line each. */
function differences(decided: readonly RequestRecord[], read: readonly ReadRequest[], dropsParameters: boolean): string[] {
  const found: string[] = []
  const byId = new Map(decided.map((record) => [idOf(record), record]))
  const times = new Map<string, number>()
  for (const one of read) {
    const record = byId.get(one.id)
    const shown = JSON.stringify(one)
    times.set(one.id, (times.get(one.id) ?? 0) + 1)
    if (record === undefined) found.push(`nobody decided on ${shown}`)
    else if (record.route !== 'rest') found.push(`denied, and it came: ${shown}`)
    else if (one.isServed) found.push(...unlike(record, one, dropsParameters).map((what) => `${what}: ${shown}`))
    if (/^\/admin(?:\/|$)/.test(one.normal ?? '')) found.push(`reached what is denied: ${shown}`)
  }
  for (const record of decided)
    if (record.status === 200 && times.get(idOf(record)) !== 1)
      found.push(`read ${times.get(idOf(record)) ?? 0} times: ${record.request.path}`)
  return found
}

function unlike({ request, bytesReceived }: RequestRecord, one: ReadRequest, dropsParameters: boolean): string[] {
  const url = request.query === undefined ? request.path : `${request.path}?${request.query}`
  const rows: readonly (readonly [string, unknown, unknown])[] = [
    ['method', request.method, one.method],
    ['host', request.authority, one.host],
    ['url', url, one.url],
    ['path', decode(dropsParameters ? request.path.replaceAll(/(?:;|%3B)[^/]*/g, '') : request.path), one.normal],
    ['body', bytesReceived, one.bodyBytes],
  ]
  return rows.flatMap(([name, want, got]) => (want === got ? [] : [`${name} ${JSON.stringify(want)} was read as ${JSON.stringify(got)}`]))
}

function idOf({ request }: RequestRecord): string {
  return request.headers.find(([name]) => name === 'x-request-id')?.[1] ?? ''
}
