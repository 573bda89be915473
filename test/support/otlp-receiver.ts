// A collector for tests: takes OTLP/HTTP in JSON on a loopback port and keeps the spans.
import { createServer } from 'node:http'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'

/** A span as it came. Times in nanoseconds. */
export interface ReceivedSpan {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId: string | undefined
  readonly name: string
  /** 2 = server, 3 = client. */
  readonly kind: number
  readonly start: bigint
  readonly end: bigint
  readonly traceState: string | undefined
  readonly attributes: Readonly<Record<string, unknown>>
  /** Undefined = not set. */
  readonly error: string | undefined
  readonly resource: Readonly<Record<string, unknown>>
}

interface WireAttribute {
  readonly key: string
  readonly value: Readonly<Record<string, unknown>>
}

interface WireSpan {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly name: string
  readonly kind: number
  readonly startTimeUnixNano: string
  readonly endTimeUnixNano: string
  readonly traceState?: string
  readonly attributes: readonly WireAttribute[]
  readonly status: { readonly code: number; readonly message?: string }
}

interface WireRequest {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly WireAttribute[] }
    readonly scopeSpans: readonly { readonly spans: readonly WireSpan[] }[]
  }[]
}

const STATUS_ERROR = 2

/** Spans that came to `endpoint`. */
export class OtlpReceiver implements AsyncDisposable {
  readonly spans: ReceivedSpan[] = []
  readonly paths: string[] = []
  readonly #server: Server

  private constructor() {
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        this.paths.push(request.url ?? '')
        this.#take(JSON.parse(Buffer.concat(chunks).toString()))
        response.writeHead(200, { 'content-type': 'application/json' }).end('{}')
      })
    })
  }

  /** Listens on a free port. */
  static async start(): Promise<OtlpReceiver> {
    const receiver = new OtlpReceiver()
    await new Promise<void>((resolve) => receiver.#server.listen(0, '127.0.0.1', resolve))
    return receiver
  }

  /** `http://127.0.0.1:PORT` */
  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise<void>((resolve) => this.#server.close(() => resolve()))
  }

  #take({ resourceSpans }: WireRequest): void {
    for (const { resource, scopeSpans } of resourceSpans)
      for (const { spans } of scopeSpans) for (const span of spans) this.spans.push(spanOf(span, valuesOf(resource.attributes)))
  }
}

function spanOf(wire: WireSpan, resource: ReceivedSpan['resource']): ReceivedSpan {
  return {
    traceId: wire.traceId,
    spanId: wire.spanId,
    parentSpanId: wire.parentSpanId,
    name: wire.name,
    kind: wire.kind,
    start: BigInt(wire.startTimeUnixNano),
    end: BigInt(wire.endTimeUnixNano),
    traceState: wire.traceState,
    attributes: valuesOf(wire.attributes),
    error: wire.status.code === STATUS_ERROR ? (wire.status.message ?? '') : undefined,
    resource,
  }
}

function valuesOf(attributes: readonly WireAttribute[]): Record<string, unknown> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]))
}
