// The waypoint process put together: certificate, configuration, door, admin servers, and the one way down. Called by main.ts.
import { readFileSync } from 'node:fs'
import { collectDefaultMetrics, Registry } from 'prom-client'
import { connectHttp2 } from '../http/h2-client.ts'
import { connectHttp1 } from '../http/http1-client.ts'
import { HTTP_LIMITS } from '../http/options.ts'
import type { HttpConnection } from '../http/options.ts'
import { CaClient } from '../identity/ca-client.ts'
import { CredentialStore } from '../identity/credentials.ts'
import { CertificateManager } from '../identity/manager.ts'
import type { Clock } from '../kit/clock.ts'
import { pause, systemClock } from '../kit/clock.ts'
import { messageOf } from '../kit/error.ts'
import type { RootLog } from '../kit/log.ts'
import { Readiness } from '../kit/ready.ts'
import type { IpAddress } from '../model/address.ts'
import { spiffeIdOf } from '../model/identity.ts'
import type { Identity } from '../model/identity.ts'
import { nameLookUp } from '../state/name-lookup.ts'
import { Names } from '../state/names.ts'
import { TokenBuckets } from '../policy/http/rate-limit.ts'
import { AccessLog } from '../telemetry/access-log.ts'
import { AdminServers } from '../telemetry/admin-server.ts'
import { RecordBook } from '../telemetry/connection-record.ts'
import { HttpMetrics } from '../telemetry/http-metrics.ts'
import { TcpMetrics } from '../telemetry/metrics.ts'
import type { RequestTracer } from '../telemetry/trace-span.ts'
import type { DeltaClient } from '../xds/delta-client.ts'
import { Clusters } from './clusters.ts'
import { Configuration } from './config.ts'
import type { WaypointContext } from './context.ts'
import { Dialer } from './dial.ts'
import { Door } from './door.ts'
import { RequestCounter } from './count.ts'
import { configDump } from './dump.ts'
import { GlobalLimits } from './global-limits.ts'
import { LiveConnections } from './live.ts'
import { random, requestId } from './random.ts'
import { allRecorders, RequestLog } from './record.ts'
import type { WaypointSettings } from './settings.ts'
import { waypointSource } from './source.ts'
import { openTracing } from './tracing.ts'
import { TunnelServer } from './tunnel.ts'
import type { ConnectionEvents, UpstreamKey } from './upstream.ts'

/** Token buckets in memory: beyond, those that were used longest ago start anew. */
const MOST_BUCKETS = 100_000
const DRAIN_POLL_MS = 50
/** The last spans may take so long on the way down. */
const SPANS_DEADLINE_MS = 2000

/** A running waypoint. */
export class Waypoint {
  readonly #settings: WaypointSettings
  readonly #log: RootLog
  readonly #clock: Clock = systemClock
  readonly #metrics: Registry
  readonly #readiness = new Readiness()
  /** What is in force, and what it works with. */
  readonly context: WaypointContext
  readonly #requests = new HttpMetrics()
  readonly #tunnels: TunnelServer
  readonly #certificates: CertificateManager
  readonly #credentials: CredentialStore
  readonly #source: DeltaClient
  #door: Door | undefined
  #admin: AdminServers | undefined
  #quit: () => void = () => undefined

  private constructor(settings: WaypointSettings, log: RootLog, metrics: Registry, tracing: RequestTracer | undefined) {
    this.#settings = settings
    this.#metrics = metrics
    this.#log = log
    collectDefaultMetrics({ register: metrics })
    const identity: Identity = {
      trustDomain: settings.trustDomain,
      namespace: settings.podNamespace,
      serviceAccount: settings.serviceAccount,
    }
    this.#certificates = makeCertificates(settings, log, this.#clock)
    this.#credentials = this.#makeCredentials(identity)
    this.context = { ...makeContext(settings, log, this.#clock, identity, this.#credentials, metrics, this.#requests), tracing }
    this.#tunnels = new TunnelServer(this.context)
    const synced = this.#readiness.await('configuration from the control plane')
    const { config, live } = this.context
    config.mesh.onPolicyChange(() => live.recheck())
    config.onPolicyChange(() => live.recheck())
    this.#source = waypointSource({
      settings,
      config,
      log: log.scope('xds'),
      clock: this.#clock,
      random,
      onSynced: () => synced[Symbol.dispose](),
    })
  }

