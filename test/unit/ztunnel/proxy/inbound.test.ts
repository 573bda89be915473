// What a pod's ztunnel makes of the CONNECT of a waypoint: whom its metrics, its line and its policies name.
import assert from 'node:assert/strict'
import { Counter, Registry } from 'prom-client'
import type { ConnectRequest } from '../../../../hbone/connect.ts'
import type { HboneServerStream } from '../../../../hbone/server.ts'
import { createLog } from '../../../../kit/log.ts'
import type { Identity } from '../../../../model/identity.ts'
import { spiffeIdOf } from '../../../../model/identity.ts'
import type { Authorization } from '../../../../model/policy.ts'
import { AccessLog } from '../../../../telemetry/access-log.ts'
import { RecordBook } from '../../../../telemetry/connection-record.ts'
import { TcpMetrics } from '../../../../telemetry/metrics.ts'
import { connectRequest } from '../../../../waypoint/dial.ts'
import { ztunnelFailure } from '../../../../ztunnel/errors.ts'
import { ConnectionTable } from '../../../../ztunnel/proxy/connections.ts'
import type { PodContext } from '../../../../ztunnel/proxy/context.ts'
import { serveConnect } from '../../../../ztunnel/proxy/inbound.ts'
import { Replica } from '../../../../ztunnel/replica.ts'
import { FakeClock } from '../../../support/fake-clock.ts'
import { deny } from '../../../support/flow-case.ts'
import { ip, serviceOf, workloadOf } from '../../../support/mesh-values.ts'

const account = (serviceAccount: string): Identity => ({ trustDomain: 'cluster.local', namespace: 'shop', serviceAccount })
const SERVER_IP = ip('10.244.1.5')
const WAYPOINT = workloadOf('waypoint', ['10.244.1.9'])
const CLIENT_POD = workloadOf('client-7d9', ['10.244.2.3'], {
  serviceAccount: 'client',
  workloadName: 'client',
  workloadType: 'DEPLOYMENT',
  canonicalName: 'client-app',
  canonicalRevision: 'v7',
  clusterId: 'far',
})
const CLIENT = { id: spiffeIdOf(account('client')), identity: account('client'), ip: ip('10.244.2.3'), port: 0, workload: CLIENT_POD }
/** The service behind the waypoint, and another one that the pod serves on the same port. */
const SERVICES = [
  serviceOf('other', ['10.96.0.2']),
  serviceOf('reviews', ['10.96.0.1'], { waypoint: { kind: 'address', network: '', ip: ip('10.244.1.9'), hbonePort: 15_008 } }),
]

interface Seen {
  readonly status: number
  readonly labels: Record<string, string>
  readonly line: Record<string, unknown>
  readonly ignored: number
}

