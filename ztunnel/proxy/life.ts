// A connection while it is live: listed in its pod's table, and ended early for one reason (policy, removal, drain). The first
// reason wins and is what the access line says, whatever error the sockets report afterwards.
import type { PlainSocket } from '../../hbone/plain-socket.ts'
import type { SpliceEnd } from '../../hbone/splice.ts'
import type { MeshError } from '../../kit/error.ts'
import type { LiveConnection } from './connections.ts'
import type { PodContext } from './context.ts'

/** What can be torn down: a tunnel resets its stream, a socket its connection. */
interface OtherSide {
  reset(): void
}

/** Holds a connection in the table until it is disposed of. */
export class Life implements Disposable {
  readonly #entry: Disposable
  readonly #abort = new AbortController()
  readonly #downstream: PlainSocket | undefined
  #reason: MeshError | undefined

  constructor(pod: PodContext, downstream: PlainSocket | undefined, facts: Omit<LiveConnection, 'close'>) {
    this.#downstream = downstream
    const close = (error: MeshError): void => this.end(error)
    this.#entry = pod.connections.add({ ...facts, close })
  }

  /** Aborted when the connection must end now. */
  get signal(): AbortSignal {
    return this.#abort.signal
  }

  /** Ends the connection with a reset; only the first reason counts. */
  end(error: MeshError): void {
    this.#reason ??= error
    this.#abort.abort(error)
    this.#downstream?.destroy(error)
  }

  /** Why it was ended, else `error`. */
  reasonFor(error: MeshError): MeshError {
    return this.#reason ?? error
  }

  /**
   * Copies under this life.
   * @param otherSide torn down when the connection must end
   * @throws what ended the connection early
   */
  async run(otherSide: OtherSide, copy: Promise<SpliceEnd>): Promise<void> {
    const tearDown = (): void => otherSide.reset()
    if (this.#abort.signal.aborted) tearDown()
    else this.#abort.signal.addEventListener('abort', tearDown, { once: true })
    const end = await copy
    this.#abort.signal.removeEventListener('abort', tearDown)
    if (this.#reason !== undefined) throw this.#reason
    if (end.error !== undefined) throw end.error
  }

  [Symbol.dispose](): void {
    this.#entry[Symbol.dispose]()
  }
}
