// A running Envoy with a configuration made here, its admin interface, and its end. ENVOY names the program (scripts/peers.mjs).
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import net from 'node:net'
import { join } from 'node:path'
import { tcpConnect } from '../../linux/socket.ts'
import { type Endpoint, parseEndpoint } from '../../model/address.ts'

/** Where Envoy runs; undefined = here. */
export interface EnvoyPlace {
  readonly path: string
  readonly netnsFd: number
}

const STARTED = '20 s'
const POLL_MS = 25

/** One Envoy with one worker. */
export class Envoy implements AsyncDisposable {
  readonly #child: ChildProcess
  readonly #directory: string
  readonly #place: EnvoyPlace | undefined
  #admin: Endpoint | undefined
  #said = ''

  private constructor(child: ChildProcess, directory: string, place: EnvoyPlace | undefined) {
    this.#child = child
    this.#directory = directory
    this.#place = place
    child.stderr?.on('data', (data) => {
      this.#said += String(data)
    })
  }

  /** @param resources static_resources (listeners and clusters) @throws with what Envoy says when it does not become ready */
  static async start(resources: object, place?: EnvoyPlace): Promise<Envoy> {
    const program = process.env.ENVOY
    assert.ok(program !== undefined, 'run this tier by `npm run test:interop`, which sets ENVOY')
    const directory = mkdtempSync('/tmp/weft-envoy-')
    const admin = { address: { socket_address: { address: '127.0.0.1', port_value: 0 } } }
    writeFileSync(join(directory, 'envoy.json'), JSON.stringify({ admin, static_resources: resources }))
    const flags = ['--disable-hot-restart', '--concurrency', '1', '--drain-time-s', '1', '--drain-strategy', 'immediate', '-l', 'error']
    const args = [program, '-c', join(directory, 'envoy.json'), '--admin-address-path', join(directory, 'admin'), ...flags]
    const [command = '', ...rest] = place === undefined ? args : ['nsenter', `--net=${place.path}`, ...args]
    const envoy = new Envoy(spawn(command, rest, { stdio: ['ignore', 'ignore', 'pipe'] }), directory, place)
    try {
      await envoy.#ready()
      return envoy
    } catch (error) {
      await envoy[Symbol.asyncDispose]()
      throw error
    }
  }

  /** Errors that it has logged. */
  get log(): string {
    return this.#said
  }

  /** Of Envoy, also when nsenter started it: that replaces itself. */
  get pid(): number {
    return this.#child.pid ?? assert.fail('Envoy was not started')
  }

  get hasEnded(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null
  }

  /** Port of a listener. */
  async port(listener: string): Promise<number> {
    const { listener_statuses: all } = JSON.parse(await this.admin('/listeners?format=json')) as {
      listener_statuses: { name: string; local_address: { socket_address: { port_value: number } } }[]
    }
    return all.find((each) => each.name === listener)?.local_address.socket_address.port_value ?? assert.fail(`no listener ${listener}`)
  }

  /** A counter or gauge; one that was never touched is 0. */
  async stat(name: string): Promise<number> {
    const { stats } = JSON.parse(await this.admin(`/stats?format=json&filter=^${name}$`)) as { stats: { name: string; value: number }[] }
    return stats.find((each) => each.name === name)?.value ?? 0
  }

  /** Asks the admin interface. */
  admin(path: string, method = 'GET'): Promise<string> {
    const { promise, resolve, reject } = Promise.withResolvers<string>()
    const request = http.request({ path, method, createConnection: () => this.#dial(this.#admin) }, (response) => {
      response
        .setEncoding('utf8')
        .toArray()
        .then((parts) => resolve(parts.join('')), reject)
    })
    request.on('error', reject).end()
    return promise
  }

  /** A connection to a port of it on loopback. */
  dial(port: number): net.Socket {
    return this.#dial(parseEndpoint(`127.0.0.1:${port}`))
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.hasEnded) {
      const gone = new Promise((resolve) => this.#child.once('exit', resolve))
      this.#child.kill('SIGKILL')
      await gone
    }
    rmSync(this.#directory, { recursive: true, force: true })
  }

  #dial(to: Endpoint | undefined): net.Socket {
    if (to === undefined) throw new Error('Envoy is not up')
    const fd = tcpConnect({ ...(this.#place === undefined ? {} : { netnsFd: this.#place.netnsFd }), to })
    return new net.Socket({ fd, allowHalfOpen: true }).setNoDelay(true)
  }

  async #ready(): Promise<void> {
    const until = Date.now() + Number.parseInt(STARTED, 10) * 1000
    const file = join(this.#directory, 'admin')
    while (Date.now() < until) {
      if (this.hasEnded) break
      const text = existsSync(file) ? readFileSync(file, 'utf8') : ''
      this.#admin = parseEndpoint(text.trim())
      if (this.#admin !== undefined && (await this.admin('/ready').catch(() => '')).startsWith('LIVE')) return
      await new Promise((resolve) => setTimeout(resolve, POLL_MS))
    }
    throw new Error(`Envoy is not ready after ${STARTED}: ${this.#said}`)
  }
}
