// The proxy loop of a waypoint without sockets: requests come from fake exchanges, endpoints are fake connections that a test
// answers for, time is a fake clock.
import type {
  BodyHandlers,
  BodyReader,
  BodyWriter,
  ClientExchange,
  RawPair,
  ResponseHandlers,
  ServerExchange,
} from '../../http/exchange.ts'
import type { HttpConnection } from '../../http/options.ts'
import { httpFailure } from '../../http/errors.ts'
import type { MeshError } from '../../kit/error.ts'
import { createLog } from '../../kit/log.ts'
import type { Backend } from '../../model/backend.ts'
import type { HeaderField, RequestHead, ResponseHead } from '../../model/http.ts'
import type { SpiffeId } from '../../model/identity.ts'
import type { Authorization } from '../../model/policy.ts'
import type { Listener } from '../../model/route.ts'
import type { Service } from '../../model/service.ts'
import type { Workload } from '../../model/workload.ts'
import { TokenBuckets } from '../../policy/http/rate-limit.ts'
import { AccessLog } from '../../telemetry/access-log.ts'
import type { RequestTracer } from '../../telemetry/trace-span.ts'
import { Clusters } from '../../waypoint/clusters.ts'
import { Configuration } from '../../waypoint/config.ts'
import type { Client, Downstream, WaypointContext } from '../../waypoint/context.ts'
import type { Target } from '../../waypoint/decide.ts'
import type { Dialer } from '../../waypoint/dial.ts'
import { handleExchange } from '../../waypoint/exchange/flow.ts'
import { LiveConnections } from '../../waypoint/live.ts'
import type { RequestRecord } from '../../waypoint/record.ts'
import { readSettings } from '../../waypoint/settings.ts'
import type { WaypointSettings } from '../../waypoint/settings.ts'
import type { ConnectionEvents, UpstreamKey } from '../../waypoint/upstream.ts'
import { FakeClock, settle } from './fake-clock.ts'
import { ip, serviceOf, workloadOf } from './mesh-values.ts'
import { listenerOf } from './route-values.ts'

/** Settings with what is required filled in. */
export function waypointSettings(change: Partial<WaypointSettings> = {}): WaypointSettings {
  const args = ['--gateway', 'shop/waypoint', '--pod-name', 'w', '--pod-namespace', 'shop', '--service-account', 'waypoint']
  const parsed = readSettings([...args, '--instance-ip', '10.0.0.9'], {})
  if (!parsed.ok) throw new Error(parsed.errors.join('; '))
  return { ...parsed.value, ...change }
}

/** A pod behind services `NAME.shop`, port 80 on its 8080. */
export function podOf(name: string, address: string, services: readonly string[], change: Partial<Workload> = {}): Workload {
  const pairs = services.map((service) => [`shop/${service}.shop.svc.cluster.local`, [{ servicePort: 80, targetPort: 8080 }]] as const)
  return workloadOf(name, [address], { services: new Map(pairs), ...change })
}

/** A request's head. */
export function requestOf(change: Partial<RequestHead> = {}): RequestHead {
  return {
    version: 'HTTP/1.1',
    method: 'GET',
    scheme: 'http',
    authority: 'reviews',
    path: '/',
    query: undefined,
    headers: [],
    upgrade: undefined,
    ...change,
  }
}

/** A body that a test feeds. */
export class FakeBody implements BodyReader {
  readonly length: number | undefined
  isPaused = false
  isStarted = false
  #handlers: BodyHandlers | undefined
  #early: ((handlers: BodyHandlers) => void)[] = []

  constructor(length: number | undefined) {
    this.length = length
  }

