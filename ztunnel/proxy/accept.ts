// The first step of every proxied connection: an accepted socket becomes a tuned PlainSocket with known addresses, or is
// refused because a limit is reached. Called by outbound.ts and passthrough.ts; inbound.ts uses the parts.
import type net from 'node:net'
import { adoptAccepted } from '../../hbone/plain-socket.ts'
import type { PlainSocket } from '../../hbone/plain-socket.ts'
import type { MeshError } from '../../kit/error.ts'
import { localAddress, peerAddress } from '../../linux/socket.ts'
import type { Endpoint } from '../../model/address.ts'
import type { ConnectionFacts } from '../../telemetry/connection-record.ts'
import { ztunnelFailure } from '../errors.ts'
import { deny } from './context.ts'
import type { PodContext } from './context.ts'

/** A downstream connection whose addresses are known; nothing has been read from it. */
export interface Accepted {
  readonly socket: PlainSocket
  readonly fd: number
  readonly source: Endpoint
  /** Address of the socket itself: what was dialled, unless the connection was captured on its way out. */
  readonly local: Endpoint
}

/** The addresses of an accepted socket and its descriptor; undefined when the peer has gone already. */
export function addressesOf(raw: net.Socket): { fd: number; source: Endpoint; local: Endpoint } | undefined {
  const fd = fdOf(raw)
  if (fd === undefined) return undefined
  try {
    return { fd, source: peerAddress(fd), local: localAddress(fd) }
  } catch {
    return undefined // ENOTCONN: reset between SYN and accept
  }
}

/** Takes over an accepted socket, or refuses it (reset, one line) when a limit is reached. */
export function accept(raw: net.Socket, pod: PodContext, direction: 'inbound' | 'outbound'): Accepted | undefined {
  const addresses = addressesOf(raw)
  if (addresses === undefined) {
    raw.destroy()
    return undefined
  }
  if (pod.connections.isFull() || !pod.budget.take(1)) {
    raw.resetAndDestroy()
    deny(pod, bareFacts(direction, addresses.source, addresses.local), ztunnelFailure('LIMIT_REACHED'))
    return undefined
  }
  const reporter = direction === 'outbound' ? 'source' : 'destination'
  pod.metrics.socketOpened(reporter)
  const socket = adoptAccepted(raw)
  const gone = (): void => {
    pod.budget.give(1)
    pod.metrics.socketClosed(reporter)
  }
  void socket.closed.then(gone, gone)
  return { socket, ...addresses }
}

/** Refuses an accepted connection before a route was decided. */
export function refuse(
  accepted: Accepted,
  pod: PodContext,
  direction: 'inbound' | 'outbound',
  to: Endpoint | undefined,
  error: MeshError,
): void {
  accepted.socket.reset()
  deny(pod, bareFacts(direction, accepted.source, to), error)
}

/** What is known of a connection before anybody is identified. */
export function bareFacts(direction: 'inbound' | 'outbound', source: Endpoint, destination: Endpoint | undefined): ConnectionFacts {
  return {
    direction,
    source: { address: source, workload: undefined, identity: undefined },
    destination: { address: destination, workload: undefined, identity: undefined },
    hboneAddress: undefined,
    service: undefined,
  }
}

/** Node's sockets do not show their descriptor; the handle does. */
function fdOf(raw: net.Socket): number | undefined {
  const handle: unknown = '_handle' in raw ? raw._handle : undefined
  if (typeof handle !== 'object' || handle === null || !('fd' in handle)) return undefined
  return typeof handle.fd === 'number' && handle.fd >= 0 ? handle.fd : undefined
}
