// What a waypoint keeps out, on a whole mesh: policies judge the original client, nobody goes round it, and a service whose
// waypoint is not there is reached by nobody. What must not arrive is looked for at the application.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import type { TestPod } from '../support/mesh.ts'
import { logLines } from '../support/mesh-view.ts'
import type { Echo } from '../support/waypoint-app.ts'
import { appService, gateway, httpRoute, SPACE, WaypointStage } from '../support/waypoint-stage.ts'

const WEFT = join(import.meta.dirname, '..', '..', 'weft')
const SECURITY = 'security.istio.io/v1'
const principal = (account: string, namespace = SPACE): string => `cluster.local/ns/${namespace}/sa/${account}`
/** For the pods of v2. */
const policy = (name: string, action: string, principals: readonly string[]): object => ({
  apiVersion: SECURITY,
  kind: 'AuthorizationPolicy',
  metadata: { name, namespace: SPACE },
  spec: { selector: { matchLabels: { version: 'v2' } }, action, rules: [{ from: [{ source: { principals } }] }] },
})
const using = (waypoint: string): object => ({ labels: { 'istio.io/use-waypoint': waypoint } })
const OBJECTS = [
  appService('plain'),
  appService('orphan', {}, using('nobody')),
  appService('spare', {}, using('second')),
  httpRoute('plain', [{ backendRefs: [{ name: 'v1', port: 80 }] }]),
]