  start(handlers: BodyHandlers): void {
    this.isStarted = true
    this.#handlers = handlers
    for (const act of this.#early.splice(0)) act(handlers)
  }

  pause(): void {
    this.isPaused = true
  }

  resume(): void {
    this.isPaused = false
  }

  data(text: string): this {
    return this.#act((handlers) => handlers.onData(Buffer.from(text)))
  }

  end(trailers: readonly HeaderField[] = []): this {
    return this.#act((handlers) => handlers.onEnd(trailers))
  }

  fail(error: MeshError): this {
    return this.#act((handlers) => handlers.onError(error))
  }

  #act(act: (handlers: BodyHandlers) => void): this {
    if (this.#handlers === undefined) this.#early.push(act)
    else act(this.#handlers)
    return this
  }
}

/** A body that was written. */
export class FakeWriter implements BodyWriter {
  text = ''
  trailers: readonly HeaderField[] | undefined
  aborted: MeshError | undefined
  takesMore = true
  onDrain: (() => void) | undefined

  write(chunk: Buffer): boolean {
    if (this.trailers === undefined) this.text += chunk.toString()
    return this.takesMore
  }

  end(trailers: readonly HeaderField[] = []): void {
    this.trailers ??= trailers
  }

  abort(error: MeshError): void {
    if (this.trailers === undefined) this.aborted ??= error
  }
}

/** A request of a client. */
export class FakeExchange implements ServerExchange {
  readonly request: RequestHead
  readonly body: FakeBody
  readonly informs: number[] = []
  readonly writer = new FakeWriter()
  readonly raw: { reader: FakeBody; writer: FakeWriter } = { reader: new FakeBody(undefined), writer: new FakeWriter() }
  head: ResponseHead | undefined
  length: number | undefined
  wasReset: MeshError | undefined
  isUpgraded = false
  onClosed: ((error: MeshError) => void) | undefined

  constructor(request: RequestHead, body: FakeBody) {
    this.request = request
    this.body = body
  }

  get status(): number | undefined {
    return this.head?.status
  }

  inform(head: ResponseHead): void {
    this.informs.push(head.status)
  }

  respond(head: ResponseHead, length: number | undefined): BodyWriter {
    if (this.head !== undefined || this.wasReset !== undefined) throw new Error('answered twice')
    this.head = head
    this.length = length
    return this.writer
  }

  upgrade(head: ResponseHead): RawPair {
    this.head = head
    this.isUpgraded = true
    return this.raw
  }

  reset(error: MeshError): void {
    this.wasReset = error
  }

  header(name: string): string | undefined {
    return this.head?.headers.find((field) => field[0] === name)?.[1]
  }

  /** The client goes away. */
  leave(): void {
    this.onClosed?.(httpFailure('CLIENT_GONE'))
  }
}

/** A request as an endpoint sees it. */
export class FakeUpstreamRequest implements ClientExchange {
  readonly head: RequestHead
  readonly length: number | undefined
  readonly key: UpstreamKey
  readonly handlers: ResponseHandlers
  readonly body = new FakeWriter()
  cancelled: MeshError | undefined
  isDone = false
  readonly #free: () => void

  constructor(head: RequestHead, length: number | undefined, key: UpstreamKey, handlers: ResponseHandlers, free: () => void) {
    this.head = head
    this.length = length
    this.key = key
    this.handlers = handlers
    this.#free = free
  }

  get pod(): string {
    return this.key.endpoint.workload.name
  }

  header(name: string): string | undefined {
    return this.head.headers.find((field) => field[0] === name)?.[1]
  }

  cancel(error: MeshError): void {
    this.cancelled ??= error
    this.#end()
  }

  /** Answers as a whole. */
  respond(status: number, text = '', headers: readonly HeaderField[] = [], trailers: readonly HeaderField[] = []): void {
    const body = this.begin(status, headers, Buffer.byteLength(text))
    if (text !== '') body.data(text)
    body.end(trailers)
    this.#end()
  }

  /** Begins an answer. */
  begin(status: number, headers: readonly HeaderField[] = [], length?: number): FakeBody {
    const body = new FakeBody(length)
    this.handlers.onResponse({ status, headers }, body)
    return body
  }

  fail(code: 'UPSTREAM_RESET' | 'CONNECTION_CLOSED' | 'STREAM_REFUSED' | 'UPSTREAM_BAD_MESSAGE', wasSent: boolean): void {
    this.#end()
    this.handlers.onFailed(httpFailure(code), wasSent)
  }

  #end(): void {
    if (this.isDone) return
    this.isDone = true
    this.#free()
  }
}

/** What a lab is set up with. */
export interface LabOptions {
  readonly listener?: Partial<Listener>
  readonly backends?: readonly Backend[]
  readonly pods?: readonly Workload[]
  readonly services?: readonly Service[]
  readonly policies?: readonly Authorization[]
  readonly settings?: Partial<WaypointSettings>
  readonly random?: () => number
  readonly tracing?: RequestTracer
  /** Answers a request; default: 200 with the pod's name. Return false to leave it open. */
  readonly answer?: (request: FakeUpstreamRequest, index: number) => void
  /** Called before each connection is made; may throw. */
  readonly connect?: (key: UpstreamKey) => void
}

const PODS = [
  podOf('reviews-1', '10.0.1.1', ['reviews']),
  podOf('reviews-2', '10.0.1.2', ['reviews']),
  podOf('ratings-1', '10.0.2.1', ['ratings']),
]
const SERVICES = [serviceOf('reviews', ['10.96.0.1']), serviceOf('ratings', ['10.96.0.2'])]

/** The proxy loop of a waypoint for service `reviews`, beside it `ratings`. */
export class WaypointLab {
  readonly clock = new FakeClock()
  readonly records: RequestRecord[] = []
  readonly upstream: FakeUpstreamRequest[] = []
  readonly connected: string[] = []
  readonly context: WaypointContext
  readonly #options: LabOptions

