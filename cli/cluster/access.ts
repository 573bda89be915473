// What the command line asks of an API server beyond objects: raw paths (version, access reviews, kinds that the mesh does not
// know), a command in a container, a port of a pod. Web sockets are those of @kubernetes/client-node, loaded when one is needed.
import { type IncomingMessage, request as httpRequest } from 'node:http'
import type { KubeConfig } from '@kubernetes/client-node'
import { messageOf } from '../../kit/error.ts'
import { objectFailure } from '../../objects/errors.ts'
import { connectionTo, type ConnectionOptions, type KubeConnection } from '../../objects/kube/connection.ts'
import { KubeHttp, type KubeRequest } from '../../objects/kube/http.ts'
import { PodPort } from './pod-port.ts'

const TIMEOUT_MS = 15_000
const MAX_ANSWER_BYTES = 256 * 1024 * 1024

/** What `weft` needs of a web socket of the `ws` package. */
export interface ChannelSocket {
  send(data: Buffer): void
  close(): void
  pause?(): void
  resume?(): void
  addEventListener(type: 'close' | 'error', listener: () => void): void
}

/** A pod, and what is wanted of it. */
export interface PodAddress {
  readonly namespace: string
  readonly pod: string
}

/** Runs work, perhaps more than once. */
export type Patiently = <T>(work: () => Promise<T>) => Promise<T>

/** The API server of one kubeconfig context. Connects when it is first used. */
export class ClusterAccess implements Disposable {
  readonly #connection: KubeConnection
  readonly #http: KubeHttp
  readonly #patiently: Patiently

  /**
   * @param patiently does a request again that failed for a moment: only for callers whose requests may all be done twice
   * @throws MeshError KUBECONFIG_INVALID when the file cannot be read
   */
  constructor(options: ConnectionOptions, patiently: Patiently = (work) => work()) {
    this.#patiently = patiently
    this.#connection = connectionTo(options)
    this.#http = new KubeHttp(this.#connection)
  }

  /** Its address. @throws MeshError KUBECONFIG_INVALID */
  async server(): Promise<string> {
    return (await this.#connection.credentials(false)).server
  }

  /** One request; again, where the caller is patient. @throws MeshError NOT_FOUND | FORBIDDEN | API_FAILED | API_UNREACHABLE … */
  call(request: KubeRequest): Promise<unknown> {
    return this.#patiently(() => this.#http.call(request))
  }

  /** A GET of a path such as `/version`. `about`: what the refusal of a missing right names. @throws as `call` */
  get(path: string, about: Pick<KubeRequest, 'resource' | 'namespace'>): Promise<unknown> {
    return this.call({ verb: 'get', method: 'GET', path, ...about })
  }

  [Symbol.dispose](): void {
    this.#connection[Symbol.dispose]()
  }

  /**
   * A GET to a port of a pod, through the API server (`pods/portforward`).
   * @throws MeshError FORBIDDEN | NOT_FOUND | API_UNREACHABLE, API_FAILED when nothing answers there
   */
  async getInPod(at: PodAddress, port: number, path: string): Promise<{ status: number; body: string }> {
    using tunnel = await this.openPort(at, port)
    const answer = await requestOver(tunnel, path)
    return { status: answer.statusCode ?? 0, body: (await collect(answer)).toString('utf8') }
  }

  /** A byte stream to a port of a pod. The caller disposes it. @throws MeshError FORBIDDEN | NOT_FOUND | API_UNREACHABLE */
  async openPort({ namespace, pod }: PodAddress, port: number): Promise<PodPort> {
    const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(pod)}/portforward?ports=${port}`
    const tunnel = new PodPort()
    const socket = await this.openChannels(path, (channel, data) => tunnel.receive(channel, data))
    tunnel.connect(socket)
    return tunnel
  }

  /**
   * A web socket with numbered channels, as exec and port-forward have.
   * @param take gets what arrives; false closes
   * @throws MeshError FORBIDDEN | NOT_FOUND | API_UNREACHABLE
   */
  async openChannels(path: string, take: (channel: number, data: Buffer) => boolean): Promise<ChannelSocket> {
    const { Exec } = await import('@kubernetes/client-node')
    const { server, agent, headers } = await this.#connection.credentials(false)
    // The one thing that the handler asks of a kubeconfig: where to, and with which credentials.
    const config = {
      getCurrentCluster: () => ({ server }),
      applyToHTTPSOptions: async (options: object) => void Object.assign(options, { agent, headers }),
    }
    const { handler } = new Exec(config as unknown as KubeConfig)
    Object.assign(handler, { streams: SILENT })
    try {
      return (await handler.connect(path, null, take)) as unknown as ChannelSocket
    } catch (cause) {
      throw refused(path, cause)
    }
  }
}

/** The handler would end our own streams when the server says that a channel has ended; we wait for the end of the socket. */
const SILENT = { stdin: { pause: () => undefined }, stdout: { end: () => undefined }, stderr: { end: () => undefined } }

function requestOver(tunnel: PodPort, path: string): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const outgoing = httpRequest({ host: 'localhost', path, timeout: TIMEOUT_MS, createConnection: () => tunnel })
    outgoing.on('timeout', () => outgoing.destroy(new Error(`no answer within ${TIMEOUT_MS / 1000} s`)))
    outgoing.on('response', resolve)
    outgoing.on('error', (cause) =>
      reject(objectFailure('API_FAILED', { what: `the pod's port does not answer: ${messageOf(cause)}` }, cause)),
    )
    outgoing.end()
  })
}

async function collect(answer: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > MAX_ANSWER_BYTES) throw objectFailure('API_FAILED', { what: 'the answer is too long' })
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

/** `ws` gives the status of a refused upgrade only as text. */
function refused(path: string, cause: unknown): Error {
  const text = messageOf((cause as { readonly message?: unknown } | undefined)?.message ?? cause)
  const status = Number(/server response: (\d{3})/.exec(text)?.[1] ?? 0)
  const [, , , , namespace, , pod, verb] = (path.split('?')[0] ?? '').split('/')
  if (status === 0) return objectFailure('API_UNREACHABLE', { what: `the API server does not answer: ${text}` }, cause)
  if (status === 401 || status === 403) return objectFailure('FORBIDDEN', { verb: 'create', resource: `pods/${verb}`, namespace }, cause)
  if (status === 404) return objectFailure('NOT_FOUND', { what: `there is no pod ${namespace}/${pod}` }, cause)
  return objectFailure('API_FAILED', { what: `${verb} of pod ${namespace}/${pod}: the API server answers ${status}` }, cause)
}
