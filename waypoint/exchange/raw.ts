// Bytes both ways after a protocol switch (WebSocket): the client's pair and the endpoint's, each end passed on as an end.
import type { BodyHandlers, BodyReader, BodyWriter, RawPair } from '../../http/exchange.ts'
import type { MeshError } from '../../kit/error.ts'
import type { HeaderField } from '../../model/http.ts'

/** Updated while bytes flow. */
export interface RawCounters {
  fromClient: number
  toClient: number
}

/**
 * Joins two pairs.
 * @param ended called once: undefined = both directions ended, else what broke off (both sides are then ended)
 */
export function joinRaw(client: RawPair, endpoint: RawPair, counters: RawCounters, ended: (error: MeshError | undefined) => void): void {
  let open = 2
  let isOver = false
  const end = (error: MeshError | undefined): void => {
    if (isOver || (error === undefined && --open > 0)) return
    isOver = true
    if (error !== undefined) {
      client.writer.abort(error)
      endpoint.writer.abort(error)
    }
    ended(error)
  }
  pump(endpoint.reader, client.writer, end, ({ length }) => {
    counters.toClient += length
  })
  pump(client.reader, endpoint.writer, end, ({ length }) => {
    counters.fromClient += length
  })
}

/**
 * Copies a body to its end.
 * @param end called once with what broke it off, or undefined
 * @param see called with each chunk before it is sent
 */
export function pump(from: BodyReader, to: BodyWriter, end: (error: MeshError | undefined) => void, see: (chunk: Buffer) => void): void {
  const resume = (): void => from.resume()
  to.onDrain = resume
  from.start(new Pump(from, to, end, see))
}

class Pump implements BodyHandlers {
  readonly #from: BodyReader
  readonly #to: BodyWriter
  readonly #end: (error: MeshError | undefined) => void
  readonly #see: (chunk: Buffer) => void

  constructor(from: BodyReader, to: BodyWriter, end: (error: MeshError | undefined) => void, see: (chunk: Buffer) => void) {
    this.#from = from
    this.#to = to
    this.#end = end
    this.#see = see
  }

  onData(chunk: Buffer): void {
    this.#see(chunk)
    if (!this.#to.write(chunk)) this.#from.pause()
  }

  onEnd(trailers: readonly HeaderField[]): void {
    this.#to.end(trailers)
    this.#end(undefined)
  }

  onError(error: MeshError): void {
    this.#to.abort(error)
    this.#end(error)
  }
}
