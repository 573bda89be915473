// Which Gateways are in force: a connected waypoint of theirs has accepted its newest listeners and backends. A push or a
// reconnect takes moments; a Gateway stays programmed over them for a while, so that its status does not flap.
import type { Clock, Timer } from '../../kit/clock.ts'
import type { ClientInfo } from '../../xds/delta-stream.ts'
import { BACKEND_TYPE, LISTENER_TYPE } from '../../xds/kinds.ts'

/** How long a Gateway stays programmed without a waypoint that holds the newest. */
export const PROGRAMMED_GRACE_MS = 2000
/** Longest refusal that goes into a status. */
export const REFUSAL_LIMIT_CHARS = 512

/** What a status says. */
export interface ProgrammedState {
  /** `namespace/name`. */
  readonly programmed: ReadonlySet<string>
  /** `namespace/name` -> what its waypoints said against the newest configuration; none of these is programmed. */
  readonly refusals: ReadonlyMap<string, string>
}

type Standing = { readonly kind: 'current' } | { readonly kind: 'refused'; readonly message: string } | { readonly kind: 'behind' }

/** Follows the clients that serve a gateway; dispose of it to stop. `onChange` is called after the state has changed. */
export class Programmed implements Disposable {
  readonly #options: { clients(): readonly ClientInfo[]; readonly clock: Clock; onChange(): void }
  readonly #leaving = new Map<string, Timer>() // programmed gateways whose grace runs
  #programmed: ReadonlySet<string> = new Set()
  #refusals: ReadonlyMap<string, string> = new Map()

  constructor(options: { clients(): readonly ClientInfo[]; readonly clock: Clock; onChange(): void }) {
    this.#options = options
  }

  get state(): ProgrammedState {
    return { programmed: this.#programmed, refusals: this.#refusals }
  }

  /** Looks at the clients again. */
  update(): void {
    const standings = standingsOf(this.#options.clients())
    const programmed = new Set<string>()
    const refusals = new Map<string, string>()
    for (const [gateway, standing] of standings) {
      if (standing.kind === 'current') programmed.add(gateway)
      else if (standing.kind === 'refused') refusals.set(gateway, standing.message)
    }
    for (const gateway of this.#programmed) {
      if (programmed.has(gateway) || refusals.has(gateway)) continue
      this.#startGrace(gateway)
      programmed.add(gateway)
    }
    for (const [gateway, timer] of this.#leaving) {
      const kind = standings.get(gateway)?.kind
      if (kind === 'current' || kind === 'refused') this.#stopGrace(gateway, timer)
    }
    this.#set(programmed, refusals)
  }

  [Symbol.dispose](): void {
    for (const [gateway, timer] of this.#leaving) this.#stopGrace(gateway, timer)
  }

  #startGrace(gateway: string): void {
    if (this.#leaving.has(gateway)) return
    const timer = this.#options.clock.after(PROGRAMMED_GRACE_MS, () => {
      this.#leaving.delete(gateway)
      const left = new Set(this.#programmed)
      left.delete(gateway)
      this.#set(left, this.#refusals)
    })
    timer.unref()
    this.#leaving.set(gateway, timer)
  }

  #stopGrace(gateway: string, timer: Timer): void {
    timer[Symbol.dispose]()
    this.#leaving.delete(gateway)
  }

  #set(programmed: ReadonlySet<string>, refusals: ReadonlyMap<string, string>): void {
    const isSame =
      programmed.size === this.#programmed.size &&
      refusals.size === this.#refusals.size &&
      [...programmed].every((gateway) => this.#programmed.has(gateway)) &&
      [...refusals].every(([gateway, message]) => this.#refusals.get(gateway) === message)
    this.#programmed = programmed
    this.#refusals = refusals
    if (!isSame) this.#options.onChange()
  }
}

/** The best standing among the clients of each gateway: one that holds the newest is enough. */
function standingsOf(clients: readonly ClientInfo[]): ReadonlyMap<string, Standing> {
  const best = new Map<string, Standing>()
  for (const client of clients) {
    if (client.gateway === undefined) continue
    const standing = standingOf(client)
    const known = best.get(client.gateway)
    if (known === undefined || known.kind === 'behind' || standing.kind === 'current') best.set(client.gateway, standing)
  }
  return best
}

function standingOf({ kinds }: ClientInfo): Standing {
  const own = kinds.filter(({ typeUrl }) => typeUrl === LISTENER_TYPE || typeUrl === BACKEND_TYPE)
  const message = own.find(({ refusal }) => refusal !== undefined)?.refusal
  if (message !== undefined) return { kind: 'refused', message: message.slice(0, REFUSAL_LIMIT_CHARS) }
  return { kind: own.length === 2 && own.every(({ isWaiting }) => !isWaiting) ? 'current' : 'behind' }
}
