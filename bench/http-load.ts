// What bench/http.ts does with programs: starts them on a core, waits until they listen, loads a port with wrk and reads the answer.
import { execFile, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import http from 'node:http'
import { promisify } from 'node:util'
import { cpuSeconds } from './measure.ts'

/** What clients of a mesh ask for. */
const HOST = 'web.shop.svc.cluster.local'

/** One measurement; latencies in µs, `cpu` in ms of the proxy's CPU time per 1,000 requests. */
export interface Sample {
  readonly perSecond: number
  readonly p50: number
  readonly p99: number
  readonly cpu: number
  /** Share of its core that the proxy used. */
  readonly busy: number
}

/** A running program on one core; disposed of, it is ended. */
export class Program implements AsyncDisposable {
  readonly pid: number
  readonly #child: ChildProcess
  readonly #name: string
  #stderr = ''

  private constructor(name: string, child: ChildProcess) {
    this.#name = name
    this.#child = child
    this.pid = child.pid ?? 0
    child.stderr?.on('data', (chunk: Buffer) => {
      this.#stderr = `${this.#stderr}${chunk.toString()}`.slice(-4000)
    })
  }

  /**
   * Starts a program and waits until all ports answer a connection.
   * @throws Error with what it said when it ended or does not listen within 10 s
   */
  static async start(name: string, core: string, command: readonly string[], ports: readonly number[]): Promise<Program> {
    const [file = '', ...args] = ['taskset', '-c', core, ...command]
    const child = spawn(file, args, { stdio: ['ignore', 'ignore', 'pipe'] })
    await new Promise((resolve, reject) => child.once('spawn', resolve).once('error', reject))
    const program = new Program(name, child)
    for (const port of ports) await program.#listening(port)
    return program
  }

  /** @throws Error with what it said when it has ended */
  check(): void {
    const { exitCode, signalCode } = this.#child
    if (exitCode !== null || signalCode !== null) throw new Error(`${this.#name} has ended (${exitCode ?? signalCode}): ${this.#stderr}`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const child = this.#child
    if (child.exitCode !== null || child.signalCode !== null) return
    const gone = new Promise((resolve) => child.once('exit', resolve))
    child.kill('SIGTERM')
    const forced = setTimeout(() => child.kill('SIGKILL'), 3000)
    await gone
    clearTimeout(forced)
  }

  async #listening(port: number): Promise<void> {
    for (let tries = 0; tries < 100; tries++) {
      if (this.#child.exitCode !== null) break
      const { stdout } = await run('ss', ['-Hltn', `sport = :${port}`])
      if (stdout !== '') return
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    throw new Error(`${this.#name} does not listen on port ${port}: ${this.#stderr}`)
  }
}

/**
 * Loads a port with GET /api/items/1.
 * @param core of wrk
 * @throws Error when a request failed: then the number would mean nothing
 */
export async function load(core: string, port: number, connections: number, seconds: number, proxy: Program): Promise<Sample> {
  const url = `http://127.0.0.1:${port}/api/items/1`
  proxy.check()
  const before = cpuSeconds([proxy.pid])
  const { stdout } = await run('taskset', [
    '-c',
    core,
    ...['wrk', '-t1', `-c${connections}`, `-d${seconds}s`, '--timeout', '5s', '--latency', '-H', `Host: ${HOST}`, url],
  ])
  proxy.check()
  const cpu = cpuSeconds([proxy.pid]) - before
  const bad = /Socket errors.*|Non-2xx.*/.exec(stdout)
  if (bad !== null) throw new Error(`port ${port}, ${connections} connections: ${bad[0].trim()}`)
  const [, requests = '', took = '', unit = 's'] = /(\d+) requests in ([\d.]+)(ms|s|m)/.exec(stdout) ?? []
  const perSecond = Number(/Requests\/sec:\s+([\d.]+)/.exec(stdout)?.[1])
  const elapsed = Number(took) * ({ ms: 0.001, s: 1, m: 60 }[unit] ?? 1)
  return {
    perSecond,
    p50: latency(stdout, 50),
    p99: latency(stdout, 99),
    cpu: (cpu * 1_000_000) / Number(requests),
    busy: cpu / elapsed,
  }
}

/**
 * Asks once and looks whether the proxy does what it should.
 * @returns the share of the canary in 200 requests
 * @throws Error when an answer is not the backend's
 */
export async function checkProxy(name: string, port: number): Promise<number> {
  let canaries = 0
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
  for (let i = 0; i < 200; i++) {
    const { status, backend, text } = await get(agent, port)
    if (status !== 200 || text.length !== 100) throw new Error(`${name} answers ${status}: ${text.slice(0, 300)}`)
    if (backend === 'canary') canaries++
  }
  agent.destroy()
  if (canaries === 0 || canaries > 60) throw new Error(`${name} sends ${canaries} of 200 requests to the canary`)
  return canaries / 200
}

function get(agent: http.Agent, port: number): Promise<{ status: number; backend: string; text: string }> {
  return new Promise((resolve, reject) => {
    const request = http.get(
      { agent, host: '127.0.0.1', port, path: '/api/items/1', headers: { host: HOST }, timeout: 5000 },
      (response) => {
        let text = ''
        response.setEncoding('latin1').on('data', (chunk: string) => {
          text += chunk
        })
        response.on('error', reject)
        response.on('end', () => resolve({ status: response.statusCode ?? 0, backend: String(response.headers['x-backend']), text }))
      },
    )
    request.on('timeout', () => request.destroy(new Error('no answer within 5 s')))
    request.on('error', reject)
  })
}

function latency(text: string, percent: number): number {
  const [, value = '', unit = ''] = new RegExp(`^\\s+${percent}%\\s+([\\d.]+)(us|ms|s)`, 'm').exec(text) ?? []
  return Number(value || Number.NaN) * ({ us: 1, ms: 1000, s: 1_000_000 }[unit] ?? Number.NaN)
}

const run = promisify(execFile)
