// weft up: a whole mesh on this machine, in the foreground; Ctrl-C removes everything that it made.
import { existsSync, statSync } from 'node:fs'
import { resolve } from 'node:path'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { pause, systemClock } from '../../kit/clock.ts'
import { createLog } from '../../kit/log.ts'
import { raiseFileLimit } from '../../linux/limits.ts'
import { objectFailure } from '../../objects/errors.ts'
import { MAX_NODES } from '../../runtime/layout.ts'
import { LocalMesh } from '../../runtime/mesh.ts'
import { statusOf } from '../../runtime/status.ts'
import { checkMachine } from '../check.ts'
import { countFrom, parseCollector, parseMeshName, parsePercent, readCaBundle } from '../options.ts'
import { print, printNote } from '../output.ts'
import { describeWaiting } from '../waiting.ts'

interface UpFlags {
  readonly file?: string
  readonly nodes: number
  readonly name: string
  readonly image?: Readonly<Record<string, string>>
  readonly mesh: boolean
  readonly ztunnelThreads?: number
  readonly tracingEndpoint?: string
  readonly tracingProtocol?: string
  readonly tracingCa?: string
  readonly tracingSampling?: string
}

const READY_POLL_MS = 100
const SAY_AGAIN_MS = 5000
const REASONS_AFTER_MS = 5000 // sooner, everything is merely starting

/** Registers the command. */
export function registerUp(program: Command, defaultName: string): void {
  program
    .command('up')
    .description('start a mesh on this machine; runs until Ctrl-C, which removes everything it made')
    .option('-f, --file <DIR>', 'directory or file of YAML, followed while the mesh runs')
    .option('--nodes <N>', 'number of nodes', countFrom(1, MAX_NODES), 2)
    .option('--name <NAME>', 'name of the mesh; several may run side by side', parseMeshName, defaultName)
    .option('--image <NAME=DIR>', 'programs of an image: a directory, also the working directory (repeatable)', collectImage)
    .option('--ztunnel-threads <N>', 'threads of each ztunnel that carry connections', countFrom(1, 64))
    .option('--tracing-endpoint <URL>', 'collector that waypoints send spans to, as their pods reach it: http://host:port', parseCollector)
    .addOption(new Option('--tracing-protocol <NAME>', 'what the collector speaks (default: grpc)').choices(['grpc', 'http']))
    .option('--tracing-ca <FILE>', 'PEM of the only authorities that vouch for an https collector', readCaBundle)
    .option('--tracing-sampling <PERCENT>', 'traces that are recorded of those that begin at a waypoint (default: 1)', parsePercent)
    .option('--no-mesh', 'nodes and pods only: no proxies, no control plane')
    .action(runUp)
}

async function runUp(flags: UpFlags): Promise<void> {
  const startedMs = systemClock.monotonicMs()
  const seconds = (): string => `${((systemClock.monotonicMs() - startedMs) / 1000).toFixed(1).padStart(5)} s`
  const tell = (sentence: string): void => printNote(`${seconds()}  ${sentence}`)
  raiseFileLimit()
  const missing = checkMachine().filter((one) => !one.isGood && one.isNeeded)
  if (missing.length > 0) throw new Error(missing.map((one) => `${one.what}: ${one.wayOut}`).join('; '))
  if (flags.file !== undefined && !existsSync(flags.file)) throw objectFailure('NOT_FOUND', { what: `${flags.file} does not exist` })
  const stopped = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => stopped.abort())
  const log = createLog({ process: 'up', levels: 'warn', destination: { write: (line: string) => printNote(line.trimEnd()) } })
  await using mesh = await LocalMesh.start({
    name: flags.name,
    nodes: flags.nodes,
    source: flags.file === undefined ? undefined : resolve(flags.file),
    images: flags.image ?? {},
    hasMesh: flags.mesh,
    componentArgs: componentArgsOf(flags),
    clock: systemClock,
    log,
    tell,
  })
  await waitReady(mesh, flags.mesh, stopped.signal, tell)
  if (!stopped.signal.aborted) print(`mesh ${flags.name} is ready after ${seconds().trim()}; end it with Ctrl-C`)
  await new Promise<void>((done) => {
    if (stopped.signal.aborted) done()
    else stopped.signal.addEventListener('abort', () => done(), { once: true })
  })
  tell('removing the mesh')
}

function componentArgsOf({ ztunnelThreads, ...flags }: UpFlags): Record<string, string[]> {
  const given = (flag: string, value: string | number | undefined): string[] => (value === undefined ? [] : [flag, String(value)])
  const tracing = [
    ['endpoint', flags.tracingEndpoint],
    ['protocol', flags.tracingProtocol],
    ['ca', flags.tracingCa],
    ['sampling', flags.tracingSampling],
  ] as const
  return {
    ztunnel: given('--threads', ztunnelThreads),
    controlplane: tracing.flatMap(([name, value]) => given(`--tracing-${name}`, value)),
  }
}

async function waitReady(mesh: LocalMesh, hasMesh: boolean, signal: AbortSignal, tell: (sentence: string) => void): Promise<void> {
  let said = ''
  const startMs = systemClock.monotonicMs()
  let saidMs = startMs
  let calm = 0
  // Twice in a row: right after the start no pod may exist yet.
  while (!signal.aborted && calm < 2) {
    const status = await statusOf(mesh, hasMesh)
    calm = status.isReady ? calm + 1 : 0
    const nowMs = systemClock.monotonicMs()
    const text = describeWaiting(status, nowMs - startMs > REASONS_AFTER_MS)
    if (text !== undefined && (text !== said || nowMs - saidMs > SAY_AGAIN_MS) && nowMs - saidMs > 1000) {
      tell(text)
      said = text
      saidMs = nowMs
    }
    await pause(systemClock, READY_POLL_MS, signal)
  }
}

function collectImage(text: string, all: Readonly<Record<string, string>> = {}): Record<string, string> {
  const at = text.indexOf('=')
  if (at < 1) throw new InvalidArgumentError('NAME=DIR is needed.')
  if (statSync(text.slice(at + 1), { throwIfNoEntry: false })?.isDirectory() !== true)
    throw new InvalidArgumentError('DIR is no directory.')
  return { ...all, [text.slice(0, at)]: resolve(text.slice(at + 1)) }
}
