// A whole waypoint in this process on loopback: real certificates, xDS, TLS, HBONE and HTTP; a client that dials it as a pod's
// ztunnel would, and endpoints that take its tunnels.
import http from 'node:http'
import net from 'node:net'
import type { AddressInfo } from 'node:net'
import tls from 'node:tls'
import { Server, ServerCredentials } from '@grpc/grpc-js'
import { checkCsr, createCsr } from '../../certs/csr.ts'
import { connectHbone } from '../../hbone/client.ts'
import type { HboneClientConnection } from '../../hbone/client.ts'
import type { ConnectRequest } from '../../hbone/connect.ts'
import { duplexOf } from '../../hbone/duplex.ts'
import { serveHbone } from '../../hbone/server.ts'
import { systemClock } from '../../kit/clock.ts'
import { success } from '../../kit/error.ts'
import { createLog } from '../../kit/log.ts'
import type { Backend } from '../../model/backend.ts'
import type { SpiffeId } from '../../model/identity.ts'
import type { Authorization } from '../../model/policy.ts'
import type { Listener } from '../../model/route.ts'
import type { AppProtocol } from '../../model/service.ts'
import type { Workload } from '../../model/workload.ts'
import { Waypoint } from '../../waypoint/app.ts'
import { DeltaServer } from '../../xds/delta-server.ts'
import {
  ADDRESS_TYPE,
  AUTHORIZATION_TYPE,
  BACKEND_TYPE,
  gatewayGroup,
  LISTENER_TYPE,
  NETWORKS_NAME,
  NETWORKS_TYPE,
} from '../../xds/kinds.ts'
import { PushStore } from '../../xds/push-source.ts'
import type { ServedResource } from '../../xds/push-source.ts'
import { encodeService } from '../../xds/resource/address.ts'
import { encodeAuthorization } from '../../xds/resource/authorization.ts'
import { encodeListener } from '../../xds/resource/listener.ts'
import { encodeNetworks } from '../../xds/resource/networks.ts'
import { REVIEWS } from './flow-case.ts'
import { serviceOf } from './mesh-values.ts'
import { listenerOf } from './route-values.ts'
import { TestCa } from './test-ca.ts'
import { podOf, waypointSettings } from './waypoint-lab.ts'
import { keptLog } from './xds-pair.ts'

const GATEWAY = 'shop/waypoint'
const XDS_NAME = 'istiod.istio-system.svc'
/** Who dials the waypoint. */
export const CLIENT_ID = 'spiffe://cluster.local/ns/shop/sa/client' as SpiffeId
const ENDPOINT_ID = 'spiffe://cluster.local/ns/shop/sa/reviews-1'

/** What the world consists of. */
export interface WorldOptions {
  readonly listener?: Partial<Listener>
  readonly policies?: readonly Authorization[]
  readonly backends?: readonly Backend[]
  /** The app behind the endpoint: takes plain connections. Default: HTTP that tells what it got. */
  readonly app?: net.Server
  /** What the service's port speaks; default HTTP11. */
  readonly appProtocol?: AppProtocol
  /** The endpoint is outside the mesh. */
  readonly isPlain?: boolean
}

/** An answer that a client got. */
export interface Answer {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  readonly text: string
}

/** A running world; dispose of it. */
export class WaypointWorld implements AsyncDisposable {
  readonly waypoint: Waypoint
  /** Heads of the tunnels that the endpoint took. */
  readonly connects: ConnectRequest[]
  readonly store: PushStore
  readonly lines: string[]
  readonly #close: (() => void | Promise<void>)[]
  readonly #ca: TestCa
  #client: HboneClientConnection | undefined

  private constructor(
    waypoint: Waypoint,
    parts: { connects: ConnectRequest[]; store: PushStore; lines: string[]; close: (() => void | Promise<void>)[]; ca: TestCa },
  ) {
    this.waypoint = waypoint
    this.connects = parts.connects
    this.store = parts.store
    this.lines = parts.lines
    this.#close = parts.close
    this.#ca = parts.ca
  }

