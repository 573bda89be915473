// Copies of a request for other backends: sent when the whole body is there, if it is small enough; what comes back is read
// and dropped. Called by flow.ts.
import type { BodyWriter } from '../../http/exchange.ts'
import type { RequestHead } from '../../model/http.ts'
import type { Mirror } from '../../model/route.ts'
import type { TraceSpan } from '../../telemetry/trace-span.ts'
import type { Client, WaypointContext } from '../context.ts'
import { refusalFor } from '../context.ts'
import { beginTry, tracedHead } from '../spans.ts'
import { Attempt } from './attempt.ts'
import type { RequestBody, WholeBody } from './replay.ts'

/** A mirror may take so long; nobody waits for it. */
const MIRROR_TIMEOUT_MS = 15_000
const NONE: ReadonlySet<string> = new Set()

/** Sends copies to the chosen mirrors as soon as the body is whole. @param head as it is sent to the backend */
export function mirrorRequest(
  mirrors: readonly Mirror[],
  head: RequestHead,
  body: RequestBody,
  client: Client,
  waypoint: WaypointContext,
  trace: TraceSpan | undefined,
): void {
  if (mirrors.length === 0 || head.upgrade !== undefined) return
  body.whenWhole((whole) => {
    if (whole === undefined) waypoint.log.debug('a request is not mirrored: its body is too large or broke off', { path: head.path })
    else for (const mirror of mirrors) sendCopy(mirror, head, whole, client, waypoint, trace)
  })
}

function sendCopy(
  mirror: Mirror,
  head: RequestHead,
  whole: WholeBody,
  client: Client,
  waypoint: WaypointContext,
  trace: TraceSpan | undefined,
): void {
  const cluster = waypoint.clusters.get(mirror.backend)
  const choice = cluster?.balancer.choose({ hash: undefined, exclude: NONE, session: undefined })
  if (cluster === undefined || choice?.kind !== 'endpoint') return
  const { endpoint, lease } = choice
  if (refusalFor(client, endpoint, waypoint) !== undefined) {
    lease.done({})
    return
  }
  const span = beginTry(trace, 'mirror', cluster, endpoint, 0)
  const body = { length: whole.bytes, sendTo: (writer: BodyWriter) => writeAll(whole, writer), detach: () => undefined }
  const attempt = new Attempt(
    {
      cluster,
      endpoint,
      lease,
      client,
      head: tracedHead({ ...head, authority: shadowOf(head.authority) }, span),
      body,
      timeoutMs: MIRROR_TIMEOUT_MS,
      clock: waypoint.clock,
      span,
    },
    {
      onInform: () => undefined,
      onResponse: ({ status }, reader) =>
        reader.start({
          onData: () => undefined,
          onEnd: () => attempt.done({ status }, true),
          onError: () => attempt.done({ failure: 'reset' }, true),
        }),
      onUpgrade: () => attempt.abandon({}),
      onFailed: ({ error }) => waypoint.log.debug('a mirror failed', { cluster: cluster.name, error: error.message }),
      onBroken: () => undefined,
    },
  )
  attempt.start()
}

function writeAll({ chunks, trailers }: WholeBody, writer: BodyWriter): void {
  for (const chunk of chunks) writer.write(chunk)
  writer.end(trailers)
}

/** The host tells a copy from the original, as Envoy does: `host-shadow:port`. */
export function shadowOf(authority: string): string {
  const port = /:\d+$/.exec(authority)?.[0] ?? ''
  return `${authority.slice(0, authority.length - port.length)}-shadow${port}`
}