  /**
   * Starts everything; ready is said by readiness, not by this.
   * @throws Error of a listener (EADDRINUSE)
   */
  static async start(settings: WaypointSettings, log: RootLog): Promise<Waypoint> {
    const metrics = new Registry()
    const tracing = await openTracing(settings, { metrics, log, clock: systemClock, random })
    const waypoint = new Waypoint(settings, log, metrics, tracing)
    await waypoint.#listen()
    waypoint.#source.start()
    log.info('the waypoint has started', { gateway: settings.gateway })
    return waypoint
  }

  /** Where it listens, for settings that let the kernel choose. */
  get ports(): { readonly hbone: number; readonly admin: number; readonly stats: number; readonly ready: number } {
    const [admin = 0, stats = 0, ready = 0] = this.#admin?.ports() ?? []
    return { hbone: this.#door?.port ?? 0, admin, stats, ready }
  }

  /** Called when somebody asks over HTTP for the end of the process. */
  onQuit(quit: () => void): void {
    this.#quit = quit
  }

  /** The way down: no new tunnels and requests, those under way until the grace is over. */
  async drain(): Promise<void> {
    const { live, clusters, dialer, tracing } = this.context
    const { gracePeriodMs } = this.#settings
    this.#readiness.await('draining')
    this.#door?.drain()
    live.drain()
    const endMs = this.#clock.monotonicMs() + gracePeriodMs
    while (live.size > 0 && this.#clock.monotonicMs() < endMs) await pause(this.#clock, DRAIN_POLL_MS)
    const forced = live.size
    live.close()
    this.#door?.close()
    clusters.close()
    await Promise.race([dialer.close(), pause(this.#clock, DRAIN_POLL_MS)])
    this.#source.stop()
    this.#certificates.close()
    await tracing?.stop(SPANS_DEADLINE_MS)
    this.#admin?.close()
    this.#log.info('the waypoint has ended', { forced })
  }

  async #listen(): Promise<void> {
    const { adminPort, statsPort, readyPort, isIpv6Enabled, trustDomain } = this.#settings
    const id = spiffeIdOf(this.context.identity)
    this.#admin = await AdminServers.start({
      process: 'waypoint',
      adminPort,
      statsPort,
      readyPort,
      isIpv6Enabled,
      monitoringIp: '',
      log: this.#log.scope('admin'),
      actions: {
        configDump: () => Promise.resolve(this.#dump()),
        metrics: () => this.#metricsText(),
        waitingFor: () => this.#readiness.waitingFor(),
        logLevels: () => this.#log.levels(),
        setLogLevels: (text) => this.#log.setLevels(text ?? this.#settings.log),
        quit: () => this.#quit(),
      },
    })
    const certified = this.#readiness.await('certificate')
    const door = await Door.open({
      settings: this.#settings,
      trustDomain,
      log: this.#log.scope('door'),
      tunnels: this.#tunnels,
      credentials: () => this.#credentials.peek(id),
    })
    this.#door = door
    this.#credentials.onRenewed((credentials) => {
      door.use(credentials)
      certified[Symbol.dispose]()
    })
    this.#credentials.prefetch(id)
  }

  #makeCredentials(identity: Identity): CredentialStore {
    const credentials = new CredentialStore({
      trustDomain: identity.trustDomain,
      clock: this.#clock,
      waitMs: this.#settings.certificateWaitMs,
      request: (id, priority) => {
        this.#certificates.get(identity, priority).catch((error: unknown) => credentials.failed(id, messageOf(error)))
      },
    })
    this.#certificates.onRenewed((certificate) => {
      const { id, chainPem, keyPem, rootsPem, notAfter } = certificate
      credentials.put({ id, chainPem, keyPem, rootsPem, notAfterMs: notAfter.getTime() })
    })
    return credentials
  }

  async #metricsText(): Promise<Iterable<string>> {
    const few = await this.#metrics.metrics()
    return textOf(few, this.#requests)
  }

  #dump(): unknown {
    return configDump({
      context: this.context,
      certificates: this.#certificates.list(),
      tunnels: this.#tunnels.open,
      connections: this.#door?.connections ?? 0,
    })
  }
}