/** One CONNECT by a peer; nothing listens at the app, which ends it with a whole record. */
async function seenOf(request: ConnectRequest, peer = WAYPOINT, policies: readonly Authorization[] = []): Promise<Seen> {
  const clock = new FakeClock()
  const mesh = new Replica(clock, undefined)
  const services = new Map(SERVICES.map(({ hostname }) => [`shop/${hostname}` as const, [{ servicePort: 80, targetPort: 8080 }]]))
  const server = workloadOf('server', [SERVER_IP], { services })
  mesh.apply({
    services: { upserts: SERVICES, removes: [] },
    workloads: { upserts: [server, WAYPOINT, CLIENT_POD], removes: [] },
    policies: { upserts: policies, removes: [] },
  })
  const lines: Record<string, unknown>[] = []
  const log = createLog({ process: 'test', destination: { write: (line) => void lines.push(JSON.parse(line)) } })
  const metrics = new TcpMetrics()
  const registry = new Registry()
  const ignored = new Counter({ name: 'ignored', help: '-', registers: [registry] })
  const pod = {
    settings: { network: '', unknownWaitMs: 0, maxPodConnections: 10, keepsSourceIp: false },
    clock,
    log,
    mesh,
    records: new RecordBook({ metrics, access: new AccessLog(log), clock }),
    refused: new Counter({ name: 'refused', help: '-', labelNames: ['direction', 'code'], registers: [registry] }),
    sourcesIgnored: ignored,
    name: 'server',
    identity: account('server'),
    id: spiffeIdOf(account('server')),
    connections: new ConnectionTable(10),
    sockets: { connectPlain: () => Promise.reject(ztunnelFailure('DIAL_FAILED')) },
  } as unknown as PodContext
  let status = 0
  const refuse = (code: number): void => {
    status = code
  }
  const stream = { isClosed: false, refuse } as unknown as HboneServerStream
  const identity = account(peer.serviceAccount)
  const [from = ip('0.0.0.0')] = peer.addresses
  const dialled = { ip: SERVER_IP, port: 15_008 }
  await serveConnect(request, stream, { id: spiffeIdOf(identity), identity, source: { ip: from, port: 40_000 }, dialled }, pod)
  const sample = (await metrics.registry.metrics()).split('\n').find((line) => line.startsWith('istio_tcp_connections_opened_total{'))
  const labels = Object.fromEntries([...(sample ?? '').matchAll(/(\w+)="([^"]*)"/g)].map(([, key = '', value = '']) => [key, value]))
  return { status, labels, line: lines.at(-1) ?? {}, ignored: (await ignored.get()).values[0]?.value ?? 0 }
}

const sourceOf = ({ labels }: Seen): readonly (string | undefined)[] => [
  labels.source_workload,
  labels.source_workload_namespace,
  labels.source_canonical_service,
  labels.source_canonical_revision,
  labels.source_cluster,
]
const SENT = connectRequest({ ip: SERVER_IP, port: 8080 }, { client: CLIENT, host: 'reviews.shop.svc.cluster.local' })

describe('ztunnel/proxy/inbound', () => {
  it('a waypoint sends what ztunnel sends, of the original client', () => {
    assert.deepEqual(SENT, {
      authority: '10.244.1.5:8080',
      baggage: 'k8s.cluster.name=far,k8s.namespace.name=shop,k8s.deployment.name=client,service.name=client-app,service.version=v7',
      forwarded: 'for="10.244.2.3";host=reviews.shop.svc.cluster.local',
      extra: { 'x-weft-source': CLIENT.id },
    })
    const unknown = { ...CLIENT, port: 4000, workload: undefined }
    const { baggage, forwarded } = connectRequest({ ip: SERVER_IP, port: 8080 }, { client: unknown, host: undefined })
    assert.deepEqual([baggage, forwarded], ['k8s.namespace.name=shop', 'for="10.244.2.3:4000"'])
    assert.deepEqual(connectRequest({ ip: SERVER_IP, port: 8080 }, { client: undefined, host: undefined }), {
      authority: '10.244.1.5:8080',
    })
  })

  it('counts for the original client what its own waypoint forwards, under the identity that was verified', async () => {
    const seen = await seenOf(SENT)
    assert.deepEqual(sourceOf(seen), ['client', 'shop', 'client-app', 'v7', 'far'])
    assert.deepEqual([seen.labels.source_principal, seen.labels.destination_service_name], [spiffeIdOf(account('waypoint')), 'reviews'])
    const { line } = seen
    assert.deepEqual(
      [line['src.identity'], line['src.client'], line['src.workload'], line['src.addr']],
      [spiffeIdOf(account('waypoint')), CLIENT.id, 'waypoint', '10.244.1.9:40000'],
    )
  })

  it('takes no description that does not fit the identity', async () => {
    const seen = await seenOf({ ...SENT, baggage: 'k8s.namespace.name=bank,k8s.deployment.name=teller,service.name=teller' })
    assert.deepEqual(sourceOf(seen), ['unknown', 'shop', 'unknown', 'unknown', 'unknown'])
  })

  it('a waypoint that names no client is the source itself', async () => {
    const { extra: _, ...stock } = SENT
    assert.deepEqual(sourceOf(await seenOf(stock)), ['waypoint', 'shop', 'waypoint', 'latest', 'Kubernetes'])
  })

  it('believes nobody else, and decides by no description', async () => {
    const past = await seenOf(SENT, workloadOf('liar', ['10.244.1.7']))
    assert.equal(past.line.code, 'WAYPOINT_REQUIRED')
    assert.equal(past.ignored, 1)
    const denied = await seenOf(SENT, WAYPOINT, [deny('cluster.local/ns/shop/sa/client')])
    assert.deepEqual([denied.status, denied.line.code], [401, 'POLICY_DENIED'])
    const dressed = { ...SENT, extra: { 'x-weft-source': spiffeIdOf(account('other')) } }
    assert.equal((await seenOf(dressed, WAYPOINT, [deny('cluster.local/ns/shop/sa/client')])).line.code, 'DIAL_FAILED')
  })
})
