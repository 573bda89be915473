// Does the control plane serve a large cluster? `node scripts/run.mjs bench:scale`: 50,000 pods, 500 services; 1,000 proxies that ask
// on demand, then 100 that ask for everything. Control plane (as the image runs it: no types) and proxies are a process and a core
// each. See bench/README.md.
import { type ChildProcess, execFileSync, fork } from 'node:child_process'
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { formatTable } from '../cli/output.ts'
import { stage } from '../scripts/stage.ts'
import { cpuSeconds, pssMiB } from './measure.ts'
import type { ClientsOptions, ClientsReport } from './scale-clients.ts'
import type { ServerOrder, ServerReport } from './scale-server.ts'
import { FULL_SCALE, nodesThatNeed } from './scale-world.ts'

const { values } = parseArgs({
  options: {
    nodes: { type: 'string', default: String(FULL_SCALE.nodes) },
    wildcards: { type: 'string', default: '100' },
    changes: { type: 'string', default: '100' },
    only: { type: 'string', default: 'on-demand,wildcard' },
    profile: { type: 'string', default: '' },
    // 'any' leaves the choice to the scheduler, for a machine that others use too.
    cores: { type: 'string', default: '0,1' },
  },
})
const HEARING_LIMIT_MS = 20_000
const SYNC_LIMIT_MS = 180_000
/** As deploy/chart starts the control plane. */
const SERVER_ENV = {
  MALLOC_ARENA_MAX: '2',
  MALLOC_TRIM_THRESHOLD_: '65536',
  MALLOC_MMAP_THRESHOLD_: '65536',
  MALLOC_TOP_PAD_: '16384',
}
const rows: string[][] = []

await main()

async function main(): Promise<void> {
  const folder = stagedProgram()
  try {
    for (const mode of ['on-demand', 'wildcard'] as const) if (values.only.split(',').includes(mode)) await measure(mode, folder)
  } finally {
    rmSync(folder, { recursive: true })
  }
  process.stdout.write(`${formatTable(['', 'measured', 'aim'], rows)}\n`)
}

/** Stripping types while it runs would cost the control plane 25 MiB that it does not take in the image. */
function stagedProgram(): string {
  const folder = mkdtempSync(join(tmpdir(), 'weft-scale-program-'))
  stage(folder, ['bench'])
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}')
  symlinkSync(join(import.meta.dirname, '..', 'node_modules'), join(folder, 'node_modules'))
  return folder
}

async function measure(mode: ClientsOptions['mode'], folder: string): Promise<void> {
  const clients = Number(mode === 'wildcard' ? values.wildcards : values.nodes)
  const flags = values.profile === '' ? [] : ['--cpu-prof', '--cpu-prof-dir', values.profile]
  const server = start(join(folder, 'bench/scale-server.js'), 0, FULL_SCALE, flags, SERVER_ENV)
  const ready = await heard<ServerReport, 'ready'>(server, 'ready', SYNC_LIMIT_MS)
  const pid = server.pid ?? 0
  add('objects in the source', `${ready.objectsMiB.toFixed(0)} MiB of heap`)
  add('start, first translation', `${(ready.startMs / 1000).toFixed(1)} s`)
  await memory(server, 'PSS before the first proxy')
  const peak = watchPeak(pid)
  const cpu = cpuSeconds([pid])
  const proxies = start(
    join(import.meta.dirname, 'scale-clients.ts'),
    1,
    { scale: FULL_SCALE, port: ready.port, mode, clients } satisfies ClientsOptions,
    [],
  )
  const proxyCpu = cpuSeconds([proxies.pid ?? 0])
  const synced = await heard<ClientsReport, 'synced'>(proxies, 'synced', SYNC_LIMIT_MS)
  const seconds = Number(BigInt(synced.lastNs) - BigInt(synced.firstNs)) / 1e9
  const mb = synced.bytes / 1e6
  add(`${mode}: ${clients} proxies connect and hold what they need`, `${seconds.toFixed(1)} s`, mode === 'wildcard' ? '' : '< 30 s')
  add(
    '  CPU of the control plane, of the proxies',
    `${(cpuSeconds([pid]) - cpu).toFixed(1)} s, ${(cpuSeconds([proxies.pid ?? 0]) - proxyCpu).toFixed(1)} s`,
  )
  add('  sent in all', `${mb.toFixed(0)} MB, ${(mb / seconds).toFixed(0)} MB/s`)
  add('  per proxy', `${((mb / clients) * 1000).toFixed(0)} kB, ${(synced.resources / clients).toFixed(0)} resources`)
  add('  connections tried again', `${synced.retries} ${JSON.stringify(synced.reasons)}`)
  await changes(server, proxies, mode, clients)
  add('  highest PSS', `${peak.stop().toFixed(0)} MiB`, '< 500 MB')
  await memory(server, '  PSS at the end')
  proxies.kill()
  server.send({ do: 'stop' } satisfies ServerOrder)
  await new Promise((resolve) => server.once('exit', resolve))
}

