// The control plane on the local runtime's real object API: objects, tokens and status over its unix socket.
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'mocha'
import { type ControlplaneApp, startControlplane } from '../../../../controlplane/app.ts'
import { readSettings } from '../../../../controlplane/settings.ts'
import { StoreSource } from '../../../../controlplane/source/store/store-source.ts'
import { systemClock } from '../../../../kit/clock.ts'
import { codeOf } from '../../../../kit/error.ts'
import type { HttpRoute, RouteParentStatus } from '../../../../model/gateway-api.ts'
import type { AuthorizationPolicy } from '../../../../model/istio-security.ts'
import type { MeshObject } from '../../../../model/object.ts'
import { ObjectClient } from '../../../../objects/client.ts'
import { ApiServer } from '../../../../runtime/api/server.ts'
import { ObjectStore } from '../../../../runtime/store.ts'
import { TokenIssuer } from '../../../../runtime/tokens.ts'
import { DeltaClient } from '../../../../xds/delta-client.ts'
import { ADDRESS_TYPE, AUTHORIZATION_TYPE } from '../../../../xds/kinds.ts'
import { keptLog, until } from '../../../support/xds-pair.ts'

describe('controlplane/source/store', () => {
  const dir = mkdtempSync(join(tmpdir(), 'weft-store-'))
  const socketPath = join(dir, 'api.sock')
  const { log } = keptLog()
  let api: ApiServer
  let app: ControlplaneApp
  let client: ObjectClient
  let source: StoreSource
  let podUid = ''

  before(async () => {
    const store = new ObjectStore({ directory: join(dir, 'objects'), clock: systemClock })
    const tokens = new TokenIssuer({ keyFile: join(dir, 'keys/token-signing.pem'), objects: store, clock: systemClock })
    api = await ApiServer.listen({ socketPath, store, tokens, log, extra: {} })
    client = new ObjectClient({ socketPath })
    await client.apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'weft-system' } })
    await client.apply({ apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'ztunnel', namespace: 'weft-system' } })
    const pod = await client.apply({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'ztunnel-node-1', namespace: 'weft-system' },
      spec: { nodeName: 'node-1', hostNetwork: true, serviceAccountName: 'ztunnel', containers: [{ name: 'ztunnel', image: 'ztunnel' }] },
    })
    podUid = pod.metadata.uid ?? ''
    source = new StoreSource({ socketPath, log, clock: systemClock })
    const args = ['--api-socket', socketPath, '--ca-dir', join(dir, 'ca'), '--root-cert-file', join(dir, 'root-cert.pem')]
    const settings = readSettings([...args, '--listen', '127.0.0.1:0', '--metrics-listen', '127.0.0.1:0'], {})
    assert.ok(settings.ok)
    app = await startControlplane({ settings: settings.value, source, log, clock: systemClock })
  })
  after(async () => {
    await app[Symbol.asyncDispose]()
    await api[Symbol.asyncDispose]()
    client[Symbol.dispose]()
    rmSync(dir, { recursive: true, force: true })
  })

  it('serves a proxy with a token of the runtime, and writes status back', async () => {
    const { token } = await client.requestToken({
      namespace: 'weft-system',
      serviceAccount: 'ztunnel',
      audiences: ['istio-ca'],
      pod: { name: 'ztunnel-node-1', uid: podUid },
    })
    const names = new Set<string>()
    const xds = new DeltaClient({
      address: `127.0.0.1:${app.grpcPort}`,
      roots: () => readFileSync(join(dir, 'root-cert.pem')),
      serverName: 'istiod.istio-system.svc',
      token: () => token,
      node: { id: 'ztunnel~1.1.1.1~z.weft-system~x', metadata: {} },
      kinds: [
        { typeUrl: AUTHORIZATION_TYPE, mode: 'wildcard' },
        { typeUrl: ADDRESS_TYPE, mode: 'wildcard' },
      ],
      onPush(_typeUrl, { upserts, removes }) {
        for (const { name } of upserts) names.add(name)
        for (const name of removes) names.delete(name)
        return []
      },
      onState: () => undefined,
      log,
      clock: systemClock,
    })
    xds.start()
    await until('synced', () => xds.state.isSynced)
    await client.apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } })
    const policy = {
      apiVersion: 'security.istio.io/v1',
      kind: 'AuthorizationPolicy',
      metadata: { name: 'p', namespace: 'shop' },
      spec: { action: 'DENY', rules: [{}] },
    }
    await client.apply(policy)
    await until('policy', () => names.has('shop/p'))
    const conditions = async () => ((await client.get('authorizationpolicies', 'shop', 'p')) as AuthorizationPolicy).status?.conditions
    for (let i = 0; i < 100 && (await conditions()) === undefined; i++) await new Promise((resolve) => setTimeout(resolve, 10))
    assert.equal((await conditions())?.[0]?.reason, 'Accepted')
    await client.delete('authorizationpolicies', 'shop', 'p')
    await until('removed', () => !names.has('shop/p'))
    xds.stop()
  })

  it('keeps what other controllers say of a route', async () => {
    const gateway = 'gateway.networking.k8s.io/v1'
    const route = (rules: readonly object[]): MeshObject => ({
      apiVersion: gateway,
      kind: 'HTTPRoute',
      metadata: { name: 'r', namespace: 'routed' },
      spec: { parentRefs: [{ group: '', kind: 'Service', name: 'cart' }], rules },
    })
    await client.apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'routed', labels: { 'istio.io/use-waypoint': 'w' } } })
    const spec = { gatewayClassName: 'weft-waypoint', listeners: [{ name: 'mesh', port: 15008, protocol: 'HBONE' }] }
    await client.apply({ apiVersion: gateway, kind: 'Gateway', metadata: { name: 'w', namespace: 'routed' }, spec })
    await client.apply({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'cart', namespace: 'routed' },
      spec: { ports: [{ port: 80 }] },
    })
    const stored = await client.apply(route([]))
    const parents = async () => ((await client.get('httproutes', 'routed', 'r')) as HttpRoute).status?.parents ?? []
    const settled = async (isDone: (list: readonly RouteParentStatus[]) => boolean): Promise<readonly RouteParentStatus[]> => {
      for (let i = 0; i < 200 && !isDone(await parents()); i++) await new Promise((resolve) => setTimeout(resolve, 10))
      return parents()
    }
    const [ours] = await settled((list) => list.length === 1)
    assert.deepEqual([ours?.controllerName, ours?.conditions[0]?.reason], ['weft.dev/gateway-controller', 'Accepted'])
    const foreign = { parentRef: { name: 'edge' }, controllerName: 'example.com/edge', conditions: [] }
    await client.patch('httproutes', 'routed', 'r', { status: { parents: [ours, foreign] } }, { subresource: 'status' })
    await client.apply(route([{ backendRefs: [{ name: 'cart', port: 81 }] }]))
    const both = await settled((list) => list.some(({ conditions }) => conditions[1]?.reason === 'BackendNotFound'))
    assert.deepEqual(
      both.map(({ controllerName }) => controllerName),
      ['example.com/edge', 'weft.dev/gateway-controller'],
    )
    const late = source.patchStatus('httproutes', 'routed', 'r', { parents: [] }, stored.metadata.resourceVersion)
    await assert.rejects(late, (error) => codeOf(error) === 'CONFLICT')
  })
})
