// Bearer tokens of the mesh's own processes on the nodes: nodes/NODE/token (ztunnel, audience istio-ca), written before the
// processes start and again at half of their life.
import { renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock, Timer } from '../kit/clock.ts'
import { messageOf } from '../kit/error.ts'
import type { Log } from '../kit/log.ts'
import { type NodeLayout, SYSTEM_NAMESPACE } from './layout.ts'
import type { ObjectStore } from './store.ts'
import { componentPodName } from './system-objects.ts'
import type { TokenIssuer } from './tokens.ts'

const LIFETIME_S = 3600
const RENEW_MS = (LIFETIME_S * 1000) / 2
const RETRY_MS = 5000
const AUDIENCE = 'istio-ca'

/** Keeps the token files fresh until disposed. */
export class NodeTokens implements Disposable {
  readonly #nodes: readonly NodeLayout[]
  readonly #tokens: TokenIssuer
  readonly #store: ObjectStore
  readonly #clock: Clock
  readonly #log: Log
  #timer: Timer | undefined

  constructor(options: { nodes: readonly NodeLayout[]; tokens: TokenIssuer; store: ObjectStore; clock: Clock; log: Log }) {
    this.#nodes = options.nodes
    this.#tokens = options.tokens
    this.#store = options.store
    this.#clock = options.clock
    this.#log = options.log
  }

  /** Writes them; resolves when the files are there. */
  async start(): Promise<void> {
    for (const node of this.#nodes) await this.#write(node)
    this.#schedule(RENEW_MS)
  }

  [Symbol.dispose](): void {
    this.#timer?.[Symbol.dispose]()
  }

  #schedule(delayMs: number): void {
    this.#timer = this.#clock.after(delayMs, () => {
      this.start().catch((error: unknown) => {
        this.#log.error('tokens of the nodes were not renewed, trying again', { error: messageOf(error) })
        this.#schedule(RETRY_MS)
      })
    })
    this.#timer.unref()
  }

  async #write(node: NodeLayout): Promise<void> {
    const name = componentPodName('ztunnel', node)
    const uid = this.#store.get('pods', SYSTEM_NAMESPACE, name).metadata.uid ?? ''
    const { token } = await this.#tokens.issue({
      namespace: SYSTEM_NAMESPACE,
      serviceAccount: 'ztunnel',
      audiences: [AUDIENCE],
      expirationSeconds: LIFETIME_S,
      pod: { name, uid },
    })
    const file = join(node.dir, 'token')
    writeFileSync(`${file}.new`, token, { mode: 0o600 })
    renameSync(`${file}.new`, file)
  }
}
