// The way to the API server: address, trust and credentials, renewed without a restart. A pod's own account is read here; a
// kubeconfig (contexts, client certificates, exec plugins) is read by @kubernetes/client-node, which is loaded only then: it
// costs 85 MB of memory, and components inside the cluster never need it.
import { readFileSync } from 'node:fs'
import { Agent as HttpAgent } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import { dirname, join } from 'node:path'
import type { SecureContextOptions } from 'node:tls'
import { type Clock, systemClock } from '../../kit/clock.ts'
import { messageOf } from '../../kit/error.ts'
import { objectFailure } from '../errors.ts'
import { ACCOUNT_DIR, clusterServer } from './settings.ts'

/** What the next request is made with. `server` has no trailing slash. */
export interface Credentials {
  readonly server: string
  readonly agent: HttpAgent
  readonly headers: Readonly<Record<string, string>>
}

/** Gives credentials; throws KUBECONFIG_INVALID. */
export interface KubeConnection extends Disposable {
  /** @param isRefused the last ones were not accepted: everything is read again */
  credentials(isRefused: boolean): Promise<Credentials>
}

/** `kubeconfig` absent or empty = the pod's own account. */
export interface ConnectionOptions {
  readonly kubeconfig?: string
  readonly context?: string
  readonly clock?: Clock
}

/** Tokens of pods are renewed by the kubelet long before they end. */
const REREAD_MS = 60_000
/** A watch per kind holds a connection; beside them there are requests. */
const MAX_SOCKETS = 64

/** Opens nothing yet. @throws KUBECONFIG_INVALID when the file cannot be read, or outside a cluster without one */
export function connectionTo(options: ConnectionOptions): KubeConnection {
  const { kubeconfig = '', context, clock = systemClock } = options
  if (kubeconfig !== '') {
    readText(kubeconfig) // says at once what is wrong with the path
    return new RenewedConnection(clock, kubeconfigReader(kubeconfig, context))
  }
  const server = clusterServer()
  if (server === undefined) throw objectFailure('KUBECONFIG_INVALID', { what: 'this is no pod of a cluster and no kubeconfig is named' })
  return new RenewedConnection(clock, async () => readAccount(server, ACCOUNT_DIR))
}

/** Everything a connection is made of. */
export interface AccessFacts {
  readonly server: string
  readonly tls: SecureContextOptions & { readonly rejectUnauthorized?: boolean; readonly servername?: string }
  readonly headers: Readonly<Record<string, string>>
  /** Set where the kubeconfig names a proxy. */
  readonly agent?: HttpAgent
}

/**
 * Reads facts again when they are a minute old or were refused, and keeps the agent (and its open connections) while it can. What
 * was good stays good while it cannot be read again.
 */
export class RenewedConnection implements KubeConnection {
  readonly #clock: Clock
  readonly #read: (isRefused: boolean) => Promise<AccessFacts>
  #reading: Promise<Credentials> | undefined
  #last: Credentials | undefined
  #readAtMs = 0
  #agent: HttpAgent | undefined
  #agentKey = ''

  constructor(clock: Clock, read: (isRefused: boolean) => Promise<AccessFacts>) {
    this.#clock = clock
    this.#read = read
  }

  credentials(isRefused: boolean): Promise<Credentials> {
    const now = this.#clock.monotonicMs()
    if (this.#reading !== undefined && !isRefused && now - this.#readAtMs < REREAD_MS) return this.#reading
    this.#readAtMs = now
    const reading = this.#renew(isRefused).catch((error: unknown) => {
      this.#reading = undefined
      if (this.#last === undefined || isRefused) throw error
      return this.#last
    })
    this.#reading = reading
    return reading
  }

  [Symbol.dispose](): void {
    this.#agent?.destroy()
  }

  async #renew(isRefused: boolean): Promise<Credentials> {
    const { server, tls, headers, agent } = await this.#read(isRefused)
    const key = JSON.stringify([server, tls])
    if (this.#agent === undefined || key !== this.#agentKey) {
      closeIdle(this.#agent)
      this.#agent = agent ?? makeAgent(server, tls)
      this.#agentKey = key
    }
    this.#last = { server, headers, agent: this.#agent }
    return this.#last
  }
}

