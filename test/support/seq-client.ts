// The client of the sequence-numbered exchange: sends numbered frames at a steady rate over TCP or HTTP and accounts for each
// one: answered, lost, answered twice, damaged. In process (`runSeqClient`) or inside a pod:
// node seq-client.ts --to HOST:PORT --mode tcp|http [--connections N | --fresh] --rate 200 --seconds 10
// (without --seconds: until SIGTERM, or the end of standard input without --tell-every, which tells the account so far).
// Only node: is imported.
import { parseArgs } from 'node:util'
import { HttpLane, type Lane, TcpLane } from './seq-lane.ts'

/** What to send. Without `fresh`, requests go round robin over `connections` that stay open; a broken one is replaced. */
export interface SeqClientOptions {
  readonly host: string
  readonly port: number
  readonly mode: 'tcp' | 'http'
  /** Number of the client, distinct per server. */
  readonly client: number
  /** Requests per second in all; each is sent at its time, whatever became of the ones before. */
  readonly rate: number
  readonly connections?: number
  /** A connection of its own for each request. */
  readonly fresh?: boolean
  /** Sends no more than these. */
  readonly most?: number
  readonly payloadBytes?: number
  /** An answer that has not come by then is lost. */
  readonly timeoutMs?: number
}

/** The account: sent = answered + lost + (still open while running). */
export interface SeqReport {
  readonly client: number
  readonly sent: number
  readonly answered: number
  /** Requests whose connection broke, or that timed out; by error code in `errors`. */
  readonly lost: number
  readonly duplicates: number
  readonly corrupted: number
  readonly errors: Readonly<Record<string, number>>
  readonly connectionsOpened: number
  /** Connections that ended although this client had not ended them. */
  readonly connectionsBroken: number
  readonly latencyMs: { readonly p50: number; readonly p99: number; readonly max: number }
  /** Longest time between two answers. */
  readonly longestGapMs: number
  /** The most that a request was sent after its time: a client that is held up itself proves little. */
  readonly mostLateMs: number
  /** Time left out because this process stood still for seconds: nothing was due, nothing timed out. */
  readonly stoodStillMs: number
}

const LATENCIES_KEPT = 100_000
const DEFAULT_TIMEOUT_MS = 5000
/** A longer pause of this process is one of the machine (a virtual one stands still now and then): it is left out, and told. */
const STOOD_STILL_MS = 3000

/** A client at work; `stop` waits for what is open and gives the account. */
export class SeqClient {
  readonly #options: SeqClientOptions
  readonly #lanes: Lane[] = []
  readonly #open = new Map<number, { sentMs: number; timer: NodeJS.Timeout }>()
  readonly #answered = new Set<number>()
  readonly #errors: Record<string, number> = {}
  readonly #latenciesMs: number[] = []
  readonly #pacer: NodeJS.Timeout
  readonly #begunMs = performance.now()
  #sent = 0
  #lost = 0
  #duplicates = 0
  #corrupted = 0
  #opened = 0
  #broken = 0
  #lastAnswerMs = performance.now()
  #longestGapMs = 0
  #mostLateMs = 0
  #stoodStillMs = 0
  #pacedMs = performance.now()

  constructor(options: SeqClientOptions) {
    this.#options = options
    if (options.fresh !== true) for (let lane = 0; lane < (options.connections ?? 1); lane++) this.#lanes.push(this.#openLane())
    this.#pacer = setInterval(() => this.#pace(), Math.max(1, 500 / options.rate))
  }