  static async start(options: WorldOptions = {}): Promise<WaypointWorld> {
    const ca = await TestCa.start()
    const close: (() => void | Promise<void>)[] = []
    const app = options.app ?? echoApp()
    await listen(app)
    const connects: ConnectRequest[] = []
    const door = await serveEndpoint(ca, connects)
    const appPort = (app.address() as AddressInfo).port
    const store = new PushStore([NETWORKS_TYPE, AUTHORIZATION_TYPE, ADDRESS_TYPE, BACKEND_TYPE, LISTENER_TYPE])
    store.update(resourcesOf(options, appPort))
    const xds = await serveXds(ca, store)
    const lines: string[] = []
    const log = createLog({ process: 'waypoint', destination: { write: (line) => void lines.push(line) } })
    const waypoint = await Waypoint.start(settingsOf(ca, xds.port, (door.address() as AddressInfo).port), log)
    close.push(
      () => xds.close(),
      () => void app.close(),
      () => void door.close(),
      () => ca[Symbol.asyncDispose](),
    )
    const world = new WaypointWorld(waypoint, { connects, store, lines, close, ca })
    await world.#ready()
    waypoint.context.config.applyBackends({ upserts: options.backends ?? [], removes: [] })
    // Loopback addresses are refused on the wire, so the endpoint is described beside it.
    waypoint.context.config.apply({ workloads: { upserts: [endpointOf(options, appPort)], removes: [] } })
    return world
  }