function* textOf(few: string, requests: HttpMetrics): Generator<string, void, void> {
  yield `${few}\n`
  yield* requests.text()
}

function makeCertificates(settings: WaypointSettings, log: RootLog, clock: Clock): CertificateManager {
  const caClient = new CaClient({
    clock,
    address: settings.caAddress === '' ? settings.xdsAddress : settings.caAddress,
    serverName: settings.caServerName,
    roots: () => readFileSync(settings.rootCert),
    token: () => readFileSync(settings.tokenPath, 'utf8').trim(),
    clusterId: settings.clusterId,
    ttlMs: settings.secretTtlMs,
  })
  return new CertificateManager({ caClient, clock, log: log.scope('identity'), random })
}

function makeContext(
  settings: WaypointSettings,
  log: RootLog,
  clock: Clock,
  identity: Identity,
  credentials: CredentialStore,
  metrics: Registry,
  requests: HttpMetrics,
): Omit<WaypointContext, 'tracing'> {
  const ip = settings.instanceIp as IpAddress // readSettings has checked it
  const [namespace = '', name = ''] = settings.gateway.split('/')
  const config = new Configuration(clock)
  const access = new AccessLog(log)
  const tcpMetrics = new TcpMetrics(metrics, ['waypoint'])
  const dialer = new Dialer({
    credentials,
    id: spiffeIdOf(identity),
    ip,
    hbonePort: settings.upstreamHbonePort,
    maxStreams: settings.poolMaxStreams,
    unusedMs: settings.poolUnusedMs,
    clock,
  })
  const clusters = makeClusters(settings, config, dialer, clock)
  return {
    settings,
    clock,
    log,
    random,
    newId: requestId,
    identity,
    self: { network: settings.network, ip, namespace, hostname: `${name}.${namespace}.svc.${settings.clusterDomain}` },
    config,
    clusters,
    dialer,
    buckets: new TokenBuckets(MOST_BUCKETS),
    globalLimits: new GlobalLimits({ clusters, clock, metrics }),
    recorder: allRecorders([new RequestLog(log), new RequestCounter(requests)]),
    access,
    tcp: { records: new RecordBook({ metrics: tcpMetrics, access, clock }), metrics: tcpMetrics },
    live: new LiveConnections(),
  }
}

function makeClusters(settings: WaypointSettings, config: Configuration, dialer: Dialer, clock: Clock): Clusters {
  const connect = (key: UpstreamKey, events: ConnectionEvents, signal: AbortSignal): Promise<HttpConnection> =>
    connectUpstream(dialer, clock, key, events, signal)
  const pool = { connect, idleTimeoutMs: settings.upstreamIdleMs }
  const names = new Names({ lookUp: nameLookUp([]), clock })
  return new Clusters({ config, network: settings.network, ip: settings.instanceIp as IpAddress, clock, random, pool, names })
}

async function connectUpstream(
  dialer: Dialer,
  clock: Clock,
  key: UpstreamKey,
  events: ConnectionEvents,
  signal: AbortSignal,
): Promise<HttpConnection> {
  // Requests of several connections of the client will share it: none of their ports is the one.
  const client = key.client === undefined ? undefined : { ...key.client, port: 0 }
  const channel = await dialer.open(key.endpoint, { client, host: key.host }, signal)
  const connect = key.version === 'HTTP/2' ? connectHttp2 : connectHttp1
  return connect(channel, { limits: HTTP_LIMITS, clock, onIdle: events.onIdle, onClosed: events.onClosed })
}