  /** The account so far; `sent` may exceed `answered + lost` by what is under way. */
  report(): SeqReport {
    const sorted = [...this.#latenciesMs].sort((a, b) => a - b)
    const at = (share: number): number =>
      Math.round((sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0) * 100) / 100
    return {
      client: this.#options.client,
      sent: this.#sent,
      answered: this.#answered.size,
      lost: this.#lost,
      duplicates: this.#duplicates,
      corrupted: this.#corrupted,
      errors: { ...this.#errors },
      connectionsOpened: this.#opened,
      connectionsBroken: this.#broken,
      latencyMs: { p50: at(0.5), p99: at(0.99), max: at(1) },
      longestGapMs: Math.round(this.#longestGapMs),
      mostLateMs: Math.round(this.#mostLateMs),
      stoodStillMs: Math.round(this.#stoodStillMs),
    }
  }

  /** Sends no more, waits until every request is answered or lost, and closes the connections. */
  async stop(): Promise<SeqReport> {
    clearInterval(this.#pacer)
    while (this.#open.size > 0) await new Promise((resolve) => setTimeout(resolve, 5))
    for (const lane of this.#lanes) lane.close()
    return this.report()
  }

  #pace(): void {
    this.#noteStandstill()
    const elapsedMs = performance.now() - this.#begunMs - this.#stoodStillMs
    const due = Math.min(Math.floor((elapsedMs * this.#options.rate) / 1000), this.#options.most ?? Number.POSITIVE_INFINITY)
    if (this.#sent < due) this.#mostLateMs = Math.max(this.#mostLateMs, elapsedMs - ((this.#sent + 1) * 1000) / this.#options.rate)
    while (this.#sent < due) this.#send(this.#sent++)
  }

  #noteStandstill(): void {
    const nowMs = performance.now()
    const pauseMs = nowMs - this.#pacedMs
    this.#pacedMs = nowMs
    if (pauseMs > STOOD_STILL_MS) this.#stoodStillMs += pauseMs
  }

  /** Called when a request's time is over: it gets the time that was left out. */
  #timeOut(seq: number, stoodStillMs: number): void {
    this.#noteStandstill()
    const open = this.#open.get(seq)
    const moreMs = this.#stoodStillMs - stoodStillMs
    if (open === undefined || moreMs === 0) this.#lose(seq, 'TIMEOUT')
    else open.timer = setTimeout(() => this.#timeOut(seq, this.#stoodStillMs), moreMs)
  }

  #send(seq: number): void {
    const timer = setTimeout(() => this.#timeOut(seq, this.#stoodStillMs), this.#options.timeoutMs ?? DEFAULT_TIMEOUT_MS)
    this.#open.set(seq, { sentMs: performance.now(), timer })
    this.#dispatch(seq)
  }

  #dispatch(seq: number): void {
    if (this.#options.fresh === true) {
      this.#openLane(true).send(seq, this.#options.payloadBytes ?? 64)
      return
    }
    const index = seq % this.#lanes.length
    if (this.#lanes[index]?.isOpen !== true) this.#lanes[index] = this.#openLane()
    this.#lanes[index]?.send(seq, this.#options.payloadBytes ?? 64)
  }

  #openLane(isForOne = false): Lane {
    this.#opened++
    const Kind = this.#options.mode === 'tcp' ? TcpLane : HttpLane
    return new Kind({
      host: this.#options.host,
      port: this.#options.port,
      client: this.#options.client,
      isForOne,
      onAnswer: (seq, isIntact) => this.#take(seq, isIntact),
      onUnsent: (seq) => this.#dispatch(seq),
      onLost: (seq, code) => this.#lose(seq, code),
      onBroken: () => void this.#broken++,
    })
  }

  #take(seq: number, isIntact: boolean): void {
    const open = this.#open.get(seq)
    if (!isIntact) this.#corrupted++
    if (open === undefined) {
      if (this.#answered.has(seq)) this.#duplicates++
      return // lost before, by the clock
    }
    clearTimeout(open.timer)
    this.#open.delete(seq)
    this.#answered.add(seq)
    const nowMs = performance.now()
    if (this.#latenciesMs.length < LATENCIES_KEPT) this.#latenciesMs.push(nowMs - open.sentMs)
    this.#longestGapMs = Math.max(this.#longestGapMs, nowMs - this.#lastAnswerMs)
    this.#lastAnswerMs = nowMs
  }

  #lose(seq: number, code: string): void {
    const open = this.#open.get(seq)
    if (open === undefined) return
    clearTimeout(open.timer)
    this.#open.delete(seq)
    this.#lost++
    this.#errors[code] = (this.#errors[code] ?? 0) + 1
  }
}

/** Runs a client for `seconds`. */
export async function runSeqClient(options: SeqClientOptions, seconds: number): Promise<SeqReport> {
  const client = new SeqClient(options)
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000))
  return client.stop()
}

if (import.meta.main) {
  const text = { type: 'string' } as const
  const options = {
    to: text,
    mode: text,
    client: text,
    rate: text,
    connections: text,
    most: text,
    bytes: text,
    timeout: text,
    seconds: text,
    'tell-every': text,
    fresh: { type: 'boolean' },
  } as const
  const { values } = parseArgs({ options })
  const [, host = '', port = ''] = /^\[?(.*?)\]?:(\d+)$/.exec(values.to ?? '') ?? []
  if (host === '') throw new Error('--to HOST:PORT is wanted')
  const client = new SeqClient({
    host,
    port: Number(port),
    mode: values.mode === 'http' ? 'http' : 'tcp',
    client: Number(values.client ?? process.pid),
    rate: Number(values.rate ?? 100),
    connections: Number(values.connections ?? 1),
    fresh: values.fresh === true,
    ...(values.most === undefined ? {} : { most: Number(values.most) }),
    payloadBytes: Number(values.bytes ?? 64),
    timeoutMs: Number(values.timeout ?? DEFAULT_TIMEOUT_MS),
  })
  const end = async (): Promise<void> => {
    console.log(JSON.stringify({ message: 'report', ...(await client.stop()) }))
    process.exit(0)
  }
  process.once('SIGTERM', () => void end())
  if (values.seconds !== undefined) setTimeout(() => void end(), Number(values.seconds) * 1000)
  else if (values['tell-every'] === undefined) process.stdin.once('end', () => void end()).resume()
  const tell = (): void => console.log(JSON.stringify({ message: 'so far', ...client.report() }))
  if (values['tell-every'] !== undefined) setInterval(tell, Number(values['tell-every']) * 1000)
  console.log(JSON.stringify({ message: 'running' }))
}
