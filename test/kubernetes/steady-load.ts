// A client in the mesh that asks a server on the other node all the time, on new connections and on one that stays, and counts what
// became of the requests: what restarts cost.
import assert from 'node:assert/strict'
import type { MeshNamespace } from './pods.ts'

/** What the client has counted since it began. */
export interface LoadSums {
  readonly done: number
  readonly failed: number
  /** What went wrong last. */
  readonly last: string
}

/** 20 requests per second: every other one on a connection of its own. It answers with its sums on port 9000. */
const CLIENT = `const http = require('http'), url = process.argv[1]
const kept = new http.Agent({ keepAlive: true, maxSockets: 1 })
const sums = { done: 0, failed: 0, last: '' }
let turn = 0
setInterval(() => {
  const agent = turn++ % 2 ? kept : undefined
  const fail = (error) => { sums.failed++; sums.last = new Date().toISOString() + ' ' + (agent ? 'kept: ' : 'new: ') + (error.code || error.message) }
  const retry = (again) => http.get(url, { agent, timeout: 15000 }, (r) => { r.resume(); r.on('end', () => sums.done++); r.on('error', fail) })
    .on('timeout', function () { this.destroy(new Error('timeout')) })
    .on('error', function (error) { if (again && agent && this.reusedSocket && error.code === 'ECONNRESET') retry(false); else fail(error) })
  retry(true)
}, 50)
http.createServer((q, r) => r.end(JSON.stringify(sums))).listen(9000)`

/** The client; its namespace removes it. */
export class SteadyLoad {
  readonly #space: MeshNamespace
  readonly #name: string

  private constructor(space: MeshNamespace, name: string) {
    this.#space = space
    this.#name = name
  }

  /** Starts it on a node. A request on a kept connection that was closed meanwhile is asked once more, as HTTP clients do. */
  static async start(space: MeshNamespace, apply: (pod: object) => Promise<void>, node: number, url: string): Promise<SteadyLoad> {
    const name = `load-${node}`
    await apply(space.pod(name, node, '', { command: ['node', '-e', CLIENT, url] }))
    await space.ready(name)
    return new SteadyLoad(space, name)
  }

  async sums(): Promise<LoadSums> {
    const { stdout, stderr } = await this.#space.exec(this.#name, 'curl', '-s', '--max-time', '5', '127.0.0.1:9000')
    assert.match(stdout, /^\{/, stderr)
    return JSON.parse(stdout) as LoadSums
  }

  /** Plays something and tells what was done and what failed meanwhile. */
  async during(play: () => Promise<void>): Promise<LoadSums> {
    const before = await this.sums()
    await play()
    const after = await this.sums()
    return { done: after.done - before.done, failed: after.failed - before.failed, last: after.last }
  }
}
