// Raw bytes on one side of a channel, our HTTP/1.1 codec on the other, and what a handler or a caller saw.
import assert from 'node:assert/strict'
import type { BodyReader, ClientExchange, RawPair, ServerExchange } from '../../http/exchange.ts'
import { connectHttp1 } from '../../http/http1-client.ts'
import { serveHttp1 } from '../../http/http1-server.ts'
import { HTTP_LIMITS, type HttpConnection, type HttpLimits, type HttpServerConnection } from '../../http/options.ts'
import { type Clock, systemClock } from '../../kit/clock.ts'
import type { MeshError } from '../../kit/error.ts'
import type { HeaderField, RequestHead, ResponseHead } from '../../model/http.ts'
import { channelPair, type PairEnd } from './channel-pair.ts'

/** Limits that end soon. */
export const QUICK_LIMITS: HttpLimits = { ...HTTP_LIMITS, drainMs: 50 }

/** One side in text, one character per byte. */
export class RawEnd {
  /** Everything received. */
  text = ''
  isEnded = false
  isClosed = false
  /** A reset, not an end in order. */
  error: MeshError | undefined
  readonly channel: PairEnd

  constructor(channel: PairEnd) {
    this.channel = channel
    channel.attach({
      onData: (chunk) => {
        this.text += chunk.toString('latin1')
      },
      onEnd: () => {
        this.isEnded = true
      },
      onWritable: () => undefined,
      onClosed: (error) => {
        this.isClosed = true
        this.error = error
      },
    })
  }

  /** Sends text and lets it be dealt with. */
  async send(text: string): Promise<void> {
    this.channel.write(Buffer.from(text, 'latin1'))
    await settle()
  }

  /** Ends this half. */
  async end(): Promise<void> {
    this.channel.end()
    await settle()
  }
}

/** A served connection with everything that its handler got. */
export interface Served {
  readonly raw: RawEnd
  readonly near: PairEnd
  readonly connection: HttpServerConnection
  readonly exchanges: ServerExchange[]
  /** Codes that `onClosed` of the exchanges got. */
  readonly gone: string[]
  /** What `onClosed` of the options got: undefined as `-`. */
  readonly closed: string[]
}

/** @param handle called with each request after it was recorded */
export function serveRaw(
  handle: (exchange: ServerExchange) => void = () => undefined,
  clock: Clock = systemClock,
  limits = QUICK_LIMITS,
): Served {
  const [far, near] = channelPair()
  const exchanges: ServerExchange[] = []
  const gone: string[] = []
  const closed: string[] = []
  const handler = (exchange: ServerExchange): void => {
    exchanges.push(exchange)
    exchange.onClosed = (error) => void gone.push(error.code)
    handle(exchange)
  }
  const onClosed = (error: MeshError | undefined): void => void closed.push(error?.code ?? '-')
  const connection = serveHttp1(near, { handler, scheme: 'http', limits, clock, onClosed })
  return { raw: new RawEnd(far), near, connection, exchanges, gone, closed }
}

/** A connection to a raw server. */
export interface Dialled {
  readonly raw: RawEnd
  readonly near: PairEnd
  readonly connection: HttpConnection
  readonly closed: string[]
  /** Times that onIdle was called. */
  idles: number
}

/** @returns a connection whose server is the test */
export function dialRaw(clock: Clock = systemClock, limits = QUICK_LIMITS): Dialled {
  const [near, far] = channelPair()
  const closed: string[] = []
  const dialled = { raw: new RawEnd(far), near, closed, idles: 0 }
  const onClosed = (error: MeshError | undefined): void => void closed.push(error?.code ?? '-')
  const onIdle = (): void => {
    dialled.idles++
  }
  return Object.assign(dialled, { connection: connectHttp1(near, { limits, clock, onClosed, onIdle }) })
}

/** A request of the test. */
export function requestHead(more: Partial<RequestHead> = {}): RequestHead {
  return {
    version: 'HTTP/1.1',
    method: 'GET',
    scheme: 'http',
    authority: 'h',
    path: '/',
    query: undefined,
    headers: [],
    upgrade: undefined,
    ...more,
  }
}

/** What came of a request. */
export interface Answer {
  readonly informed: ResponseHead[]
  head: ResponseHead | undefined
  reader: BodyReader | undefined
  raw: RawPair | undefined
  readonly body: BodyLog
  failed: string | undefined
  wasSent: boolean | undefined
  exchange: ClientExchange
}

/** What came of a body. */
export interface BodyLog {
  text: string
  trailers: readonly HeaderField[] | undefined
  error: string | undefined
}

/** Starts a reader and records what it gives. */
export function logBody(reader: BodyReader, log: BodyLog = { text: '', trailers: undefined, error: undefined }): BodyLog {
  reader.start({
    onData: (chunk) => {
      log.text += chunk.toString('latin1')
    },
    onEnd: (trailers) => {
      log.trailers = trailers
    },
    onError: (error) => {
      log.error = error.code
    },
  })
  return log
}

/** Makes a request. @param reads whether the response's body is started at once */
export function ask(connection: HttpConnection, head: Partial<RequestHead> = {}, length: number | 'unknown' = 0, reads = true): Answer {
  const body: BodyLog = { text: '', trailers: undefined, error: undefined }
  const informed: ResponseHead[] = []
  const answer = { informed, head: undefined, reader: undefined, raw: undefined, body, failed: undefined, wasSent: undefined } as Omit<
    Answer,
    'exchange'
  >
  const exchange = connection.request(requestHead(head), length === 'unknown' ? undefined : length, {
    onInform: (interim) => void informed.push(interim),
    onResponse: (response, reader) => {
      answer.head = response
      answer.reader = reader
      if (reads) logBody(reader, body)
    },
    onUpgrade: (response, raw) => {
      answer.head = response
      answer.raw = raw
    },
    onFailed: (error, wasSent) => {
      answer.failed = error.code
      answer.wasSent = wasSent
    },
  })
  return Object.assign(answer, { exchange })
}

/** `STATUS body name=value… CODE`, as far as there is any; the codes of interim responses before. */
export function describeAnswer(answer: Answer): string {
  const parts = answer.informed.map(({ status }) => String(status))
  if (answer.failed !== undefined) return [...parts, answer.failed].join(' ')
  const { text, trailers, error } = answer.body
  parts.push(`${answer.head?.status} ${text}`)
  for (const [name, value] of trailers ?? []) parts.push(`${name}=${value}`)
  if (error !== undefined) parts.push(error)
  else assert.notEqual(trailers, undefined, 'the body did not end')
  return parts.join(' ')
}

/** Lets everything happen that is under way. */
export async function settle(turns = 6): Promise<void> {
  for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve))
}
