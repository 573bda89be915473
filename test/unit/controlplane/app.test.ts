// The control plane as proxies meet it: gRPC over TLS on loopback, a real delta client, certificates, status, restart, pages.
import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { request as httpRequest } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ChannelCredentials, Client, Metadata } from '@grpc/grpc-js'
import { after, before, describe, it } from 'mocha'
import { createCsr } from '../../../certs/csr.ts'
import { type ControlplaneApp, startControlplane } from '../../../controlplane/app.ts'
import { CREATE_CERTIFICATE_PATH } from '../../../controlplane/ca/certificate-service.ts'
import { readSettings } from '../../../controlplane/settings.ts'
import { systemClock } from '../../../kit/clock.ts'
import type { SpiffeId } from '../../../model/identity.ts'
import type { Listener } from '../../../model/route.ts'
import type { MeshObject } from '../../../model/object.ts'
import type { Service } from '../../../model/service.ts'
import type { Workload } from '../../../model/workload.ts'
import { IstioCertificateRequestSchema, IstioCertificateResponseSchema } from '../../../proto/certificate_pb.ts'
import { decodeMessage, encodeMessage } from '../../../proto/wire.ts'
import { DeltaClient } from '../../../xds/delta-client.ts'
import { ADDRESS_TYPE, AUTHORIZATION_TYPE, BACKEND_TYPE, gatewayGroup, LISTENER_TYPE, NETWORKS_TYPE } from '../../../xds/kinds.ts'
import { decodeAddress } from '../../../xds/resource/address.ts'
import { decodeListener } from '../../../xds/resource/listener.ts'
import { FakeSource, pod } from '../../support/fake-source.ts'
import { keptLog, until } from '../../support/xds-pair.ts'

const CART = 'spiffe://cluster.local/ns/shop/sa/cart' as SpiffeId
const USER = { namespace: 'weft-system', serviceAccount: 'ztunnel', podName: 'ztunnel-node-1', podUid: 'z-1', nodeName: 'node-1' }
const ENROLLED = { 'ambient.istio.io/redirection': 'enabled' }

function serviceBehind(gateway: string, port: number): MeshObject {
  const metadata = { name: `by-${gateway}`, namespace: 'shop', labels: { 'istio.io/use-waypoint': gateway } }
  return { apiVersion: 'v1', kind: 'Service', metadata, spec: { clusterIP: '10.96.0.40', ports: [{ port, appProtocol: 'http' }] } }
}

/** A waypoint's Gateway and a service behind it. */
function waypointObjects(name: string): readonly MeshObject[] {
  const spec = { gatewayClassName: 'istio-waypoint', listeners: [{ name: 'mesh', port: 15008, protocol: 'HBONE' }] }
  return [
    { apiVersion: 'gateway.networking.k8s.io/v1', kind: 'Gateway', metadata: { name, namespace: 'shop', uid: `g-${name}` }, spec },
    serviceBehind(name, 80),
  ]
}

