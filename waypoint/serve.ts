// A tunnel that was let in, as an HTTP connection: by the listener's protocol, or by what the client says first. Called by
// tunnel.ts.
import type { Channel } from '../http/channel.ts'
import { serveHttp1 } from '../http/http1-server.ts'
import { serveHttp2 } from '../http/h2-server.ts'
import { HTTP_LIMITS } from '../http/options.ts'
import type { HttpServerConnection, HttpServerOptions } from '../http/options.ts'
import type { ListenerProtocol } from '../model/route.ts'
import type { Downstream, WaypointContext } from './context.ts'
import { handleExchange } from './exchange/flow.ts'
import { sniff } from './sniff.ts'
import { serveTcp } from './tcp.ts'

/**
 * Serves a channel to its end.
 * @param done called once when it is gone
 */
export function serveChannel(channel: Channel, downstream: Downstream, waypoint: WaypointContext, done: () => void): void {
  const { clock, settings } = waypoint
  const isHttp = protocolOf(downstream, waypoint) === 'HTTP'
  sniff(
    channel,
    { clock, timeoutMs: settings.detectTimeoutMs },
    {
      decided(spoken, rest) {
        if (spoken === 'http2') serveHttp(serveHttp2, rest, downstream, waypoint, done)
        else if (spoken === 'http1' || isHttp) serveHttp(serveHttp1, rest, downstream, waypoint, done)
        else void serveTcp(rest, downstream, waypoint).finally(done)
      },
      gone: done,
    },
  )
}

/** What the listener says now; a pod's own port is what its service says, else it is found out. */
export function protocolOf({ target }: Downstream, { config }: Pick<WaypointContext, 'config'>): ListenerProtocol {
  if (target.kind === 'service') return (config.listenerFor(target.entry.listener.service, target.port) ?? target.entry).listener.protocol
  const port = target.service?.ports.find(({ targetPort }) => targetPort === target.to.port)
  switch (port?.appProtocol) {
    case 'HTTP11':
    case 'HTTP2':
    case 'GRPC':
      return 'HTTP'
    case 'TCP':
    case 'TLS':
      return 'TCP'
    default:
      return 'DETECT'
  }
}

type Serve = (channel: Channel, options: HttpServerOptions) => HttpServerConnection

function serveHttp(serve: Serve, channel: Channel, downstream: Downstream, waypoint: WaypointContext, done: () => void): void {
  const { clock, log, live } = waypoint
  let entry: Disposable | undefined
  let isGone = false
  const connection = serve(channel, {
    handler: (exchange) => handleExchange(exchange, downstream, waypoint),
    scheme: 'http',
    limits: HTTP_LIMITS,
    clock,
    onClosed: (error) => {
      if (error !== undefined)
        log.debug('an HTTP connection ended', { client: downstream.client.id, code: error.code, error: error.message })
      isGone = true
      entry?.[Symbol.dispose]()
      done()
    },
  })
  // Requests are judged one by one; what lasts longer than a request is judged by its flow.
  if (!isGone) entry = live.add({ drain: () => connection.drain(), close: () => connection.close(), recheck: () => undefined })
}
