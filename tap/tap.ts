// A packet tap on a link: what passed it, in which flows, and whether any of it could be read. The demo and tests stand taps on bridges and
// veths to prove what is on the wire; all taps of a process share one worker (worker.ts).
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads'
import type { Flow } from './flows.ts'
import type { TapAnswer, TapQuestion, TapReading } from './worker.ts'

/** One fault in what was seen between mesh addresses, with the flow. */
export interface MeshFault {
  readonly reason: 'not to port 15008' | 'payload is not TLS' | 'begun before the tap'
  readonly flow: Flow
}

const HBONE_PORT = 15_008

type Unnumbered<T> = T extends unknown ? Omit<T, 'id'> : never

/** One tap. Await its disposal before the link's namespace is removed. */
export class Tap implements AsyncDisposable {
  readonly #room: Room
  readonly #tap: number

  private constructor(room: Room, tap: number) {
    this.#room = room
    this.#tap = tap
  }

  /**
   * Sees every packet of a device from the moment that this resolves.
   * @param where.netnsFd the namespace of the device; default: this process's. @param where.device `cni0`, `eth0`, a veth …
   * @param where.markers texts to look for in payloads
   */
  static async open(where: { netnsFd?: number; device: string; markers?: readonly string[] }): Promise<Tap> {
    room ??= new Room()
    const tap = new Tap(room, room.enter())
    const namespace = where.netnsFd === undefined ? {} : { netnsFd: where.netnsFd }
    try {
      await tap.#ask({ kind: 'open', device: where.device, ...namespace })
    } catch (error) {
      await tap.#room.leave()
      throw error
    }
    for (const marker of where.markers ?? []) await tap.watch(marker)
    return tap
  }

  /** Looks for `marker` from now on. */
  async watch(marker: string): Promise<void> {
    await this.#ask({ kind: 'watch', marker })
  }

  /** Everything seen so far, also what was sent just before the call. */
  async read(): Promise<TapReading> {
    const { reading } = await this.#ask({ kind: 'read' })
    if (reading === undefined) throw new Error('the tap gave no reading')
    return reading
  }

  /** Forgets what was seen; markers stay watched. */
  async clear(): Promise<void> {
    await this.#ask({ kind: 'clear' })
  }

  /**
   * How often a watched text passed the link in the clear.
   * @throws Error when the marker is not watched, or nothing can be said because packets were lost
   */
  async seen(marker: string): Promise<number> {
    const sighting = sure(await this.read()).sightings.find((each) => each.marker === marker)
    if (sighting === undefined) throw new Error(`${JSON.stringify(marker)} is not watched`)
    return sighting.count
  }

  /** TCP flows whose both ends are among `ips` (canonical text). @throws Error when packets were lost */
  async tcpBetween(ips: Iterable<string>): Promise<readonly Flow[]> {
    const among = new Set(ips)
    return sure(await this.read()).flows.filter((flow) => flow.protocol === 'tcp' && among.has(flow.client) && among.has(flow.server))
  }

  /**
   * What contradicts "TCP between these addresses is TLS on port 15008 and nothing else"; empty = it holds.
   * A mere SYN to another port counts. @throws Error when packets were lost
   */
  async meshFaults(ips: Iterable<string>): Promise<readonly MeshFault[]> {
    return (await this.tcpBetween(ips)).flatMap((flow): MeshFault[] => {
      if (flow.serverPort !== HBONE_PORT) return [{ reason: 'not to port 15008', flow }]
      if (flow.payload === 'plain') return [{ reason: 'payload is not TLS', flow }]
      return flow.payload === 'unknown' ? [{ reason: 'begun before the tap', flow }] : []
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#ask({ kind: 'close' })
    await this.#room.leave()
  }

  #ask(
    question: Unnumbered<Exclude<TapQuestion, { kind: 'end' }>> extends infer Q ? (Q extends unknown ? Omit<Q, 'tap'> : never) : never,
  ): Promise<TapAnswer> {
    return this.#room.ask({ ...question, tap: this.#tap } as Unnumbered<TapQuestion>)
  }
}

/** One line per flow, for messages of failed assertions. */
export function describeFlow(flow: Flow): string {
  const first = Buffer.from(flow.firstToServer.subarray(0, 40))
    .toString('latin1')
    .replace(/[^ -~]/g, '.')
  return `${flow.protocol} ${flow.client}:${flow.clientPort} > ${flow.server}:${flow.serverPort} ${flow.payload} ${flow.bytesToServer}/${flow.bytesToClient} B ${JSON.stringify(first)}`
}

function sure(reading: TapReading): TapReading {
  if (reading.lost > 0) throw new Error(`the tap lost ${reading.lost} packets or flows: nothing can be said about what was not seen`)
  return reading
}

let room: Room | undefined

/** The worker and the questions that it has not answered yet; it ends with the last tap. */
class Room {
  readonly #worker: Worker
  readonly #port: MessagePort
  readonly #waiting = new Map<number, { resolve(answer: TapAnswer): void; reject(error: Error): void }>()
  #taps = 0
  #last = 0

  constructor() {
    const { port1, port2 } = new MessageChannel()
    this.#port = port1
    this.#worker = new Worker(new URL('./worker.ts', import.meta.url), {
      workerData: port2,
      transferList: [port2],
      trackUnmanagedFds: false,
    })
    this.#port.on('message', (answer: TapAnswer) => {
      const waiting = this.#waiting.get(answer.id)
      this.#waiting.delete(answer.id)
      if (answer.error === undefined) waiting?.resolve(answer)
      else waiting?.reject(new Error(answer.error))
    })
    this.#worker.on('error', (error) => this.#fail(error instanceof Error ? error : new Error(String(error))))
    this.#worker.on('exit', () => this.#fail(new Error("the taps' worker has ended")))
  }

  /** @returns a number for the new tap */
  enter(): number {
    this.#taps++
    return ++this.#last
  }

  async leave(): Promise<void> {
    if (--this.#taps > 0) return
    room = undefined
    const ended = new Promise((resolve) => this.#worker.once('exit', resolve))
    this.#port.postMessage({ kind: 'end', id: 0 } satisfies TapQuestion) // its answer could come after the exit
    await ended
    this.#port.close()
  }

  ask(question: Unnumbered<TapQuestion>): Promise<TapAnswer> {
    const id = ++this.#last
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
      this.#port.postMessage({ ...question, id })
    })
  }

  #fail(error: Error): void {
    for (const { reject } of this.#waiting.values()) reject(error)
    this.#waiting.clear()
  }
}
