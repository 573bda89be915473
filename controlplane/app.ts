// The control plane put together: source -> push loop -> xDS server, the CA beside it, one gRPC port for both, one HTTP port.
import { Server, type ServerOptions } from '@grpc/grpc-js'
import type { Clock } from '../kit/clock.ts'
import type { Log } from '../kit/log.ts'
import { Readiness } from '../kit/ready.ts'
import type { IpAddress } from '../model/address.ts'
import { parseIp } from '../model/address.ts'
import { spiffeIdOf } from '../model/identity.ts'
import type { Gateway } from '../model/gateway-api.ts'
import type { Pod } from '../model/object.ts'
import type { ObjectApi } from '../objects/api.ts'
import { DeltaServer } from '../xds/delta-server.ts'
import type { CallerCheck } from './ca/caller.ts'
import { addCertificateService, CALLER_RATE } from './ca/certificate-service.ts'
import { admitCaller } from './ca/demands.ts'
import type { LiveAuthority } from './ca/live-authority.ts'
import { type OpenRoot, openRoot } from './ca/open-root.ts'
import { PodIndex } from './ca/pod-index.ts'
import { ServingCertificate } from './ca/serving.ts'
import { sign } from './ca/sign.ts'
import { TokenCache } from './ca/token-cache.ts'
import { debugPages } from './debug.ts'
import { DEPLOYED_ONLY } from './deploy/reconcile.ts'
import { deploySettingsOf } from './deploy/settings.ts'
import { Gate } from './gate.ts'
import { makeHttpServer } from './http.ts'
import { Duties } from './leader/duties.ts'
import { type Leader, SOLE_LEADER } from './leader/leader.ts'
import { LeaseLeader } from './leader/lease.ts'
import { listenAt } from './listen.ts'
import { type ControlplaneMetrics, makeMetrics } from './metrics.ts'
import { Programmed } from './push/programmed.ts'
import { Publisher } from './push/publish.ts'
import { PushLoop } from './push/push-loop.ts'
import { RateLimit } from './rate.ts'
import { type ControlplaneSettings, listOf, tracingOf } from './settings.ts'
import type { ConfigSource } from './source/source.ts'
import { applyTarget, patchTarget, type StatusApi } from './status/target.ts'
import { type StatusReport, StatusWriter } from './status/writer.ts'
import type { MeshNames } from './translate/mesh.ts'

const GRPC_OPTIONS: ServerOptions = {
  'grpc.max_receive_message_length': 16 * 1024 * 1024, // a reconnecting proxy names what it holds
  'grpc.max_concurrent_streams': 256,
  'grpc.keepalive_time_ms': 30_000,
  'grpc.keepalive_timeout_ms': 20_000,
  // Streams are opened again, and their tokens reviewed again, every half hour; what proxies hold is not sent again.
  'grpc.max_connection_age_ms': 30 * 60_000,
  'grpc.max_connection_age_grace_ms': 10_000,
}

/** A running control plane. */
export interface ControlplaneApp extends AsyncDisposable {
  readonly grpcPort: number
  readonly httpPort: number
  readonly metrics: ControlplaneMetrics
}

/** What a control plane is made of. */
export interface ControlplaneOptions {
  readonly settings: ControlplaneSettings
  readonly source: ConfigSource
  /** Kubernetes: where the root and the lease are. Absent = the local runtime, with files and one replica. */
  readonly api?: ObjectApi & StatusApi
  readonly log: Log
  readonly clock: Clock
}

/** Of no matter to translation. */
const NOT_TRANSLATED: ReadonlySet<string> = new Set([...DEPLOYED_ONLY, 'ConfigMap'])

/**
 * Starts everything; resolved when the ports are open and the first resources are published.
 * @throws CA_STORE_BROKEN, LISTEN_FAILED, FORBIDDEN
 */