  constructor(options: LabOptions = {}) {
    this.#options = options
    const { clock } = this
    const config = new Configuration(clock)
    const random = options.random ?? (() => 0)
    const settings = waypointSettings(options.settings)
    const connect = (key: UpstreamKey, events: ConnectionEvents): Promise<HttpConnection> => this.#connect(key, events)
    const self = { network: '', ip: ip('10.0.0.9'), namespace: 'shop', hostname: 'waypoint.shop.svc.cluster.local' }
    this.context = {
      settings,
      clock,
      log: createLog({ process: 'test', levels: 'off' }),
      random,
      newId: () => 'id-1',
      identity: { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'waypoint' },
      self,
      config,
      clusters: new Clusters({ config, network: '', ip: self.ip, clock, random, pool: { connect, idleTimeoutMs: 60_000 } }),
      globalLimits: undefined as unknown as WaypointContext['globalLimits'],
      dialer: undefined as unknown as Dialer,
      tcp: undefined as unknown as WaypointContext['tcp'],
      buckets: new TokenBuckets(100),
      recorder: { ended: (record) => void this.records.push(record) },
      access: new AccessLog(createLog({ process: 'test', levels: 'off' })),
      tracing: options.tracing,
      live: new LiveConnections(),
    }
    config.apply({
      policies: { upserts: options.policies ?? [], removes: [] },
      services: { upserts: options.services ?? SERVICES, removes: [] },
      workloads: { upserts: options.pods ?? PODS, removes: [] },
    })
    config.applyBackends({ upserts: options.backends ?? [], removes: [] })
    config.applyListeners({ upserts: [listenerOf('shop/waypoint', 'reviews', options.listener)], removes: [] })
  }

  /** Sends a request of `client` and lets everything that is ready run. */
  async request(
    change: Partial<RequestHead> = {},
    body = new FakeBody(0),
    client: Partial<Client> = {},
    target?: Target,
  ): Promise<FakeExchange> {
    const exchange = new FakeExchange(requestOf(change), body)
    handleExchange(exchange, this.downstream(client, target), this.context)
    await settle()
    return exchange
  }

  downstream(client: Partial<Client> = {}, target?: Target): Downstream {
    const { config } = this.context
    const entry = config.listenerFor('shop/reviews.shop.svc.cluster.local', 80)
    const service = config.mesh.serviceByHost('shop', 'reviews.shop.svc.cluster.local')
    if (entry === undefined || service === undefined) throw new Error('the lab has no listener')
    const standard: Client = {
      id: 'spiffe://cluster.local/ns/shop/sa/productpage' as SpiffeId,
      identity: { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'productpage' },
      ip: ip('10.0.3.1'),
      port: 40_000,
      workload: undefined,
      source: { namespace: 'shop', app: 'productpage', version: 'v1' },
    }
    return {
      client: { ...standard, ...client },
      target: target ?? { kind: 'service', service, port: 80, entry, to: undefined },
      authority: '10.96.0.1:80',
    }
  }

  async #connect(key: UpstreamKey, events: ConnectionEvents): Promise<HttpConnection> {
    this.#options.connect?.(key)
    this.connected.push(`${key.endpoint.workload.name} ${key.version}`)
    let active = 0
    let requests = 0
    let isOpen = true
    const close = (): void => {
      if (!isOpen) return
      isOpen = false
      events.onClosed(undefined)
    }
    const free = (): void => {
      active--
      if (isOpen) setImmediate(() => events.onIdle())
    }
    return {
      get canRequest() {
        return isOpen && (key.version === 'HTTP/2' || active === 0)
      },
      get active() {
        return active
      },
      get requests() {
        return requests
      },
      drain: close,
      close,
      request: (head, length, handlers) => {
        active++
        requests++
        const request = new FakeUpstreamRequest(head, length, key, handlers, free)
        const index = this.upstream.push(request) - 1
        setImmediate(() => this.#answer(request, index))
        return request
      },
    }
  }

  #answer(request: FakeUpstreamRequest, index: number): void {
    if (request.cancelled !== undefined) return
    if (this.#options.answer === undefined) request.respond(200, request.pod)
    else this.#options.answer(request, index)
  }
}

/** Lets several turns of answers run. */
export async function turns(count = 6): Promise<void> {
  for (let i = 0; i < count; i++) await settle()
}
