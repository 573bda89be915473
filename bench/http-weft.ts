// Our HTTP proxy engine as a process of its own for bench/http.ts: a waypoint's request path from the first bytes of a connection
// (waypoint/serve.ts) to the endpoint's answer, with HTTP/1.1 on plain or TLS sockets where a waypoint has HBONE tunnels.
//   node bench/http-weft.ts '{"port":N,"ports":{"app":N,"canary":N},"tls":{"cert":PEM,"key":PEM,"ca":PEM},"log":"off"}'
import net from 'node:net'
import tls from 'node:tls'
import type { Channel } from '../http/channel.ts'
import { connectHttp1 } from '../http/http1-client.ts'
import { HTTP_LIMITS } from '../http/options.ts'
import type { HttpConnection } from '../http/options.ts'
import { socketChannel } from '../http/socket-channel.ts'
import { systemClock } from '../kit/clock.ts'
import { createLog } from '../kit/log.ts'
import { WideListener } from '../kit/wide-listener.ts'
import type { SpiffeId } from '../model/identity.ts'
import type { Listener, Route, RouteMatch, RouteRule, WeightedBackend } from '../model/route.ts'
import { TokenBuckets } from '../policy/http/rate-limit.ts'
import { AccessLog } from '../telemetry/access-log.ts'
import { HttpMetrics } from '../telemetry/http-metrics.ts'
import { ip, serviceOf, workloadOf } from '../test/support/mesh-values.ts'
import { ANY_MATCH, listenerOf, PLAIN_RULE } from '../test/support/route-values.ts'
import { Clusters } from '../waypoint/clusters.ts'
import { Configuration } from '../waypoint/config.ts'
import type { Downstream, WaypointContext } from '../waypoint/context.ts'
import { RequestCounter } from '../waypoint/count.ts'
import type { Dialer } from '../waypoint/dial.ts'
import { LiveConnections } from '../waypoint/live.ts'
import { random, requestId } from '../waypoint/random.ts'
import { allRecorders, RequestLog } from '../waypoint/record.ts'
import { serveChannel } from '../waypoint/serve.ts'
import { readSettings } from '../waypoint/settings.ts'
import type { ConnectionEvents, UpstreamKey } from '../waypoint/upstream.ts'

/** How the process is started. */
export interface WeftOptions {
  readonly port: number
  /** Ports of the two backends on 127.0.0.1. */
  readonly ports: { readonly app: number; readonly canary: number }
  /** PEM; both legs are mutual TLS. Absent = plain sockets. */
  readonly tls?: { readonly cert: string; readonly key: string; readonly ca: string }
  /** `info` = an access line per request, as a waypoint writes it by default. */
  readonly log: 'off' | 'info'
}

const LOOPBACK = '127.0.0.1'
const SERVER_NAME = 'backend.bench'

async function main(options: WeftOptions): Promise<void> {
  const waypoint = contextOf(options)
  const downstream = downstreamOf(waypoint)
  const serve = (socket: net.Socket): void => serveChannel(channelOf(socket), downstream, waypoint, () => undefined)
  const { tls: files } = options
  const secure =
    files === undefined
      ? undefined
      : tls.createServer({ ...files, requestCert: true, rejectUnauthorized: true, ALPNProtocols: ['http/1.1'] }, serve)
  const accept = (socket: net.Socket): void => void (secure === undefined ? serve(socket) : secure.emit('connection', socket))
  const where = { host: LOOPBACK, port: options.port, backlog: 1024 }
  const isPaused = { pauseOnConnect: secure !== undefined, noDelay: true }
  await WideListener.open({ allowHalfOpen: secure === undefined, ...isPaused }, where, accept, (error) => console.error(error.message))
  process.on('SIGTERM', () => process.exit(0)) // so that a profile is written
}

/** TLS sockets too, which know no reset. */
function channelOf(socket: net.Socket): Channel {
  if (socket instanceof tls.TLSSocket) socket.resetAndDestroy = () => socket.destroy()
  return socketChannel(socket)
}

function contextOf(options: WeftOptions): WaypointContext {
  const args = ['--gateway', 'shop/waypoint', '--pod-name', 'w', '--pod-namespace', 'shop', '--service-account', 'waypoint']
  const parsed = readSettings([...args, '--instance-ip', '127.0.0.9'], {})
  if (!parsed.ok) throw new Error(parsed.errors.join('; '))
  const config = new Configuration(systemClock)
  const log = createLog({ process: 'bench', levels: options.log })
  const clock = systemClock
  const self = { network: '', ip: ip('127.0.0.9'), namespace: 'shop', hostname: 'waypoint.shop.svc.cluster.local' }
  const pool = { connect: connectorOf(options), idleTimeoutMs: parsed.value.upstreamIdleMs }
  const counter = new RequestCounter(new HttpMetrics())
  fill(config, options)
  return {
    settings: parsed.value,
    clock,
    log,
    random,
    newId: requestId,
    identity: { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'waypoint' },
    self,
    config,
    clusters: new Clusters({ config, network: '', ip: self.ip, clock, random, pool }),
    dialer: undefined as unknown as Dialer, // only TCP listeners use it
    buckets: new TokenBuckets(100),
    globalLimits: undefined as unknown as WaypointContext['globalLimits'], // no limits here
    recorder: options.log === 'off' ? counter : allRecorders([new RequestLog(log), counter]),
    access: new AccessLog(log),
    tcp: undefined as unknown as WaypointContext['tcp'], // as the dialler
    live: new LiveConnections(),
    tracing: undefined,
  }
}