export async function startControlplane(options: ControlplaneOptions): Promise<ControlplaneApp> {
  const { settings, source, log } = options
  const stopped = new AbortController()
  const readiness = new Readiness()
  const listed = readiness.await('objects')
  const parts = await makeParts(options, stopped.signal)
  const { metrics, lease, leader, root, pods, xds, loop, duties, programmed } = parts
  const http = makeHttpServer({ metrics, readiness, debug: debugPages(parts.publisher, xds, programmed), log: log.scope('http') })
  const httpPort = await listenAt(http, settings.metricsListen)
  source.onChange((event) => {
    pods.apply(event)
    if (!NOT_TRANSLATED.has(event.object.kind)) loop.kick()
    duties.apply(event)
  })
  leader.onChange((isLeader) => void (isLeader && loop.kick()))
  await source.start(stopped.signal)
  pods.fill(source.objects('pods') as Iterable<Pod>)
  loop.run()
  duties.start()
  const grpc = new Server(GRPC_OPTIONS)
  xds.addTo(grpc)
  const serving = makeServing(root.live, options)
  await serving.start()
  const gate = new Gate({ server: grpc, credentials: serving.credentials, log: log.scope('gate'), clock: options.clock })
  addCa(grpc, root.live, parts.check, metrics, gate, options)
  root.live.onChange(() => {
    serving.renew()
    duties.distribute()
  })
  const grpcPort = await gate.listen(settings.listen)
  lease?.start()
  listed[Symbol.dispose]()
  log.info('control plane ready', { grpcPort, httpPort })
  const close = async (): Promise<void> => {
    await lease?.[Symbol.asyncDispose]() // first: another replica takes over while this one ends
    stopped.abort()
    for (const part of [gate, loop, parts.status, serving, duties, programmed, root]) part[Symbol.dispose]()
    xds.close()
    http.closeAllConnections()
    await new Promise<void>((resolve) => http.close(() => resolve()))
    grpc.forceShutdown()
  }
  return { grpcPort, httpPort, metrics, [Symbol.asyncDispose]: close }
}

interface Parts {
  readonly metrics: ControlplaneMetrics
  readonly lease: LeaseLeader | undefined
  readonly leader: Leader
  readonly root: OpenRoot
  readonly pods: PodIndex
  readonly check: CallerCheck
  readonly publisher: Publisher
  readonly programmed: Programmed
  readonly xds: DeltaServer
  readonly duties: Duties
  readonly status: StatusWriter
  readonly loop: PushLoop
}

/** Everything that does not run yet, tied together. */
async function makeParts(options: ControlplaneOptions, signal: AbortSignal): Promise<Parts> {
  const { settings, source, api, log, clock } = options
  const metrics = makeMetrics()
  const lease = makeLease(options)
  const leader: Leader = lease ?? SOLE_LEADER
  metrics.leader(() => leader.isLeader)
  const root = await openRoot({ settings, api, leader, log: log.scope('ca'), clock, signal })
  metrics.rootExpiry(() => root.live.current.notAfter.getTime() / 1000)
  const pods = new PodIndex()
  const check = makeCheck(pods, metrics, options)
  const publisher = new Publisher()
  const programmed: Programmed = new Programmed({ clients: () => xds.gatewayClients(), clock, onChange: () => loop.kick() })
  const xds = makeXdsServer(publisher, check, programmed, metrics, options)
  const waypoints = deploySettingsOf(settings, tracingOf(settings))
  const rootsPem = (): string => root.live.rootsPem
  const duties: Duties = new Duties({ leader, source, waypoints, rootsPem, log, clock, onFaults: () => loop.kick() })
  const status = makeStatus(leader, () => loop.kick(), options)
  const gatewayState = (): GatewayState => ({ programmed: programmed.state, deployFaults: duties.faults })
  const loop: PushLoop = makeLoop(publisher, xds, status, gatewayState, metrics, options)
  return { metrics, lease, leader, root, pods, check, publisher, programmed, xds, duties, status, loop }
}

function makeLease({ settings, api, log, clock }: ControlplaneOptions): LeaseLeader | undefined {
  if (api === undefined) return undefined
  const { podNamespace: namespace, podName: identity } = settings
  return new LeaseLeader({ api, namespace, identity, log: log.scope('leader'), clock, random: Math.random })
}

