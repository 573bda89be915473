// weft demo: the tea shop on a mesh of two nodes. Shows who reached whom, as whom, over what; with --check it tries its claims
// and ends with 0 or 1. `npm run demo` is this command.
import type { Command } from 'commander'
import { pause, systemClock } from '../../kit/clock.ts'
import { createLog } from '../../kit/log.ts'
import { raiseFileLimit } from '../../linux/limits.ts'
import { checkMachine } from '../check.ts'
import type { Claim } from '../demo/claim.ts'
import { SCENES } from '../demo/claims.ts'
import { putBehindWaypoint } from '../demo/routed.ts'
import { scraped } from '../demo/scraped.ts'
import { PLAINTEXT_MARKER, SHOP, SPANS_MARKER } from '../demo/shop-stage.ts'
import { Stage } from '../demo/stage.ts'
import { traced } from '../demo/traced.ts'
import type { Conversation } from '../demo/traffic.ts'
import { countFrom, parseMeshName } from '../options.ts'
import { formatTable, print, printNote, sentenceOf } from '../output.ts'

interface DemoFlags {
  readonly check: boolean
  readonly name: string
  readonly nodes: number
}

/** Those that also play on a cluster, and those that need what only this mesh has: a collector of traces, nodes that run Prometheus. */
const ALL_SCENES: readonly ((stage: Stage) => Promise<readonly Claim[]>)[] = [...SCENES, traced, scraped]
const SHOW_EVERY_MS = 5000
const FIRST_LOOK_MS = 4000
const MOST_ROWS = 12

/** Registers the command. */
export function registerDemo(program: Command): void {
  program
    .command('demo')
    .description('run the sample shop on a mesh of its own and show its traffic; Ctrl-C removes everything')
    .option('--check', 'verify what the demo claims, print a table, end with 0 or 1', false)
    .option('--name <NAME>', 'name of the mesh', parseMeshName, 'demo')
    .option('--nodes <N>', 'number of nodes (2 to 8)', countFrom(2, 8), 2)
    .action(run)
}

async function run(flags: DemoFlags): Promise<void> {
  const startedMs = systemClock.monotonicMs()
  const seconds = (): string => `${((systemClock.monotonicMs() - startedMs) / 1000).toFixed(1).padStart(5)} s`
  const tell = (sentence: string): void => printNote(`${seconds()}  ${sentence}`)
  const missing = checkMachine().filter((one) => !one.isGood && one.isNeeded)
  if (missing.length > 0) throw new Error(missing.map((one) => `${one.what}: ${one.wayOut}`).join('; '))
  raiseFileLimit()
  const stopped = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => stopped.abort())
  const log = createLog({ process: 'demo', levels: 'warn', destination: { write: (line: string) => printNote(line.trimEnd()) } })
  await using stage = await Stage.open({
    name: flags.name,
    nodes: flags.nodes,
    clock: systemClock,
    log,
    signal: stopped.signal,
    tell,
  })
  print(`\nThe tea shop runs on ${flags.nodes} nodes, ready after ${seconds().trim()}. None of its services knows about a mesh.\n`)
  if (flags.check) process.exitCode = (await check(stage, tell)) ? 0 : 1
  else await show(stage, flags.name, stopped.signal, tell)
  tell('removing the mesh')
}

/** @returns whether every claim held */
async function check(stage: Stage, tell: (sentence: string) => void): Promise<boolean> {
  const claims: Claim[] = []
  for (const scene of ALL_SCENES) {
    tell(`trying: ${scene.name}`)
    try {
      claims.push(...(await scene(stage)))
    } catch (error) {
      claims.push({ says: `scene ${scene.name}`, isTrue: false, evidence: sentenceOf(error) })
    }
  }
  print(formatTable(['', 'CLAIM', 'SEEN'], claims.map(rowOf)))
  for (const { says, picture } of claims) if (picture !== undefined) print(`\n${says}:\n${picture}`)
  return claims.every(({ isTrue }) => isTrue)
}

