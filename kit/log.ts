// Log lines as events: a fixed message and structured fields, one JSON object per line, a level per area.
// The level text is `info` or `info,xds=debug,access=off`. Follows grpc-node's per-area switches.
import { pino } from 'pino'
import type { DestinationStream, Logger as PinoLogger } from 'pino'
import { systemClock } from './clock.ts'

/** Structured fields of one line; values are printed as JSON. */
export type LogFields = Readonly<Record<string, unknown>>

/** A logger of one area (scope). */
export interface Log {
  debug(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
  /** Whether `debug` prints; ask before building costly fields. */
  isDebug(): boolean
  /** A logger of another area that shares destination and levels. */
  scope(name: string): Log
}

/** Root of a process's loggers; `setLevels` acts on every area at once. */
export interface RootLog extends Log {
  /**
   * @param text `LEVEL` or `LEVEL,area=LEVEL,…` with LEVEL one of debug, info, warn, error, off
   * @throws RangeError naming the bad part
   */
  setLevels(text: string): void
  levels(): string
}

const LEVELS = ['debug', 'info', 'warn', 'error', 'off'] as const
type Level = (typeof LEVELS)[number]

/**
 * Makes the loggers of a process.
 * @param options.process component's name, printed in every line
 * @param options.destination default: standard output
 * @throws RangeError when `levels` cannot be parsed
 */
export function createLog(options: { process: string; levels?: string; destination?: DestinationStream }): RootLog {
  const time = new LineTime()
  const root = pino(
    {
      base: { process: options.process },
      level: 'debug',
      timestamp: () => `,"time":"${time.text(systemClock.nowMs())}"`,
      messageKey: 'message',
      formatters: { level: (label) => ({ level: label }) },
    },
    options.destination ?? standardOutput(),
  )
  const areas = new Map<string, PinoLogger>()
  let levels = parseLevels(options.levels ?? 'info')
  const levelOf = (area: string): string => pinoLevel(levels.areas.get(area) ?? levels.rest)
  const make = (area: string): Log => {
    let logger = areas.get(area)
    if (logger === undefined) {
      logger = area === '' ? root.child({}) : root.child({ scope: area })
      logger.level = levelOf(area)
      areas.set(area, logger)
    }
    const to = logger
    return {
      debug: (message, fields) => to.debug(fields ?? {}, message),
      info: (message, fields) => to.info(fields ?? {}, message),
      warn: (message, fields) => to.warn(fields ?? {}, message),
      error: (message, fields) => to.error(fields ?? {}, message),
      isDebug: () => to.isLevelEnabled('debug'),
      scope: (name) => make(name),
    }
  }
  return {
    ...make(''),
    setLevels(text) {
      levels = parseLevels(text)
      for (const [area, logger] of areas) logger.level = levelOf(area)
    },
    levels: () => levels.text,
  }
}

/** ISO 8601 times in UTC with milliseconds, as Date.toISOString; within a second only the milliseconds are formatted anew. */
export class LineTime {
  #second = Number.NaN
  #prefix = ''

  /** @param ms Unix time in whole milliseconds, not before 1970 */
  text(ms: number): string {
    const second = Math.floor(ms / 1000)
    if (second !== this.#second) {
      this.#second = second
      this.#prefix = new Date(second * 1000).toISOString().slice(0, -4)
    }
    return `${this.#prefix}${String(ms - second * 1000).padStart(3, '0')}Z`
  }
}

/** Lines wait so long for others: a proxy writes one per connection, and each write wakes whoever collects them. */
const FLUSH_MS = 5
const FLUSH_BYTES = 8 * 1024

/** Standard output in batches; nothing is lost at a regular end, and the last few milliseconds at a SIGKILL. */
function standardOutput(): DestinationStream {
  const out = pino.destination({ dest: 1, sync: true, minLength: FLUSH_BYTES })
  let isWaiting = false
  const flush = (): void => {
    isWaiting = false
    out.flushSync()
  }
  process.on('exit', flush)
  return {
    write(line) {
      out.write(line)
      if (isWaiting) return
      isWaiting = true
      systemClock.after(FLUSH_MS, flush).unref()
    },
  }
}

function parseLevels(text: string): { text: string; rest: Level; areas: Map<string, Level> } {
  let rest: Level = 'info'
  const areas = new Map<string, Level>()
  for (const part of text.split(',').map((piece) => piece.trim())) {
    const [name = '', value] = part.split('=')
    const level = LEVELS.find((known) => known === (value ?? name))
    if (level === undefined)
      throw new RangeError(`log level ${JSON.stringify(part)}: use LEVEL or area=LEVEL with LEVEL one of ${LEVELS.join(', ')}`)
    if (value === undefined) rest = level
    else areas.set(name, level)
  }
  return { text, rest, areas }
}

function pinoLevel(level: Level): string {
  return level === 'off' ? 'silent' : level
}