function makeCheck(pods: PodIndex, metrics: ControlplaneMetrics, { settings, source, clock }: ControlplaneOptions): CallerCheck {
  const tokens = new TokenCache({
    reviewToken: (token, audience) => source.reviewToken(token, audience),
    clock,
    onReview: (from) => metrics.tokenReviews.inc({ from }),
  })
  return {
    pods,
    trustedAccounts: new Set(listOf(settings.trustedNodeAccounts)),
    gateways: () => source.objects('gateways') as Iterable<Gateway>,
    reviewToken: (token, audience) => tokens.review(token, audience),
  }
}

function makeStatus(leader: Leader, retry: () => void, { source, api, log, clock }: ControlplaneOptions): StatusWriter {
  const target = api === undefined ? patchTarget(source) : applyTarget(api)
  return new StatusWriter({ source, target, leader, hasReplicas: api !== undefined, log: log.scope('status'), clock, retry })
}

type GatewayState = Pick<StatusReport, 'programmed' | 'deployFaults'>

function makeLoop(
  publisher: Publisher,
  server: DeltaServer,
  status: StatusWriter,
  gatewayState: () => GatewayState,
  metrics: ControlplaneMetrics,
  options: ControlplaneOptions,
): PushLoop {
  const { settings, source, log, clock } = options
  return new PushLoop({ source, names: namesOf(settings), publisher, server, status, gatewayState, metrics, log: log.scope('push'), clock })
}

function addCa(
  grpc: Server,
  live: LiveAuthority,
  check: CallerCheck,
  metrics: ControlplaneMetrics,
  gate: Gate,
  { settings, log, clock }: ControlplaneOptions,
): void {
  const audit = log.scope('audit')
  const { trustDomain, clusterId } = settings
  const limit = new RateLimit({ ...CALLER_RATE, clock })
  const signOptions = { ...check, authority: () => live.current, trustDomain, clusterId, limit, log: audit }
  addCertificateService(grpc, {
    sign: (request) => sign(request, signOptions),
    onAnswer: (result) => metrics.certificates.inc({ result }),
    onFlood: (peer, count) => audit.warn('certificate refused', { peer, reason: 'too many requests of this address', count }),
    onHopeless: (host) => gate.shutOut(host),
    clock,
  })
}

function makeServing(live: LiveAuthority, { settings, log, clock }: ControlplaneOptions): ServingCertificate {
  const { trustDomain, rootNamespace: namespace } = settings
  return new ServingCertificate({
    authority: () => live.current,
    id: spiffeIdOf({ trustDomain, namespace, serviceAccount: 'controlplane' }),
    dnsNames: listOf(settings.servingNames),
    ips: addressesOf(settings.servingIps),
    log: log.scope('ca'),
    clock,
  })
}

function makeXdsServer(
  publisher: Publisher,
  check: CallerCheck,
  programmed: Programmed,
  metrics: ControlplaneMetrics,
  { log, clock }: ControlplaneOptions,
): DeltaServer {
  return new DeltaServer({
    source: publisher.store,
    log: log.scope('xds'),
    clock,
    authenticate: (token) => admitCaller(token, check, clock),
    onGatewayClients: () => programmed.update(),
    onRefusal: (_client, type) => metrics.refusals.inc({ type }),
    onClients: (count) => metrics.clients.set(count),
    onPush(type, _upserts, removes, bytes) {
      metrics.pushes.inc({ type })
      metrics.removals.inc({ type }, removes)
      metrics.pushBytes.inc({ type }, bytes)
    },
  })
}

function namesOf(settings: ControlplaneSettings): MeshNames {
  const { clusterId, network, trustDomain, clusterDomain, rootNamespace } = settings
  return { clusterId, network, trustDomain, clusterDomain, rootNamespace, cidrs: listOf(settings.cidrs) }
}

function addressesOf(text: string): readonly IpAddress[] {
  return listOf(text)
    .map(parseIp)
    .filter((ip) => ip !== undefined)
}
