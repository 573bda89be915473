// The control plane put together: source -> push loop -> xDS server, the CA beside it, one gRPC port for both, one HTTP port.
import { Server, type ServerOptions } from '@grpc/grpc-js'
import type { Server as HttpServer } from 'node:http'
import type { CertificateAuthority } from '../certs/ca.ts'
import type { Clock } from '../kit/clock.ts'
import { success } from '../kit/error.ts'
import type { Log } from '../kit/log.ts'
import { Readiness } from '../kit/ready.ts'
import type { IpAddress } from '../model/address.ts'
import { parseIp } from '../model/address.ts'
import { spiffeIdOf } from '../model/identity.ts'
import type { Gateway } from '../model/gateway-api.ts'
import type { Pod } from '../model/object.ts'
import { DeltaServer } from '../xds/delta-server.ts'
import { type CallerCheck, checkCaller } from './ca/caller.ts'
import { addCertificateService } from './ca/certificate-service.ts'
import { xdsCallerOf } from './ca/demands.ts'
import { PodIndex } from './ca/pod-index.ts'
import { openCa, replaceFile } from './ca/root-store.ts'
import { ServingCertificate } from './ca/serving.ts'
import { sign } from './ca/sign.ts'
import { Deployer } from './deploy/deployer.ts'
import { DEPLOYED_ONLY } from './deploy/reconcile.ts'
import { deploySettingsOf } from './deploy/settings.ts'
import { controlplaneFailure } from './errors.ts'
import { makeHttpServer } from './http.ts'
import { type ControlplaneMetrics, makeMetrics } from './metrics.ts'
import { Programmed } from './push/programmed.ts'
import { Publisher } from './push/publish.ts'
import { PushLoop } from './push/push-loop.ts'
import { type ControlplaneSettings, listOf, tracingOf } from './settings.ts'
import type { ConfigSource } from './source/source.ts'
import { type StatusReport, StatusWriter } from './status/writer.ts'
import type { MeshNames } from './translate/mesh.ts'

const GRPC_OPTIONS: ServerOptions = {
  'grpc.max_receive_message_length': 16 * 1024 * 1024, // a reconnecting proxy names what it holds
  'grpc.max_concurrent_streams': 256,
  'grpc.keepalive_time_ms': 30_000,
  'grpc.keepalive_timeout_ms': 20_000,
  // Streams are opened again, and their tokens checked again, every half hour; what proxies hold is not sent again.
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
  readonly log: Log
  readonly clock: Clock
}

/**
 * Starts everything; resolved when the ports are open and the first resources are published.
 * @throws CA_STORE_BROKEN, LISTEN_FAILED
 */
export async function startControlplane(options: ControlplaneOptions): Promise<ControlplaneApp> {
  const { settings, source, log } = options
  const stopped = new AbortController()
  const readiness = new Readiness()
  const metrics = makeMetrics()
  const listed = readiness.await('objects')
  const authority = await openAuthority(options)
  const pods = new PodIndex()
  const check: CallerCheck = {
    pods,
    trustedAccounts: new Set(listOf(settings.trustedNodeAccounts)),
    gateways: () => source.objects('gateways') as Iterable<Gateway>,
    reviewToken: (token, audience) => source.reviewToken(token, audience),
  }
  const publisher = new Publisher()
  const programmed: Programmed = new Programmed({ clients: () => xds.gatewayClients(), clock: options.clock, onChange: () => loop.kick() })
  const xds = makeXdsServer(publisher, check, programmed, metrics, options)
  const gatewayState = (): GatewayState => ({ programmed: programmed.state, deployFaults: deployer.faults })
  const loop: PushLoop = makeLoop(publisher, xds, gatewayState, metrics, options)
  const deployer: Deployer = makeDeployer(authority, () => loop.kick(), options)
  source.onChange((event) => {
    pods.apply(event)
    if (!DEPLOYED_ONLY.has(event.object.kind)) loop.kick()
    deployer.apply(event)
  })
  const http = makeHttpServer({ metrics, readiness, debug: debugPages(publisher, xds, programmed), log: log.scope('http') })
  const httpPort = await listenHttp(http, settings.metricsListen)
  await source.start(stopped.signal)
  pods.fill(source.objects('pods') as Iterable<Pod>)
  loop.run()
  deployer.kick()
  const grpc = new Server(GRPC_OPTIONS)
  xds.addTo(grpc)
  addCa(grpc, authority, check, metrics, options)
  const serving = makeServing(authority, options)
  await serving.start()
  const grpcPort = await listenGrpc(grpc, settings.listen, serving)
  listed[Symbol.dispose]()
  log.info('control plane ready', { grpcPort, httpPort })
  const close = async (): Promise<void> => {
    stopped.abort()
    for (const part of [loop, serving, deployer, programmed]) part[Symbol.dispose]()
    xds.close()
    http.closeAllConnections()
    await new Promise<void>((resolve) => http.close(() => resolve()))
    grpc.forceShutdown()
  }
  return { grpcPort, httpPort, metrics, [Symbol.asyncDispose]: close }
}

