// Bears a network or a name server that fails for a moment: what an install or an uninstall asks is asked again, with growing pauses, so
// that neither ends half-way for a lost packet. Every request of theirs may be done twice.
import type { Patiently } from '../cluster/access.ts'
import { Backoff } from '../../kit/backoff.ts'
import { type Clock, pause } from '../../kit/clock.ts'
import { codeOf, MeshError, messageOf } from '../../kit/error.ts'
import { installFailure } from './errors.ts'

/** What it works with. */
export interface PatienceOptions {
  readonly clock: Clock
  readonly random?: () => number
  /** Gets one sentence when a failure begins. */
  tell(line: string): void
}

/** A wrong address should be told soon; a cluster that has answered before will again. */
const FIRST_LIMIT_MS = 5_000
const LIMIT_MS = 60_000
const MIN_PAUSE_MS = 200
const MAX_PAUSE_MS = 5_000

/** Failures on the way; others (a certificate that is refused, a name that does not exist) stay what they are. */
const PASSING: ReadonlySet<string> = new Set([
  'EAI_AGAIN',
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTUNREACH',
  'ENETDOWN',
  'ENETUNREACH',
  'EPIPE',
  'ETIMEDOUT',
])

/** @returns a function that does work again while it fails so, each stretch of failures for at most a minute. @throws CLUSTER_UNREACHABLE */
export function patience({ clock, random, tell }: PatienceOptions): Patiently {
  let hasAnswered = false
  let isTold = false
  return async (work) => {
    const backoff = new Backoff({ minMs: MIN_PAUSE_MS, maxMs: MAX_PAUSE_MS, ...(random === undefined ? {} : { random }) })
    let sinceMs: number | undefined
    for (;;) {
      try {
        const result = await work()
        hasAnswered = true
        isTold = false
        return result
      } catch (error) {
        if (!isPassing(error)) throw error
        const limitMs = hasAnswered ? LIMIT_MS : FIRST_LIMIT_MS
        sinceMs ??= clock.monotonicMs()
        if (clock.monotonicMs() - sinceMs >= limitMs)
          throw installFailure('CLUSTER_UNREACHABLE', { what: `${reasonOf(error)}, for ${limitMs / 1000} s` }, error)
        if (!isTold) tell(`${reasonOf(error)}; asking again for up to ${limitMs / 1000} s`)
        isTold = true
      }
      await pause(clock, backoff.nextMs())
    }
  }
}

/** Whether the same may go well a moment later. */
export function isPassing(error: unknown): boolean {
  switch (codeOf(error)) {
    case 'CLUSTER_UNREACHABLE': // helm's word
    case 'NOT_READY':
      return true
    case 'API_UNREACHABLE': {
      const { cause } = error as Error
      // without a cause: nothing was heard for long; an answer that broke off has begun
      return cause === undefined || PASSING.has(codeOf(cause)) || (error as MeshError).detail.reason !== undefined
    }
    default:
      return false
  }
}

function reasonOf(error: unknown): string {
  if (codeOf(error) === 'CLUSTER_UNREACHABLE' && error instanceof MeshError) return String(error.detail.what ?? error.message)
  const { cause } = error as Error
  const { server, what, reason, silentMs } = error instanceof MeshError ? error.detail : {}
  const why = cause === undefined ? (what ?? reason ?? `nothing was heard for ${Number(silentMs) / 1000} s`) : messageOf(cause)
  return `the API server${server === undefined ? '' : ` ${server}`} does not answer: ${why}`
}