function makeAgent(server: string, tls: AccessFacts['tls']): HttpAgent {
  const options = { keepAlive: true, keepAliveMsecs: 15_000, maxSockets: MAX_SOCKETS }
  return server.startsWith('http:') ? new HttpAgent(options) : new HttpsAgent({ ...options, ...tls })
}

/** Watches go on over the old agent until they end. */
function closeIdle(agent: HttpAgent | undefined): void {
  for (const sockets of Object.values(agent?.freeSockets ?? {})) for (const socket of sockets ?? []) socket.destroy()
}

/** A pod's own account; `directory` holds `token` and `ca.crt`. @throws KUBECONFIG_INVALID */
export function readAccount(server: string, directory: string): AccessFacts {
  const token = readText(join(directory, 'token')).trim()
  return { server, tls: { ca: readText(join(directory, 'ca.crt')) }, headers: { authorization: `Bearer ${token}` } }
}

type KubeConfig = import('@kubernetes/client-node').KubeConfig

/** Keeps the parsed file, and with it what an exec plugin answered, until the file changes or the credentials are refused. */
function kubeconfigReader(path: string, context: string | undefined): (isRefused: boolean) => Promise<AccessFacts> {
  let known: { readonly text: string; readonly config: KubeConfig } | undefined
  return async (isRefused) => {
    const text = readText(path)
    if (known === undefined || known.text !== text || isRefused) known = { text, config: await loadKubeconfig(path, text, context) }
    return factsOf(path, known.config)
  }
}

async function factsOf(path: string, config: KubeConfig): Promise<AccessFacts> {
  const cluster = config.getCurrentCluster()
  const user = config.getCurrentUser()
  if (cluster === null || user === null || !isServer(cluster.server))
    throw invalid(path, `the context ${JSON.stringify(config.currentContext)} names no cluster with a server, or no user`)
  type Options = Parameters<KubeConfig['applyToHTTPSOptions']>[0]
  const options: Options & { readonly auth?: string } = {}
  try {
    await config.applyToHTTPSOptions(options)
  } catch (error) {
    throw invalid(path, `credentials of the user ${JSON.stringify(user.name)} cannot be had: ${messageOf(error).trim().slice(0, 300)}`)
  }
  const { ca, cert, key, servername, rejectUnauthorized } = options
  const headers: Record<string, string> = {}
  for (const [name, value] of Object.entries(options.headers ?? {})) if (typeof value === 'string') headers[name.toLowerCase()] = value
  if (options.auth !== undefined) headers.authorization = `Basic ${Buffer.from(options.auth).toString('base64')}`
  const tls: AccessFacts['tls'] = defined({ ca: textOf(ca), cert: textOf(cert), key: textOf(key), servername, rejectUnauthorized })
  const server = cluster.server.replace(/\/+$/, '')
  return { server, tls, headers, ...(cluster.proxyUrl ? { agent: options.agent as HttpAgent } : {}) }
}

async function loadKubeconfig(path: string, text: string, context: string | undefined): Promise<KubeConfig> {
  const { KubeConfig: Config } = await import('@kubernetes/client-node')
  const config = new Config()
  try {
    config.loadFromString(text)
    config.makePathsAbsolute(dirname(path))
  } catch (error) {
    throw invalid(path, `it cannot be understood: ${messageOf(error).split('\n')[0] ?? ''}`)
  }
  if (context !== undefined && context !== '') {
    if (config.getContextObject(context) === null) throw invalid(path, `it has no context ${JSON.stringify(context)}`)
    config.setCurrentContext(context)
  }
  if (config.getContextObject(config.currentContext) === null)
    throw invalid(
      path,
      config.currentContext ? `it has no context ${JSON.stringify(config.currentContext)}` : 'it names no current context',
    )
  return config
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw invalid(path, messageOf(error))
  }
}

function invalid(file: string, what: string): Error {
  return objectFailure('KUBECONFIG_INVALID', { file, what })
}

function isServer(server: unknown): boolean {
  return typeof server === 'string' && URL.canParse(server) && /^https?:$/.test(new URL(server).protocol)
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : Buffer.isBuffer(value) ? value.toString('utf8') : undefined
}

function defined<T extends object>(fields: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as never
}