  /** A tunnel through the waypoint, as a stream. @throws MeshError CONNECT_REFUSED */
  async tunnel(authority: string): Promise<ReturnType<typeof duplexOf>> {
    this.#client ??= await this.#dial()
    return duplexOf(await this.#client.open({ authority, extra: { 'x-weft-source': 'spiffe://cluster.local/ns/shop/sa/forged' } }))
  }

  /** One HTTP/1.1 request in a tunnel of its own. */
  async request(path: string, options: http.RequestOptions & { body?: string } = {}, authority = '10.96.0.1:80'): Promise<Answer> {
    const stream = await this.tunnel(authority)
    return new Promise((resolve, reject) => {
      const request = http.request(
        { path, host: 'reviews', ...options, createConnection: () => stream as unknown as net.Socket },
        (response) => {
          let text = ''
          response.setEncoding('utf8')
          response.on('data', (chunk: string) => {
            text += chunk
          })
          response.on('error', reject)
          response.on('end', () => {
            stream.end()
            resolve({ status: response.statusCode ?? 0, headers: response.headers, text })
          })
        },
      )
      request.on('error', reject)
      request.end(options.body)
    })
  }

  /** The first access line with this message, as soon as it is there. */
  async line(message: string): Promise<Record<string, unknown>> {
    for (let tries = 0; tries < 200; tries++) {
      const found = this.lines.map((line) => JSON.parse(line)).find((line) => line.scope === 'access' && line.message === message)
      if (found !== undefined) return found
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    throw new Error(`no access line ${message}`)
  }

  /** What a client that dials the waypoint itself presents. */
  credentials(): ReturnType<TestCa['workload']> {
    return this.#ca.workload(CLIENT_ID)
  }

  /** An admin page. */
  async page(port: 'admin' | 'stats' | 'ready', path: string): Promise<Answer> {
    const response = await fetch(`http://127.0.0.1:${this.waypoint.ports[port]}${path}`)
    return { status: response.status, headers: {}, text: await response.text() }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#client?.destroy()
    await this.waypoint.drain()
    for (const close of this.#close) await close()
  }

  async #ready(): Promise<void> {
    for (let tries = 0; ; tries++) {
      const { status, text } = await this.page('ready', '/healthz/ready')
      if (status === 200) return
      if (tries > 200) throw new Error(text)
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  }

  async #dial(): Promise<HboneClientConnection> {
    const credentials = await this.#ca.workload(CLIENT_ID)
    const socket = tls.connect({
      host: '127.0.0.1',
      port: this.waypoint.ports.hbone,
      ...credentials,
      ALPNProtocols: ['h2'],
      checkServerIdentity: () => undefined,
    })
    await new Promise((resolve, reject) => socket.once('secureConnect', resolve).once('error', reject))
    return connectHbone(socket)
  }
}

function settingsOf(ca: TestCa, xdsPort: number, endpointPort: number): ReturnType<typeof waypointSettings> {
  const { CA_ADDRESS: caAddress = '', CA_ROOT_CA: rootCert = '', AUTH_TOKEN: tokenPath = '' } = ca.settings
  const ports = { hbonePort: 0, adminPort: 0, statsPort: 0, readyPort: 0, upstreamHbonePort: endpointPort }
  const address = { xdsAddress: `127.0.0.1:${xdsPort}`, caAddress, rootCert, tokenPath, instanceIp: '127.0.0.9' }
  return waypointSettings({ ...address, ...ports, isIpv6Enabled: false, gracePeriodMs: 500, detectTimeoutMs: 300 })
}

function echoApp(): http.Server {
  return http.createServer((request, response) => {
    let body = ''
    request.setEncoding('utf8')
    request.on('data', (chunk: string) => {
      body += chunk
    })
    request.on('end', () => {
      response.setHeader('content-type', 'application/json')
      response.end(JSON.stringify({ method: request.method, url: request.url, headers: request.headers, body }))
    })
  })
}

async function listen(server: net.Server): Promise<void> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
}

/** What the endpoint's ztunnel does: admits, answers the CONNECT, connects to the app. */
async function serveEndpoint(ca: TestCa, connects: ConnectRequest[]): Promise<tls.Server> {
  const credentials = await ca.workload(ENDPOINT_ID)
  const door = tls.createServer({ ...credentials, ALPNProtocols: ['h2'], requestCert: true, rejectUnauthorized: true })
  door.on('secureConnection', (socket) => {
    serveHbone(socket, {
      onConnect(request, stream) {
        connects.push(request)
        const tunnel = duplexOf(stream.accept())
        const socketToApp = net.connect(Number(request.authority.split(':').at(-1)), '127.0.0.1')
        socketToApp.on('error', () => tunnel.destroy())
        tunnel.on('error', () => socketToApp.destroy())
        tunnel.pipe(socketToApp).pipe(tunnel)
      },
    })
  })
  await listen(door)
  return door
}

async function serveXds(ca: TestCa, store: PushStore): Promise<{ port: number; close: () => void }> {
  const { csrPem, keyPem } = await createCsr({ id: ENDPOINT_ID as SpiffeId })
  const csr = await checkCsr(csrPem)
  if (!csr.ok) throw new Error(csr.errors.join('; '))
  const issued = await ca.authority.issue({ publicKey: csr.value.publicKey, dns: [XDS_NAME] })
  const caller = { key: 'w', label: 'w', gateway: GATEWAY, mayDemand: () => true }
  const server = new DeltaServer({ source: store, authenticate: async () => success(caller), log: keptLog().log, clock: systemClock })
  const grpc = new Server()
  server.addTo(grpc)
  const pair = { private_key: Buffer.from(keyPem), cert_chain: Buffer.from(issued.chainPem.join('\n')) }
  const port = await new Promise<number>((resolve, reject) =>
    grpc.bindAsync('127.0.0.1:0', ServerCredentials.createSsl(null, [pair]), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    ),
  )
  return {
    port,
    close: () => {
      server.close()
      grpc.forceShutdown()
    },
  }
}

type Changes = ReadonlyMap<string, ReadonlyMap<string, ServedResource>>

function endpointOf({ isPlain = false }: WorldOptions, appPort: number): Workload {
  const services = new Map([[REVIEWS, [{ servicePort: 80, targetPort: appPort }]]])
  return podOf('reviews-1', '127.0.0.1', [], { services, protocol: isPlain ? 'NONE' : 'HBONE' })
}

/** The resources of a world; also for changing a running one. */
export function resourcesOf({ listener = {}, policies = [], appProtocol = 'HTTP11' }: WorldOptions, appPort: number): Changes {
  const service = serviceOf('reviews', ['10.96.0.1'], { ports: [{ servicePort: 80, targetPort: appPort, appProtocol }] })
  const key = `shop/${service.hostname}`
  const served = (bytes: Buffer, groups: readonly string[] = []): ServedResource => ({
    version: bytes.toString('hex'),
    bytes,
    aliases: [],
    groups,
  })
  const value = listenerOf(GATEWAY, 'reviews', listener)
  return new Map([
    [NETWORKS_TYPE, new Map([[NETWORKS_NAME, served(encodeNetworks({ podAndServiceCidrs: [] }))]])],
    [AUTHORIZATION_TYPE, new Map(policies.map((policy) => [`${policy.namespace}/${policy.name}`, served(encodeAuthorization(policy))]))],
    [ADDRESS_TYPE, new Map([[key, served(encodeService(service))]])],
    [LISTENER_TYPE, new Map([[value.name, served(encodeListener(value), [gatewayGroup(GATEWAY)])]])],
  ])
}