describe('around a waypoint', () => {
  let stage: WaypointStage

  before(async () => {
    stage = await WaypointStage.open(OBJECTS)
  })
  after(async () => {
    await stage?.[Symbol.asyncDispose]()
  })

  const statusOf = async (from: TestPod, host: string, path?: string): Promise<number> => (await stage.get(from, host, path)).status
  const becomes = (want: number, from: TestPod, host: string): Promise<boolean> =>
    stage.mesh.until(`${host} answers ${want}`, async () => (await statusOf(from, host)) === want)
  const remove = (kind: string, name: string): Promise<void> => stage.mesh.client.delete(kind, SPACE, name)
  /** Not spawnSync: the mesh's API is served by this process. */
  const weft = (...words: readonly string[]): Promise<{ status: number; said: string }> =>
    new Promise((resolve) => {
      execFile(WEFT, ['waypoint', ...words, '-n', SPACE, '--name', stage.mesh.mesh.layout.name], (error, stdout, stderr) =>
        resolve({ status: Number(error?.code ?? 0), said: stdout + stderr }),
      )
    })

  it('asks policies about the original client, and answers 403', async () => {
    const [client, guest] = [stage.client, stage.guest]
    const host = `v2.${SPACE}`
    assert.deepEqual([await statusOf(client, host), await statusOf(guest, host)], [200, 200])
    await stage.mesh.apply(policy('only-client', 'ALLOW', [principal('client')]))
    await becomes(403, guest, host)
    assert.equal(await statusOf(client, host), 200)
    const line = await stage.line((each) => each.response_code === 403)
    assert.deepEqual([line['src.identity'], line.response_code_details], [`spiffe://${principal('guest', 'guests')}`, 'POLICY_DENIED'])
    await remove('authorizationpolicies', 'only-client')
    await becomes(200, guest, host)
    await stage.mesh.apply(policy('no-guest', 'DENY', [principal('guest', 'guests')]))
    await becomes(403, guest, host)
    assert.equal(await statusOf(client, host), 200)
    await remove('authorizationpolicies', 'no-guest')
    await becomes(200, guest, host)
  })

  it('asks them for every request of a connection', async () => {
    const load = { url: `http://v2.${SPACE}/`, connections: 8, perSecond: 200 }
    const logged = async (status: number): Promise<number> => (await stage.lines()).filter((line) => line.response_code === status).length
    const more = async (status: number, count: number): Promise<void> => {
      const before = await logged(status)
      await stage.mesh.until(`${count} more are answered ${status}`, async () => (await logged(status)) >= before + count)
    }
    const report = await stage.under(stage.guest, load, async () => {
      await more(200, 20)
      await stage.mesh.apply(policy('no-guest', 'DENY', [principal('guest', 'guests')]))
      await more(403, 100)
      await remove('authorizationpolicies', 'no-guest')
      await more(200, 20)
    })
    const odd = (await stage.lines()).filter((line) => ![200, 403].includes(Number(line.response_code ?? 200)))
    assert.deepEqual([Object.keys(report.status), report.errors], [['200', '403'], {}], JSON.stringify(odd))
    const refused = report.answers.filter(([, , status]) => status === 403)
    const [firstMs, lastMs] = [Math.min(...refused.map((each) => each[1])), Math.max(...refused.map((each) => each[0]))]
    const between = report.answers.filter(([sentMs, endMs]) => sentMs > firstMs && endMs < lastMs)
    assert.ok(between.length > 50, `${between.length} between`)
    assert.deepEqual(
      between.filter(([, , status]) => status !== 403).map(([sentMs, endMs]) => [sentMs - firstMs, lastMs - endMs]),
      [],
    )
  })

  it('lets a policy allow nobody but the waypoint', async () => {
    const host = `v2.${SPACE}`
    await stage.mesh.apply(policy('only-nobody', 'ALLOW', [principal('nobody')]))
    await becomes(403, stage.client, host)
    await stage.mesh.apply(policy('only-waypoint', 'ALLOW', [principal('waypoint')]))
    await becomes(200, stage.client, host)
    assert.equal(await statusOf(stage.guest, host), 200)
    await remove('authorizationpolicies', 'only-nobody')
    await remove('authorizationpolicies', 'only-waypoint')
  })

  it('works with STRICT', async () => {
    await stage.mesh.apply({
      apiVersion: SECURITY,
      kind: 'PeerAuthentication',
      metadata: { name: 'default', namespace: SPACE },
      spec: { mtls: { mode: 'STRICT' } },
    })
    const host = `plain.${SPACE}`
    for (let each = 0; each < 3; each++) {
      assert.deepEqual([await statusOf(stage.client, host), await statusOf(stage.guest, host)], [200, 200])
      assert.equal(await statusOf(stage.outsider, host), 0)
    }
    await remove('peerauthentications', 'default')
  })

  it('cannot be gone round', async () => {
    const [{ ip, ip6 }, vip] = [stage.v1, stage.vips('plain')[0] ?? '']
    const ways = [`${ip}:8080`, `[${ip6}]:8080`]
    for (const from of [stage.client, stage.guest, stage.outsider])
      for (const host of ways) assert.equal(await statusOf(from, host, '/round'), 0, `${from.name} to ${host}`)
    assert.equal(await statusOf(stage.outsider, vip, '/round'), 0)
    assert.deepEqual(await stage.counts('/round'), { v1: 0, v2: 0 })
    const codes = [1, 2].flatMap((node) => logLines(stage.mesh, `ztunnel-node-${node}`).map(({ code }) => code))
    assert.ok(codes.includes('WAYPOINT_REQUIRED'))
    const waypoint = await stage.waypoint()
    for (const peer of await stage.peers()) assert.ok([waypoint.ip, waypoint.ip6].includes(peer), `${peer} has reached the application`)
  })

  it('keeps a service shut whose waypoint is not there', async () => {
    for (const from of [stage.client, stage.guest]) assert.equal(await statusOf(from, `orphan.${SPACE}`, '/orphan'), 0)
    assert.deepEqual(await stage.counts('/orphan'), { v1: 0, v2: 0 })
  })

  it('opens it when the waypoint comes, and shuts it when it goes', async () => {
    const made = await weft('apply', 'second', '--wait', '--timeout', '30')
    assert.equal(made.status, 0, made.said)
    assert.equal((await weft('status', 'second')).status, 0)
    assert.match((await weft('list')).said, /second +service +True/)
    await becomes(200, stage.client, 'spare')
    const second = await stage.waypoint('second')
    const seen = JSON.parse((await stage.get(stage.client, 'spare')).body) as Echo
    assert.ok([second.ip, second.ip6].includes(seen.from))
    assert.equal((await weft('delete', 'second')).status, 0)
    await becomes(0, stage.client, 'spare')
    const before = await stage.counts('/spare')
    assert.equal(await statusOf(stage.client, 'spare', '/spare'), 0)
    assert.deepEqual(await stage.counts('/spare'), before)
    assert.equal(await statusOf(stage.client, 'plain'), 200)
  })

  it('takes what is sent to pods themselves, if it is asked to', async () => {
    await stage.mesh.apply(gateway('everything', { 'istio.io/waypoint-for': 'all' }))
    await stage.mesh.until('the waypoint is programmed', () => stage.isProgrammed('everything'))
    await stage.mesh.client.patch('pods', SPACE, stage.v2.name, { metadata: { labels: { 'istio.io/use-waypoint': 'everything' } } })
    const everything = await stage.waypoint('everything')
    const seen = await stage.mesh.until('the pod is reached by its address', async () => {
      const { status, body } = await stage.get(stage.guest, `${stage.v2.ip}:8080`, '/pod')
      return status === 200 && (JSON.parse(body) as Echo)
    })
    assert.ok([everything.ip, everything.ip6].includes(seen.from), seen.from)
  })
})