describe('controlplane/app', () => {
  const dir = mkdtempSync(join(tmpdir(), 'weft-controlplane-'))
  const { log, lines } = keptLog()
  let source: FakeSource
  let app: ControlplaneApp
  const clients: DeltaClient[] = []
  const workloads = new Map<string, Workload>()
  const services = new Map<string, Service>()

  const start = async (): Promise<void> => {
    const args = ['--api-socket', '/nowhere', '--ca-dir', join(dir, 'ca'), '--root-cert-file', join(dir, 'root-cert.pem')]
    const parsed = readSettings([...args, '--listen', '127.0.0.1:0', '--metrics-listen', '127.0.0.1:0', '--serving-ips', '127.0.0.1'], {})
    assert.ok(parsed.ok)
    app = await startControlplane({ settings: parsed.value, source, log, clock: systemClock })
  }
  const connect = (token: string): DeltaClient => {
    const client = new DeltaClient({
      address: `127.0.0.1:${app.grpcPort}`,
      roots: () => readFileSync(join(dir, 'root-cert.pem')),
      serverName: 'istiod.istio-system.svc',
      token: () => token,
      node: { id: 'ztunnel~1.1.1.1~z.weft-system~weft-system.svc.cluster.local', metadata: {} },
      kinds: [AUTHORIZATION_TYPE, NETWORKS_TYPE, ADDRESS_TYPE].map((typeUrl) => ({ typeUrl, mode: 'wildcard' })),
      onPush(typeUrl, { upserts, removes }) {
        if (typeUrl !== ADDRESS_TYPE) return []
        for (const { name, bytes } of upserts) {
          const decoded = decodeAddress(bytes)
          if (!decoded.ok) return decoded.errors
          if (decoded.value.kind === 'workload') workloads.set(name, decoded.value.workload)
          else services.set(name, decoded.value.service)
        }
        for (const name of removes) workloads.delete(name)
        return []
      },
      onState: () => undefined,
      log,
      clock: systemClock,
    })
    clients.push(client)
    client.start()
    return client
  }
  /** A waypoint of shop/wp: every address, and the listeners and backends of a group; `refuse` is what it says against listeners. */
  const connectWaypoint = (group: string, refuse: () => readonly string[]): { client: DeltaClient; listeners: Map<string, Listener> } => {
    const listeners = new Map<string, Listener>()
    const client = new DeltaClient({
      address: `127.0.0.1:${app.grpcPort}`,
      roots: () => readFileSync(join(dir, 'root-cert.pem')),
      serverName: 'istiod.istio-system.svc',
      token: () => 'waypoint',
      node: { id: 'waypoint~1.1.1.2~wp-1.shop~shop.svc.cluster.local', metadata: {} },
      kinds: [
        ...[AUTHORIZATION_TYPE, NETWORKS_TYPE, ADDRESS_TYPE].map((typeUrl) => ({ typeUrl, mode: 'wildcard' as const })),
        ...[BACKEND_TYPE, LISTENER_TYPE].map((typeUrl) => ({ typeUrl, mode: 'on-demand' as const })),
      ],
      onPush(typeUrl, { upserts, removes }) {
        if (typeUrl !== LISTENER_TYPE) return []
        for (const { name, bytes } of upserts) {
          const decoded = decodeListener(bytes)
          if (!decoded.ok) return decoded.errors
          listeners.set(name, decoded.value)
        }
        for (const name of removes) listeners.delete(name)
        return refuse()
      },
      onState: () => undefined,
      log,
      clock: systemClock,
    })
    for (const typeUrl of [BACKEND_TYPE, LISTENER_TYPE]) client.demand(typeUrl, group)
    clients.push(client)
    client.start()
    return { client, listeners }
  }
  const create = async (token: string, bytes: Buffer): Promise<Buffer> => {
    const client = new Client(`127.0.0.1:${app.grpcPort}`, ChannelCredentials.createSsl(readFileSync(join(dir, 'root-cert.pem'))), {
      'grpc.ssl_target_name_override': 'controlplane.weft-system.svc',
    })
    const metadata = new Metadata()
    metadata.set('authorization', `Bearer ${token}`)
    const asIs = (value: Buffer): Buffer => value
    try {
      return await new Promise((resolve, reject) => {
        client.makeUnaryRequest(CREATE_CERTIFICATE_PATH, asIs, asIs, bytes, metadata, (error, answer) =>
          error === null && answer !== undefined ? resolve(answer) : reject(error),
        )
      })
    } finally {
      client.close()
    }
  }
  const certificateRequest = async (id: string = CART): Promise<Buffer> => {
    const { csrPem } = await createCsr({ id: CART })
    return encodeMessage(IstioCertificateRequestSchema, { csr: csrPem, validityDuration: 3600n, metadata: { ImpersonatedIdentity: id } })
  }
  const get = (path: string, headers: Record<string, string> = {}): Promise<{ status: number; text: string }> =>
    new Promise((resolve, reject) => {
      httpRequest({ host: '127.0.0.1', port: app.httpPort, path, headers }, (response) => {
        let text = ''
        response.setEncoding('utf8')
        response.on('data', (chunk: string) => {
          text += chunk
        })
        response.on('end', () => resolve({ status: response.statusCode ?? 0, text }))
      })
        .on('error', reject)
        .end()
    })

  before(async () => {
    source = new FakeSource()
    source.tokens.set('node-1', { audience: 'istio-ca', status: { authenticated: true, user: USER } })
    const appUser = { namespace: 'shop', serviceAccount: 'cart', podName: 'cart-1', podUid: 'uid-c' }
    source.tokens.set('app', { audience: 'istio-ca', status: { authenticated: true, user: appUser } })
    source.apply(
      pod('weft-system', 'ztunnel-node-1', { uid: 'z-1', serviceAccount: 'ztunnel', ip: '172.30.0.11' }),
      pod('shop', 'cart-1', { uid: 'uid-c', serviceAccount: 'cart', annotations: ENROLLED }),
      {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name: 'cart', namespace: 'shop' },
        spec: { clusterIP: '10.96.0.9', ports: [{ port: 80 }] },
      },
    )
    await start()
  })
  after(async () => {
    for (const client of clients) client.stop()
    await app[Symbol.asyncDispose]()
    rmSync(dir, { recursive: true, force: true })
  })

  it('publishes to a node proxy, follows changes, and nothing to an app', async () => {
    const client = connect('node-1')
    await until('synced', () => client.state.isSynced)
    assert.equal(workloads.get('Kubernetes//Pod/shop/cart-1')?.protocol, 'HBONE')
    assert.equal(services.get('shop/cart.shop.svc.cluster.local')?.ports[0]?.servicePort, 80)
    const begin = performance.now()
    source.apply(pod('shop', 'cart-2', { ip: '10.244.1.6' }))
    await until('new pod', () => workloads.has('Kubernetes//Pod/shop/cart-2'))
    assert.ok(performance.now() - begin < 500)
    source.delete(pod('shop', 'cart-2'))
    await until('gone pod', () => !workloads.has('Kubernetes//Pod/shop/cart-2'))
    const foreign = connect('app')
    await new Promise((resolve) => setTimeout(resolve, 100))
    assert.equal(foreign.state.isConnected, false)
    foreign.stop()
  })

  it('lets a live enrolment settle: STRICT comes after the acknowledgement', async () => {
    source.apply({
      apiVersion: 'security.istio.io/v1',
      kind: 'PeerAuthentication',
      metadata: { name: 'strict', namespace: 'weft-system' },
      spec: { mtls: { mode: 'STRICT' } },
    })
    source.apply(pod('shop', 'late', { ip: '10.244.1.7' }))
    const uid = 'Kubernetes//Pod/shop/late'
    await until('plain', () => workloads.get(uid)?.authorizationPolicies.length === 1)
    const seen: string[] = []
    const watch = setInterval(() => {
      const now = workloads.get(uid)
      const text = `${now?.protocol} ${now?.authorizationPolicies.length}`
      if (seen.at(-1) !== text) seen.push(text)
    }, 1)
    source.apply(pod('shop', 'late', { ip: '10.244.1.7', annotations: ENROLLED }))
    await until('strict', () => workloads.get(uid)?.protocol === 'HBONE' && workloads.get(uid)?.authorizationPolicies.length === 1)
    clearInterval(watch)
    assert.deepEqual(seen.filter((text) => text.startsWith('HBONE'))[0] ?? 'HBONE 0', 'HBONE 0')
  })

  it('signs over the wire; refuses opaquely what is forged, malformed or too big', async () => {
    const answer = decodeMessage(IstioCertificateResponseSchema, await create('node-1', await certificateRequest()))
    assert.ok(answer.ok)
    assert.equal(new X509Certificate(answer.value.certChain[0] ?? '').subjectAltName, `URI:${CART}`)
    assert.equal(answer.value.certChain.at(-1), readFileSync(join(dir, 'root-cert.pem'), 'utf8'))
    const forged = [
      create('app', await certificateRequest()),
      create('nobody', await certificateRequest()),
      create('node-1', await certificateRequest('spiffe://cluster.local/ns/bank/sa/vault')),
      create('node-1', Buffer.from('ffffffff', 'hex')),
      create('node-1', encodeMessage(IstioCertificateRequestSchema, { csr: 'x'.repeat(200_000) })),
      create('node-1', encodeMessage(IstioCertificateRequestSchema, { csr: 'x', metadata: { ImpersonatedIdentity: 5 } })),
    ]
    for (const result of await Promise.allSettled(forged)) {
      assert.equal(result.status, 'rejected')
      assert.match(String(result.reason), /16 UNAUTHENTICATED: request authenticate failure/)
    }
  })

  it('gives a waypoint its gateway’s listeners and its own certificate; what it accepts and refuses is in the Gateway’s status', async () => {
    const user = { namespace: 'shop', serviceAccount: 'wp', podName: 'wp-1', podUid: 'w-1', nodeName: 'node-1' }
    source.tokens.set('waypoint', { audience: 'istio-ca', status: { authenticated: true, user } })
    const labels = { 'gateway.networking.k8s.io/gateway-name': 'wp' }
    for (const name of ['wp', 'other']) source.apply(...waypointObjects(name))
    source.apply(pod('shop', 'wp-1', { uid: 'w-1', serviceAccount: 'wp', ip: '10.244.1.99', labels }))
    const programmed = (): string => {
      const status = source.patches.filter(({ kind, name }) => kind === 'gateways' && name === 'wp').at(-1)?.status
      const found = status?.conditions.find(({ type }) => type === 'Programmed')
      return `${found?.status} ${found?.message}`
    }
    // The API gives an address to the Service that the control plane makes for the waypoint.
    const ownService = (): MeshObject | undefined => [...source.objects('services')].find(({ metadata }) => metadata.name === 'wp')
    await until('its Service', () => ownService() !== undefined)
    const made = ownService() as MeshObject<object>
    source.apply({ ...made, spec: { ...made.spec, clusterIP: '10.96.0.30' } })
    await until('pending', () => programmed().startsWith('False no waypoint'))
    let refusal: readonly string[] = []
    const { client, listeners } = connectWaypoint(gatewayGroup('shop/wp'), () => refusal)
    await until('listener', () => listeners.size === 1)
    assert.deepEqual([...listeners.keys()], ['shop/wp/shop/by-wp.shop.svc.cluster.local/80'])
    await until('not ready', () => programmed().startsWith('False no pod'))
    source.apply({
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { name: 'wp-1', namespace: 'shop', labels: { 'kubernetes.io/service-name': 'wp' } },
      addressType: 'IPv4',
      ports: [{ name: 'mesh', port: 15_008, protocol: 'TCP' }],
      endpoints: [{ addresses: ['10.244.1.99'], conditions: { ready: true }, targetRef: { kind: 'Pod', name: 'wp-1', namespace: 'shop' } }],
    } as MeshObject)
    await until('programmed', () => programmed().startsWith('True'))
    refusal = ['x: not known here']
    source.apply(serviceBehind('wp', 81))
    await until('refused', () => /^False .*not known here/.test(programmed()))
    assert.match((await get('/debug/gateways')).text, /"shop\/wp": "x: not known here"/)
    refusal = []
    source.apply(serviceBehind('wp', 82))
    await until('programmed again', () => programmed().startsWith('True'))
    const own = decodeMessage(
      IstioCertificateResponseSchema,
      await create('waypoint', await certificateRequest('spiffe://cluster.local/ns/shop/sa/wp')),
    )
    assert.ok(own.ok)
    await assert.rejects(create('waypoint', await certificateRequest(CART)), /16 UNAUTHENTICATED/)
    client.stop()
    const prying = connectWaypoint(gatewayGroup('shop/other'), () => [])
    await until('not permitted', () => lines.some(({ message }) => message === 'a subscription is not permitted'))
    assert.equal(prying.listeners.size, 0)
    prying.client.stop()
  })

  it('writes the outcome of policies into their status, once', async () => {
    const policy = {
      apiVersion: 'security.istio.io/v1',
      kind: 'AuthorizationPolicy',
      metadata: { name: 'audit', namespace: 'shop' },
      spec: { action: 'AUDIT' },
    }
    source.apply(policy)
    await until('status', () => source.patches.some(({ name }) => name === 'audit'))
    source.apply(pod('shop', 'cart-3', { ip: '10.244.1.8' }))
    await until('another push', () => workloads.has('Kubernetes//Pod/shop/cart-3'))
    const patches = source.patches.filter(({ name }) => name === 'audit')
    assert.equal(patches.length, 1)
    const [condition] = (patches[0]?.status ?? { conditions: [] }).conditions
    assert.deepEqual([condition?.type, condition?.status, condition?.reason], ['ZtunnelAccepted', 'False', 'UnsupportedValue'])
  })

  it('logs a fault of an object once and keeps everything else in force', async () => {
    source.apply({ apiVersion: 'v1', kind: 'Node', metadata: { name: 'odd' }, spec: { podCIDRs: ['nonsense'] } })
    const faults = (): number => lines.filter(({ fields }) => fields.name === 'odd').length
    await until('logged', () => faults() === 1)
    source.apply(pod('shop', 'cart-4', { ip: '10.244.1.9' }))
    await until('still serving', () => workloads.has('Kubernetes//Pod/shop/cart-4'))
    assert.equal(faults(), 1)
  })

  it('keeps its root over a restart, 0600; proxies come back without losing state', async () => {
    const root = readFileSync(join(dir, 'root-cert.pem'), 'utf8')
    for (const file of ['root.pem', 'root-key.pem']) assert.equal(statSync(join(dir, 'ca', file)).mode & 0o777, 0o600)
    await app[Symbol.asyncDispose]()
    assert.ok(workloads.size > 0)
    await start()
    assert.equal(readFileSync(join(dir, 'root-cert.pem'), 'utf8'), root)
    const client = connect('node-1')
    await until('synced again', () => client.state.isSynced)
  })

  it('refuses to start with half a root', async () => {
    const args = ['--api-socket', '/nowhere', '--ca-dir', join(dir, 'broken'), '--listen', '127.0.0.1:0', '--metrics-listen', '127.0.0.1:0']
    const parsed = readSettings(args, {})
    assert.ok(parsed.ok)
    const first = await startControlplane({ settings: parsed.value, source, log, clock: systemClock })
    await first[Symbol.asyncDispose]()
    writeFileSync(join(dir, 'broken/root-key.pem'), 'no key')
    await assert.rejects(startControlplane({ settings: parsed.value, source, log, clock: systemClock }), { code: 'CA_STORE_BROKEN' })
  })

  it('shows metrics, readiness and, on this host only, debug pages', async () => {
    assert.deepEqual(await get('/ready'), { status: 200, text: 'ready\n' })
    assert.match((await get('/metrics')).text, /weft_controlplane_xds_clients 1/)
    assert.equal((await get('/debug/clients')).status, 200)
    assert.equal((await get('/debug/clients', { host: 'evil.example' })).status, 404)
    assert.equal((await get('/debug/constructor')).status, 404)
    assert.equal((await get('/nothing')).status, 404)
  })
})