function rowOf({ says, isTrue, evidence, notTried }: Claim): string[] {
  return notTried === undefined ? [isTrue ? 'ok' : 'FAIL', says, evidence] : ['--', says, `not tried: ${notTried}`]
}

async function show(stage: Stage, name: string, signal: AbortSignal, tell: (sentence: string) => void): Promise<void> {
  await pause(systemClock, FIRST_LOOK_MS, signal)
  let isFirst = true
  while (!signal.aborted) {
    const seen = await stage.tap.seen(PLAINTEXT_MARKER)
    const spans = await stage.tap.seen(SPANS_MARKER)
    const flows = await stage.tap.tcpBetween(await stage.podIps())
    print(conversations(stage.traffic.read().slice(0, MOST_ROWS)))
    print(
      `on the wire between the nodes: ${flows.length} TCP connections of pods, ${flows.filter((flow) => flow.serverPort === 15008).length} of them to port 15008; "${PLAINTEXT_MARKER}" read ${seen} times${spans === 0 ? '' : ` (with ${spans} messages of spans and their answers: they go to the collector in the clear)`}\n`,
    )
    if (isFirst) {
      await showTrace(stage, signal, tell)
      print(tryNext(name))
    }
    isFirst = false
    await pause(systemClock, SHOW_EVERY_MS, signal)
  }
}

/** One order as a tree; the waypoint that it needs is gone afterwards. */
async function showTrace(stage: Stage, signal: AbortSignal, tell: (sentence: string) => void): Promise<void> {
  tell('following one order through a waypoint, while payments fails at times')
  try {
    await putBehindWaypoint(stage)
    for (const { says, evidence, picture } of await traced(stage)) print(`${says}:\n${picture ?? evidence}\n`)
    await stage.setLabels({ 'istio.io/use-waypoint': null })
    await stage.objects('routes/waypoint.yaml', 'delete')
  } catch (error) {
    if (!signal.aborted) throw error // Ctrl-C ends the commands in pods, too
  }
}

function conversations(list: readonly Conversation[]): string {
  const short = (id: string): string => id.replace(/^spiffe:\/\/[^/]+\//, '')
  return formatTable(
    ['FROM', 'TO', 'AS', 'ANSWERED AS', 'OVER', 'CONNECTIONS', 'REFUSED'],
    list.map((one) => [
      one.source,
      one.destination,
      short(one.sourceIdentity) || '-',
      short(one.destinationIdentity) || '-',
      one.isEncrypted ? 'mutual TLS' : 'plaintext',
      String(one.connections),
      one.refused === 0 ? '' : String(one.refused),
    ]),
  )
}

function tryNext(name: string): string {
  return `Try in another terminal (the table follows):
  ./weft status --name ${name}
  ./weft label --name ${name} namespace ${SHOP} istio.io/dataplane-mode-         # out of the mesh: the wire can be read
  ./weft label --name ${name} namespace ${SHOP} istio.io/dataplane-mode=ambient  # and back, without a restart
  ./weft apply --name ${name} -f samples/shop/policies/no-batch.yaml            # the batch client is refused
  ./weft ztunnel-config --name ${name} certificates
  ./weft apply --name ${name} -f samples/shop/routes/waypoint.yaml              # a proxy for HTTP; then send the shop through it:
  ./weft label --name ${name} namespace ${SHOP} istio.io/use-waypoint=waypoint
  ./weft apply --name ${name} -f samples/shop/routes/canary.yaml                # one payment in ten by the new version; count it:
  ./weft exec --name ${name} ${SHOP}/batch -- node load.mjs http://payments/version
  ./weft exec --name ${name} ${SHOP}/front -- node -e "fetch('http://catalogue/products').then(r => r.text()).then(console.log)"
Ctrl-C ends it and removes everything.
`
}
