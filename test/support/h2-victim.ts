// The HBONE server under attack: one connection of a RawPeer, with a clock of its own, and what the server says of it.
import { CLIENT_PREFACE } from '../../hbone/frame.ts'
import { type HboneServerStream, serveHbone } from '../../hbone/server.ts'
import type { MeshError } from '../../kit/error.ts'
import { FakeClock } from './fake-clock.ts'
import { RawPeer, settings } from './raw-h2.ts'
import { type TlsPair, tlsPair } from './tls-pair.ts'

const ignore = (): void => undefined
const GREETING = Buffer.concat([CLIENT_PREFACE, settings()])

let pairs: TlsPair[] = []

/** One attacked connection. */
export interface Victim {
  readonly peer: RawPeer
  readonly clock: FakeClock
  readonly closed: Promise<MeshError | undefined>
  /** Status and reason of each refused head. */
  readonly rejects: [number, string][]
  readonly streams: HboneServerStream[]
}

/** What a tunnel that only swallows is attached to. */
export const SWALLOW = { onData: ignore, onEnd: ignore, onWritable: ignore, onClosed: ignore }

/**
 * @param options `accept: false` leaves every CONNECT without an answer; `greet: false` sends no preface
 * @returns a connection; `closeAttacked` ends it
 */
export async function victim(options: { accept?: boolean; greet?: boolean } = {}): Promise<Victim> {
  const pair = await attackedPair()
  const clock = new FakeClock()
  const closed = Promise.withResolvers<MeshError | undefined>()
  const made: Victim = { peer: new RawPeer(pair.client), clock, closed: closed.promise, rejects: [], streams: [] }
  serveHbone(pair.server, {
    clock,
    onConnect(_request, stream) {
      made.streams.push(stream)
      if (options.accept !== false) stream.accept().attach(SWALLOW)
    },
    onReject: (status, reason) => made.rejects.push([status, reason]),
    onClosed: closed.resolve,
  })
  if (options.greet !== false) made.peer.send(GREETING)
  return made
}

/** @returns two ends that `closeAttacked` closes */
export async function attackedPair(): Promise<TlsPair> {
  const pair = await tlsPair()
  pairs.push(pair)
  return pair
}

/** Ends every connection that was made here: for `afterEach`. */
export function closeAttacked(): void {
  for (const pair of pairs) pair.close()
  pairs = []
}