async function openAuthority({ settings, clock }: ControlplaneOptions): Promise<CertificateAuthority> {
  const authority = await openCa({
    dir: settings.caDir,
    trustDomain: settings.trustDomain,
    clock,
    limits: { defaultTtlMs: settings.certificateLife, maxTtlMs: settings.longestCertificateLife },
  })
  if (settings.rootCertFile !== '') replaceFile(settings.rootCertFile, authority.rootsPem, 0o644)
  return authority
}

type GatewayState = Pick<StatusReport, 'programmed' | 'deployFaults'>

function makeLoop(
  publisher: Publisher,
  server: DeltaServer,
  gatewayState: () => GatewayState,
  metrics: ControlplaneMetrics,
  options: ControlplaneOptions,
): PushLoop {
  const { settings, source, log, clock } = options
  const status = new StatusWriter({ source, log: log.scope('status'), clock })
  return new PushLoop({ source, names: namesOf(settings), publisher, server, status, gatewayState, metrics, log: log.scope('push'), clock })
}

function makeDeployer(
  authority: CertificateAuthority,
  onFaults: () => void,
  { settings, source, log, clock }: ControlplaneOptions,
): Deployer {
  return new Deployer({
    source,
    writer: source,
    settings: deploySettingsOf(settings, tracingOf(settings)),
    rootsPem: () => authority.rootsPem,
    log: log.scope('deploy'),
    clock,
    onFaults,
  })
}

function addCa(
  grpc: Server,
  authority: CertificateAuthority,
  check: CallerCheck,
  metrics: ControlplaneMetrics,
  { settings, log, clock }: ControlplaneOptions,
): void {
  const audit = log.scope('audit')
  const signOptions = { ...check, authority: () => authority, trustDomain: settings.trustDomain, log: audit }
  addCertificateService(grpc, {
    sign: (request) => sign(request, signOptions),
    onAnswer: (isIssued) => metrics.certificates.inc({ result: isIssued ? 'issued' : 'refused' }),
    clock,
  })
}

function makeServing(authority: CertificateAuthority, { settings, log, clock }: ControlplaneOptions): ServingCertificate {
  const { trustDomain, rootNamespace: namespace } = settings
  return new ServingCertificate({
    authority: () => authority,
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
    async authenticate(token) {
      const caller = await checkCaller(token, check)
      return caller.ok ? success(xdsCallerOf(caller.value)) : caller
    },
    onGatewayClients: () => programmed.update(),
    onRefusal: (_client, type) => metrics.refusals.inc({ type }),
    onClients: (count) => metrics.clients.set(count),
    onPush(type, _upserts, _removes, bytes) {
      metrics.pushes.inc({ type })
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

function debugPages(publisher: Publisher, xds: DeltaServer, programmed: Programmed): Readonly<Record<string, () => unknown>> {
  return {
    clients: () => ({ revision: publisher.store.revision, clients: xds.clients() }),
    gateways() {
      const { programmed: names, refusals } = programmed.state
      return { programmed: [...names], refusals: Object.fromEntries(refusals) }
    },
    resources: () =>
      publisher.store.typeUrls.map((typeUrl) => ({
        typeUrl,
        resources: [...publisher.store.snapshot(typeUrl)].map(([name, { version, bytes }]) => ({ name, version, bytes: bytes.length })),
      })),
  }
}

function listenGrpc(server: Server, address: string, serving: ServingCertificate): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(address, serving.credentials, (error, port) => {
      if (error === null) resolve(port)
      else reject(controlplaneFailure('LISTEN_FAILED', { address }, error))
    })
  })
}

function listenHttp(server: HttpServer, address: string): Promise<number> {
  const found = /^\[?([^\]]*?)\]?:(\d{1,5})$/.exec(address)
  if (found === null) throw controlplaneFailure('LISTEN_FAILED', { address })
  return new Promise((resolve, reject) => {
    server.once('error', (error) => reject(controlplaneFailure('LISTEN_FAILED', { address }, error)))
    server.listen({ host: found[1], port: Number(found[2]) }, () => {
      const bound = server.address()
      resolve(typeof bound === 'object' && bound !== null ? bound.port : 0)
    })
  })
}
