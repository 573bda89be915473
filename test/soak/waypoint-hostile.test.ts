// An endpoint that breaks HTTP in every way it can, behind a waypoint: its own requests fail with 5xx or break off, nobody else
// notices, and the memory comes back.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { findSandbox } from '../../cli/command/exec.ts'
import { HOSTILE_PATHS } from '../support/hostile-backend.ts'
import { deployment } from '../support/mesh.ts'
import { type Answer, SPACE, WAYPOINT, WaypointStage } from '../support/waypoint-stage.ts'

const APP = join(import.meta.dirname, '..', 'support', 'hostile-backend.ts')
const LIMIT_MS = 1000
const LOAD = { url: 'http://v1.shop.svc.cluster.local/', connections: 8, perSecond: 100 }
const QUIET_MS = 1500
/** The attacks keep two cores busy that waypoint, ztunnels, victim and attacker share. */
const ALLOWANCE_MS = 60
const PSS_ALLOWANCE_BYTES = 48 * 1024 * 1024
const LANES = 3

const service = (name: string, selector: object): object => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, namespace: SPACE },
  spec: {
    selector,
    ports: [
      { name: 'http', port: 80, targetPort: 8080, appProtocol: 'http' },
      { name: 'http2', port: 82, targetPort: 8082, appProtocol: 'kubernetes.io/h2c' },
      { name: 'early', port: 83, targetPort: 8083, appProtocol: 'http' },
    ],
  },
})
const limited = (name: string): object => ({
  apiVersion: 'gateway.networking.k8s.io/v1',
  kind: 'HTTPRoute',
  metadata: { name, namespace: SPACE },
  spec: {
    parentRefs: [{ group: '', kind: 'Service', name }],
    rules: [80, 82, 83].map((port) => ({
      matches: [{ headers: [{ name: 'x-port', value: String(port) }] }],
      timeouts: { request: `${LIMIT_MS}ms` },
      backendRefs: [{ name, port }],
    })),
  },
})
const OBJECTS = [
  service('bad', { app: 'bad' }),
  service('mixed', { 'may-be': 'asked' }),
  limited('bad'),
  limited('mixed'),
  deployment(SPACE, 'bad', ['node', APP], { pod: { nodeName: 'node-2' }, labels: { 'may-be': 'asked' } }),
  deployment(SPACE, 'good', ['node', APP, 'good'], { pod: { nodeName: 'node-1' }, labels: { 'may-be': 'asked' } }),
]

describe('a hostile endpoint behind a waypoint', function () {
  this.timeout('60s')
  let stage: WaypointStage

  before(async () => {
    stage = await WaypointStage.open(OBJECTS)
  })
  after(async () => {
    await stage?.[Symbol.asyncDispose]()
  })

  const pss = (): number => {
    const [pid] = Object.values(findSandbox(stage.mesh.mesh.layout, `${SPACE}/${WAYPOINT}`).containers)
    return 1024 * Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1])
  }
  const asked = (host: string): { host: string; path: string; headers: object }[] => [
    ...HOSTILE_PATHS.http1.map((path) => ({ host, path, headers: { 'x-port': '80' } })),
    ...HOSTILE_PATHS.http2.map((path) => ({ host: `${host}:82`, path, headers: { 'x-port': '82' } })),
    { host: `${host}:83`, path: '/early', headers: { 'x-port': '83' } },
  ]
  /** All that the endpoint can do, in some lanes. */
  const askAll = async (host: string): Promise<readonly (Answer & { asked: string })[]> => {
    const list = asked(host)
    const lanes = Array.from({ length: LANES }, (_, lane) => list.filter((_each, index) => index % LANES === lane))
    const answers = await Promise.all(
      lanes.map(async (lane) =>
        (await stage.getAll(stage.client, lane)).map((answer, index) => ({ ...answer, asked: `${lane[index]?.host}${lane[index]?.path}` })),
      ),
    )
    return answers.flat()
  }

  /** Beside an endpoint that behaves, in one service. */
  const sharesService = async (): Promise<void> => {
    await askAll('mixed')
    const [good, bad] = await Promise.all(['good', 'bad'].map((name) => stage.mesh.pod(`${SPACE}/${name}`)))
    const asked = (await stage.lines()).filter((line) => String(line.authority).startsWith('mixed'))
    const at = (pod = good): typeof asked => asked.filter((line) => String(line.upstream_host).startsWith(`${pod?.ip}:`))
    assert.ok(at(good).length > 10 && at(bad).length > 10, `${at(good).length} ${at(bad).length}`)
    for (const line of at(good)) assert.equal(line.response_code, 200, JSON.stringify(line))
    assert.equal(at(good).length + at(bad).length, asked.length, 'a request that neither has seen')
  }

  it('hurts its own requests only', async () => {
    await stage.load(stage.guest, { ...LOAD, requests: 200 })
    const quiet = await stage.under(stage.guest, LOAD, () => new Promise((resolve) => setTimeout(resolve, QUIET_MS)))
    await askAll('bad') // code is warm after it
    const pssBefore = pss()
    let answers: Awaited<ReturnType<typeof askAll>> = []
    const attacked = await stage.under(stage.guest, LOAD, async () => {
      answers = await askAll('bad')
    })
    for (const { asked: what, status, body, error } of answers) {
      const path = what.slice(what.indexOf('/'))
      const shown = `${what}: ${status} ${error ?? body.slice(0, 80)}`
      if (what.startsWith('bad:83')) continue // whether the early bytes answer the request depends on who is first
      const isHarmless = what.startsWith('bad/') && HOSTILE_PATHS.harmless.includes(path)
      // Bytes that come late may answer the next request of the same client to the same endpoint: nobody else's.
      assert.ok((isHarmless ? [200, 204, 304, 502, 503] : [0, 502, 503, 504]).includes(status), shown)
    }
    const account = JSON.stringify({ quiet: [quiet.p50Ms, quiet.p99Ms], attacked: [attacked.p50Ms, attacked.p99Ms] })
    assert.deepEqual([attacked.status, attacked.errors], [{ 200: attacked.sent }, {}], account)
    assert.ok(attacked.p99Ms <= 2 * quiet.p99Ms + ALLOWANCE_MS, account)
    const after = await stage.mesh.until('memory is back', async () => {
      const now = pss()
      return now <= pssBefore + PSS_ALLOWANCE_BYTES ? now : undefined
    })
    const megabytes = [pssBefore, after].map((bytes) => Math.round(bytes / (1 << 20)))
    await sharesService()
    console.log(`      ${answers.length} attacks; a neighbour's p50 and p99 in ms: ${account}; PSS ${megabytes.join(' -> ')} MiB`)
  })
})