/** What the control plane takes now, and what is left of it after a full collection. */
async function memory(server: ChildProcess, what: string): Promise<void> {
  const pid = server.pid ?? 0
  const before = pssMiB(pid)
  server.send({ do: 'collect' } satisfies ServerOrder)
  const { heapMiB, heapTotalMiB, buffersMiB } = await heard<ServerReport, 'collected'>(server, 'collected', HEARING_LIMIT_MS)
  const parts = `heap ${heapMiB.toFixed(0)} of ${heapTotalMiB.toFixed(0)}, buffers ${buffersMiB.toFixed(0)}`
  add(what, `${before.toFixed(0)} MiB; collected ${pssMiB(pid).toFixed(0)} (${parts})`)
}

/** One endpoint turns unready, or ready again: how long until each proxy that follows it has the news. */
async function changes(server: ChildProcess, proxies: ChildProcess, mode: ClientsOptions['mode'], clients: number): Promise<void> {
  const latencies: number[] = []
  let missed = 0
  let extra = 0
  let needed = 0
  let hearing: { readonly node: number; readonly atNs: string }[] = []
  proxies.on('message', (message: ClientsReport) => {
    if (message.is === 'heard') hearing.push(message)
    else if (message.is === 'lost') throw new Error(`proxy ${message.node} was lost: ${message.reason}`)
  })
  const count = Number(values.changes)
  for (let i = 0; i < count; i++) {
    const pod = (i * 7919) % FULL_SCALE.pods
    const need = new Set(nodesThatNeed(pod, FULL_SCALE).filter((node) => node < clients))
    const wanted = mode === 'wildcard' ? clients : need.size
    hearing = []
    server.send({ do: 'change', pod, isReady: false } satisfies ServerOrder)
    const { atNs } = await heard<ServerReport, 'changed'>(server, 'changed', HEARING_LIMIT_MS)
    const end = performance.now() + HEARING_LIMIT_MS
    while (hearing.length < wanted && performance.now() < end) await delay(2)
    needed += wanted
    missed += Math.max(0, wanted - hearing.length)
    extra += hearing.filter(({ node }) => mode === 'on-demand' && !need.has(node)).length
    for (const each of hearing) latencies.push(Number(BigInt(each.atNs) - BigInt(atNs)) / 1e6)
    await delay(20)
  }
  latencies.sort((a, b) => a - b)
  const at = (share: number): string =>
    (latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))] ?? Number.NaN).toFixed(0)
  add(
    `  ${count} changes of one endpoint, to ${(needed / count).toFixed(0)} proxies each: p50, p99, max`,
    `${at(0.5)}, ${at(0.99)}, ${at(1)} ms`,
    '< 500 ms p99',
  )
  add('  not heard, heard by others', `${missed}, ${extra}`, '0, 0')
}

function start(file: string, index: number, options: object, execArgv: readonly string[], env: NodeJS.ProcessEnv = {}): ChildProcess {
  const child = fork(file, [JSON.stringify(options)], {
    execArgv: ['--expose-gc', '--max-semi-space-size=2', ...execArgv], // as the chart starts the control plane
    env: { ...process.env, ...env },
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  const core = values.cores.split(',')[index] ?? 'any'
  if (values.cores !== 'any') execFileSync('taskset', ['-a', '-p', '-c', core, String(child.pid)], { stdio: 'ignore' })
  return child
}

function heard<Report extends { readonly is: string }, Is extends Report['is']>(
  child: ChildProcess,
  is: Is,
  limitMs: number,
): Promise<Extract<Report, { readonly is: Is }>> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => finish(() => reject(new Error(`${is}: not within ${limitMs} ms`))), limitMs)
    const onMessage = (message: Report): void => {
      if (message.is === is) finish(() => resolve(message as Extract<Report, { readonly is: Is }>))
    }
    const onExit = (): void => finish(() => reject(new Error(`${is}: the process has ended`)))
    const finish = (then: () => void): void => {
      clearTimeout(timer)
      child.off('message', onMessage)
      child.off('exit', onExit)
      then()
    }
    child.on('message', onMessage)
    child.on('exit', onExit)
  })
}

function watchPeak(pid: number): { stop(): number } {
  let highest = 0
  const timer = setInterval(() => (highest = Math.max(highest, pssMiB(pid))), 250)
  return {
    stop() {
      clearInterval(timer)
      return Math.max(highest, pssMiB(pid))
    },
  }
}

function add(what: string, measured: string, aim = ''): void {
  rows.push([what, measured, aim])
  process.stderr.write(`${what}: ${measured}\n`)
}
