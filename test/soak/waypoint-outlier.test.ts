// Outlier detection over time: one of four endpoints dies and comes back again and again, by answering 503 and by hanging up. Per death
// at most one request gets to it, and it is used again when it is well.
import assert from 'node:assert/strict'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { duplexOf } from '../../hbone/duplex.ts'
import { DEFAULT_TRAFFIC_POLICY } from '../../model/backend.ts'
import { SERVICE, startWaypoint } from '../support/waypoint-child.ts'

const FLIPS = 7
const FLIP_EVERY_MS = 5000
const PAUSE_MS = 5
const OUTLIER = {
  consecutive5xx: 1,
  consecutiveGatewayErrors: 1,
  intervalMs: 500,
  baseEjectionMs: 5000,
  maxEjectionPercent: 50,
  minHealthPercent: 0,
}

type State = 'well' | 'answers 503' | 'hangs up'

describe('outlier detection of a waypoint', function () {
  this.timeout('60s')

  it('at most one request per flip reaches a dead endpoint', async () => {
    let state: State = 'well'
    let reached = 0
    const served = [0, 0, 0, 0]
    const servers = served.map((_, index) =>
      http.createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
        served[index] = (served[index] ?? 0) + 1
        if (index > 0 || state === 'well') return void response.end('ok')
        reached++
        if (state === 'hangs up') request.socket.destroy()
        else response.writeHead(503).end()
      }),
    )
    const ports: number[] = []
    for (const [index, server] of servers.entries()) {
      await new Promise<void>((resolve) => server.listen(0, `127.0.0.${index + 1}`, resolve))
      ports.push((server.address() as AddressInfo).port)
    }
    await using waypoint = await startWaypoint({ ports, policy: { ...DEFAULT_TRAFFIC_POLICY, outlier: OUTLIER } })
    const connection = await waypoint.dial()
    const ask = async (): Promise<number> => {
      const stream = duplexOf(await connection.open({ authority: SERVICE }))
      const request = http.get({ path: '/', host: 'reviews', createConnection: () => stream as never })
      const response = await new Promise<http.IncomingMessage>((resolve, reject) => request.once('response', resolve).once('error', reject))
      await response.resume().toArray()
      stream.end()
      return response.statusCode ?? 0
    }
    const account: string[] = []
    let sent = 0
    for (let flip = 0; flip < FLIPS; flip++) {
      state = flip % 2 === 1 ? 'well' : flip % 4 === 0 ? 'answers 503' : 'hangs up'
      const before = { reached, served: served[0] ?? 0 }
      const failed: number[] = []
      for (const endMs = performance.now() + FLIP_EVERY_MS; performance.now() < endMs; sent++) {
        const status = await ask()
        if (status !== 200) failed.push(status)
        await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
      }
      account.push(`${state}: ${reached - before.reached} reached it dead, ${(served[0] ?? 0) - before.served} in all, failed: ${failed}`)
      const most = state === 'well' ? 0 : 1
      assert.ok(reached - before.reached <= most && failed.length <= most, account.join('\n'))
    }
    console.log(`      ${sent} requests, ${FLIPS} flips: ${reached} reached it dead; each has served ${served}`)
    assert.ok(reached >= 2 && (served[0] ?? 0) > 50, account.join('\n'))
    for (const server of servers) {
      server.closeAllConnections()
      server.close()
    }
  })
})