function connectorOf(options: WeftOptions) {
  const { tls: files } = options
  const secureContext = files === undefined ? undefined : tls.createSecureContext(files)
  return async (key: UpstreamKey, events: ConnectionEvents): Promise<HttpConnection> => {
    const { port } = key.endpoint.to
    const plain = { host: LOOPBACK, port, noDelay: true, allowHalfOpen: true }
    const socket =
      secureContext === undefined
        ? net.connect(plain)
        : tls.connect({ host: LOOPBACK, port, secureContext, servername: SERVER_NAME, ALPNProtocols: ['http/1.1'] })
    await new Promise((resolve, reject) => {
      socket.once(secureContext === undefined ? 'connect' : 'secureConnect', resolve)
      socket.once('error', reject)
    })
    const { onIdle, onClosed } = events
    return connectHttp1(channelOf(socket), { limits: HTTP_LIMITS, clock: systemClock, onIdle, onClosed })
  }
}

/** The mesh: service `web` in front, `app` and `canary` behind it with a pod each. */
function fill(config: Configuration, { ports }: WeftOptions): void {
  const port = { servicePort: 80, targetPort: 8080, appProtocol: 'HTTP11' } as const
  const pod = (name: string, targetPort: number) => {
    const services = new Map([[keyOf(name), [{ servicePort: 80, targetPort }]]])
    return workloadOf(name, [LOOPBACK], { services, protocol: 'NONE' })
  }
  config.apply({
    policies: { upserts: [], removes: [] },
    services: {
      upserts: [
        serviceOf('web', ['10.96.0.1'], { ports: [port] }),
        serviceOf('app', ['10.96.0.2'], { ports: [port] }),
        serviceOf('canary', ['10.96.0.3'], { ports: [port] }),
      ],
      removes: [],
    },
    workloads: { upserts: [pod('app', ports.app), pod('canary', ports.canary)], removes: [] },
  })
  config.applyListeners({ upserts: [listener()], removes: [] })
}

/** The rules that bench/http-peers.ts gives to everybody. */
function listener(): Listener {
  const route = (name: string, match: Partial<RouteMatch>, rule: Partial<RouteRule>): Route => ({
    name: `HTTPRoute/shop/web/${name}`,
    match: { ...ANY_MATCH, ...match },
    rule: { ...PLAIN_RULE, ...rule },
  })
  const prefix = (value: string): Partial<RouteMatch> => ({ path: { kind: 'prefix', value, ignoresCase: false } })
  const app = [to('app', 1)]
  const edits = { set: [['x-route', 'api'] as const], add: [], remove: [] }
  return listenerOf('shop/waypoint', 'web', {
    routes: [
      route('0', { path: { kind: 'exact', value: '/healthz', ignoresCase: false } }, { backends: app }),
      route(
        '1',
        { ...prefix('/admin'), headers: [{ name: 'x-role', match: { kind: 'exact', value: 'admin' }, isInverted: false }] },
        { backends: app },
      ),
      route('2', prefix('/api'), { backends: [to('app', 90), to('canary', 10)], filters: [{ kind: 'requestHeaders', edits }] }),
      route('3', {}, { backends: app }),
    ],
  })
}

function to(name: string, weight: number): WeightedBackend {
  return { kind: 'service', weight, filters: [], ref: { service: keyOf(name), port: 80, subset: undefined } }
}

function keyOf(name: string): string {
  return `shop/${name}.shop.svc.cluster.local`
}

function downstreamOf({ config }: WaypointContext): Downstream {
  const entry = config.listenerFor(keyOf('web'), 80)
  const service = config.mesh.serviceByHost('shop', 'web.shop.svc.cluster.local')
  if (entry === undefined || service === undefined) throw new Error('the listener was not taken')
  const client = {
    id: 'spiffe://cluster.local/ns/shop/sa/client' as SpiffeId,
    identity: { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'client' },
    ip: ip('10.0.3.1'),
    port: 40_000,
    workload: undefined,
    source: { namespace: 'shop', app: 'client', version: 'v1' },
  }
  return { client, target: { kind: 'service', service, port: 80, entry, to: undefined }, authority: '10.96.0.1:80' }
}

if (import.meta.main) await main(JSON.parse(process.argv[2] ?? '{}') as WeftOptions)
