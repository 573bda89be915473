// AuthorizationPolicies on requests: who may do what, decided by the waypoint for the original client, with its negative control beside it.
import assert from 'node:assert/strict'
import type { Condition } from '../../model/object.ts'
import { appService, SPACE, WaypointStage } from '../support/waypoint-stage.ts'

const CLIENT = `cluster.local/ns/${SPACE}/sa/client`
const policy = (name: string, spec: object): object => ({
  apiVersion: 'security.istio.io/v1',
  kind: 'AuthorizationPolicy',
  metadata: { name, namespace: SPACE },
  spec,
})
const at = (name: string): object => ({ targetRefs: [{ group: '', kind: 'Service', name }] })
const to = (operation: object): object => ({ to: [{ operation }] })

describe('policies at a waypoint', function () {
  this.timeout(120_000)
  let stage: WaypointStage
  const status = async (from: 'client' | 'guest', host: string, path = '/', init: object = {}): Promise<number> =>
    (await stage.get(stage[from], host, path, init)).status
  const becomes = (want: number, from: 'client' | 'guest', host: string, path = '/', init: object = {}): Promise<boolean> =>
    stage.mesh.until(`${host}${path} answers ${want}`, async () => (await status(from, host, path, init)) === want)
  const said = (name: string): string => {
    const { status: own } = stage.mesh.mesh.store.get('authorizationpolicies', SPACE, name) as { status?: { conditions?: Condition[] } }
    const found = own?.conditions?.find(({ type }) => type === 'WaypointAccepted')
    return `${found?.status} ${found?.reason}`
  }

  before(async () => {
    stage = await WaypointStage.open(['read', 'admin', 'jwt', 'plain', 'free'].map((name) => appService(name)))
  })
  after(async () => {
    await stage?.[Symbol.asyncDispose]()
  })

  it('ALLOW by method and identity', async () => {
    assert.equal(await status('guest', `read.${SPACE}`), 200)
    await stage.mesh.apply(
      policy('read', { ...at('read'), rules: [{ from: [{ source: { principals: [CLIENT] } }], ...to({ methods: ['GET'] }) }] }),
    )
    await becomes(403, 'guest', `read.${SPACE}`)
    assert.equal(await status('client', `read.${SPACE}`), 200)
    assert.equal(await status('client', `read.${SPACE}`, '/', { method: 'POST', body: 'x' }), 403)
    assert.equal(await status('guest', `free.${SPACE}`), 200)
    await stage.mesh.until('the status says so', () => said('read') === 'True Accepted')
  })

  it('DENY by path, however it is spelt', async () => {
    await stage.mesh.apply(policy('admin', { ...at('admin'), action: 'DENY', rules: [to({ paths: ['/admin*'] })] }))
    await becomes(403, 'client', `admin.${SPACE}`, '/admin/x')
    assert.equal(await status('client', `admin.${SPACE}`, '/public'), 200)
    for (const path of ['/public/../admin', '/%61dmin', '//admin', '/./admin', '/admin?x'])
      assert.ok([400, 403].includes(await status('client', `admin.${SPACE}`, path)), path)
  })

  it('what the waypoint cannot see closes', async () => {
    const rules = [{ from: [{ source: { requestPrincipals: ['*'] } }] }]
    await stage.mesh.apply(policy('jwt', { ...at('jwt'), rules }))
    await becomes(403, 'client', `jwt.${SPACE}`)
    await stage.mesh.until('the status says so', () => said('jwt') === 'True PartiallyInvalid')
    await stage.mesh.apply(policy('jwt', { ...at('jwt'), action: 'CUSTOM', provider: { name: 'nobody' }, rules: [to({ paths: ['/x'] })] }))
    await becomes(200, 'client', `jwt.${SPACE}`, '/y')
    assert.equal(await status('client', `jwt.${SPACE}`, '/x'), 403)
    await stage.mesh.until('the status says so', () => said('jwt') === 'False UnsupportedValue')
  })

  it('a port that carries no HTTP: an ALLOW of HTTP lets nothing in', async () => {
    const connect = async (): Promise<string> =>
      (
        await stage.client.script(`import net from 'node:net'
        const socket = net.connect(9000, 'plain.${SPACE}')
        socket.on('error', () => { console.log('refused'); process.exit() }).on('close', () => { console.log('refused'); process.exit() })
        socket.on('data', () => { console.log('answered'); process.exit() })
        socket.on('connect', () => socket.write('hello\\n'))
        setTimeout(() => { console.log('silent'); process.exit() }, 3000)`)
      ).stdout.trim()
    const before = await connect()
    assert.notEqual(before, 'refused')
    await stage.mesh.apply(policy('plain', { ...at('plain'), rules: [to({ methods: ['GET'] })] }))
    await stage.mesh.until('it is refused', async () => (await connect()) === 'refused')
    assert.equal(await status('client', `plain.${SPACE}`), 200)
  })

  it('taken away, everybody may again', async () => {
    await stage.mesh.client.delete('authorizationpolicies', SPACE, 'read')
    await becomes(200, 'guest', `read.${SPACE}`)
  })
})
