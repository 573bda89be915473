// A client that counts: node waypoint-load.ts JSON. Sends requests on kept-alive connections, either `requests` of them as fast as
// answers come, or `perSecond` until standard input ends, and prints what became of each. Runs inside a pod.
import { Agent, type IncomingMessage, request as httpRequest } from 'node:http'

/** What is to be sent. */
export interface LoadOptions {
  readonly url: string
  readonly connections: number
  readonly requests?: number
  readonly perSecond?: number
  readonly headers?: Readonly<Record<string, string>>
  /** Name of a response header whose values are counted and, with perSecond, listed. */
  readonly header?: string
}

/** What became of it. Times are ms since 1970. */
export interface LoadReport {
  readonly sent: number
  readonly status: Readonly<Record<string, number>>
  readonly errors: Readonly<Record<string, number>>
  /** Values of the header -> answers. */
  readonly values: Readonly<Record<string, number>>
  /** sent at, answered at, status (0 = none), value of the header; in the order of the answers */
  readonly answers: readonly (readonly [number, number, number, string])[]
  readonly p50Ms: number
  readonly p99Ms: number
}

const LIMIT_MS = 10_000
const options = JSON.parse(process.argv[2] ?? '{}') as LoadOptions
const agent = new Agent({ keepAlive: true, maxSockets: options.connections })
const status: Record<string, number> = {}
const errors: Record<string, number> = {}
const values: Record<string, number> = {}
const answers: [number, number, number, string][] = []
const durations: number[] = []
let sent = 0

await (options.requests === undefined ? steady(options.perSecond ?? 100) : all(options.requests))
durations.sort((a, b) => a - b)
const at = (share: number): number => Math.round((durations[Math.floor((durations.length - 1) * share)] ?? 0) * 10) / 10
const report = { sent, status, errors, values, answers, p50Ms: at(0.5), p99Ms: at(0.99) } satisfies LoadReport
process.stdout.write(JSON.stringify(report), () => process.exit(0)) // a pipe takes a long line in pieces

async function all(requests: number): Promise<void> {
  const lane = async (): Promise<void> => {
    while (sent < requests) await one(false)
  }
  await Promise.all(Array.from({ length: options.connections }, lane))
}

async function steady(perSecond: number): Promise<void> {
  const open = new Set<Promise<void>>()
  let isOver = false
  process.stdin.resume().on('end', () => {
    isOver = true
  })
  const begunMs = now()
  while (!isOver) {
    // What finds no free connection is not sent yet: its time would be that of waiting here.
    for (const due = ((now() - begunMs) / 1000) * perSecond; sent < due && open.size < options.connections; ) {
      const each = one(true)
      open.add(each)
      void each.finally(() => open.delete(each))
    }
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
  await Promise.all(open)
}

function one(isListed: boolean): Promise<void> {
  sent++
  const startMs = now()
  return new Promise((resolve) => {
    let isOver = false
    const end = (code: number, value: string, error?: string): void => {
      if (isOver) return
      isOver = true
      const endMs = now()
      if (error !== undefined) errors[error] = (errors[error] ?? 0) + 1
      else {
        status[code] = (status[code] ?? 0) + 1
        values[value] = (values[value] ?? 0) + 1
        durations.push(endMs - startMs)
      }
      if (isListed) answers.push([startMs, endMs, code, error ?? value])
      resolve()
    }
    const outgoing = httpRequest(options.url, { agent, headers: options.headers ?? {}, timeout: LIMIT_MS }, (response: IncomingMessage) => {
      response.on('error', (error: NodeJS.ErrnoException) => end(0, '', error.code ?? error.message))
      response.on('end', () => end(response.statusCode ?? 0, String(response.headers[options.header ?? 'x-version'] ?? '')))
      response.resume()
    })
    outgoing.on('timeout', () => outgoing.destroy(Object.assign(new Error('silent'), { code: 'SILENT' })))
    outgoing.on('error', (error: NodeJS.ErrnoException) => end(0, '', error.code ?? error.message))
    outgoing.end()
  })
}

function now(): number {
  return performance.timeOrigin + performance.now()
}
