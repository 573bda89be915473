// Our HTTP/1.1 proxy engine against haproxy, nginx and Envoy in one run: requests/s, latency and CPU per request, plain and over
// mutual TLS. One process and worker each, proxy on the first core, load and backend on the second; the contenders take turns.
//   node scripts/run.mjs bench:http [--rounds N] [--seconds N] [--connections 1,16,128,512] [--rows plain,mtls]
//     [--only weft,envoy,haproxy,nginx] [--profile DIRECTORY] [--access-log]
import { execFileSync, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { formatTable } from '../cli/output.ts'
import { checkCsr, createCsr } from '../certs/csr.ts'
import type { SpiffeId } from '../model/identity.ts'
import { WAYPOINT_NODE_FLAGS } from '../runtime/node-flags.ts'
import { TestCa } from '../test/support/test-ca.ts'
import { checkProxy, load, Program } from './http-load.ts'
import type { Sample } from './http-load.ts'
import { backendConfig, envoyConfig, haproxyConfig, nginxProxyConfig, originatorConfig } from './http-peers.ts'
import type { BackendPorts, TlsFiles } from './http-peers.ts'
import type { WeftOptions } from './http-weft.ts'
import { median } from './measure.ts'

const CORES = availableParallelism() >= 2 ? (['0', '1'] as const) : (['0', '0'] as const)
const BACKEND: BackendPorts = { app: 9001, canary: 9002 }
const FIRST_PORT = 7001
/** Plain ports of the originator are this much above the proxies'. */
const ORIGINATOR_OFFSET = 1000
/**
 * Not counted: code is compiled (700 functions in the first ten seconds, on the same core), connections to the backends are made.
 * The first part with 16 connections, the second with as many as will be measured.
 */
const WARM_UP_SECONDS = [8, 3] as const
/** Set-up, warm-up and checks of a row, generously. */
const ROW_SECONDS = 60
const CONTENDERS = ['weft', 'envoy', 'haproxy', 'nginx'] as const
const ROWS = ['plain', 'mtls'] as const

type Name = (typeof CONTENDERS)[number]
type Row = (typeof ROWS)[number]

interface Options {
  readonly rounds: number
  readonly seconds: number
  readonly connections: readonly number[]
  readonly rows: readonly Row[]
  readonly only: readonly Name[]
  /** Where profiles of our process go. */
  readonly profile: string | undefined
  readonly hasAccessLog: boolean
}

interface Contender {
  readonly name: Name
  readonly program: Program
  /** Where wrk connects. */
  readonly port: number
}

/** `connections name` -> one sample per round */
type Samples = Map<string, Sample[]>

/** Everything below runs in namespaces of its own, so that whatever ends this process ends all of it. */
async function outside(args: readonly string[]): Promise<number> {
  const options = parse(args)
  const directory = mkdtempSync(join(tmpdir(), 'weft-bench-http-'))
  const own = ['--net', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc']
  const child = spawn('unshare', [...own, process.execPath, import.meta.filename, '--inside', directory, ...args], { stdio: 'inherit' })
  const end = (): void => void child.kill('SIGKILL')
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, end)
  const limit = setTimeout(end, secondsOf(options) * 1000)
  const code = await new Promise<number | null>((resolve, reject) => child.once('close', resolve).once('error', reject))
  clearTimeout(limit)
  rmSync(directory, { recursive: true, force: true })
  if (code === null) process.stderr.write('ended before its time\n')
  return code ?? 1
}

async function inside(directory: string, options: Options): Promise<void> {
  execFileSync('ip', ['link', 'set', 'lo', 'up'])
  for (const row of options.rows) {
    const samples = await measureRow(row, join(directory, row), options)
    report(row, options, samples)
  }
}

async function measureRow(row: Row, directory: string, options: Options): Promise<Samples> {
  mkdirSync(directory)
  await using stack = new AsyncDisposableStack()
  const tls = row === 'mtls' ? await certificates(directory) : undefined
  const start = async (...given: Parameters<typeof Program.start>): Promise<Program> => stack.use(await Program.start(...given))
  const backend = write(directory, 'backend.conf', backendConfig(folder(directory, 'backend'), BACKEND, tls?.backend))
  await start('the backend', CORES[1], ['nginx', '-c', backend, '-e', 'stderr'], [BACKEND.app, BACKEND.canary])
  const contenders: Contender[] = []
  for (const [index, name] of options.only.entries()) {
    const port = FIRST_PORT + index
    const program = await start(name, CORES[0], commandOf(name, port, directory, tls?.proxy, options), [port])
    contenders.push({ name, program, port: tls === undefined ? port : port + ORIGINATOR_OFFSET })
  }
  if (tls !== undefined) {
    const pairs = contenders.map(({ port }) => ({ plain: port, secure: port - ORIGINATOR_OFFSET }))
    const config = write(directory, 'originator.cfg', originatorConfig(pairs, tls.client))
    const ports = pairs.map(({ plain }) => plain)
    await start('the originator', CORES[1], ['haproxy', '-db', '-f', config], ports)
  }
  for (const { name, port, program } of contenders) {
    const share = await checkProxy(name, port)
    process.stderr.write(`${row}: warming up ${name} (canary ${(share * 100).toFixed(0)} %)\n`)
    await load(CORES[1], port, 16, WARM_UP_SECONDS[0], program)
    await load(CORES[1], port, Math.max(...options.connections), WARM_UP_SECONDS[1], program)
  }
  return await measureAll(row, contenders, options)
}

async function measureAll(row: Row, contenders: readonly Contender[], { rounds, seconds, connections }: Options): Promise<Samples> {
  const samples: Samples = new Map()
  for (let round = 1; round <= rounds; round++) {
    for (const count of connections) {
      process.stderr.write(`${row}: round ${round} of ${rounds}, ${count} connections\n`)
      // Forth and back, so that a drift of the machine's speed meets everybody.
      for (const { name, program, port } of round % 2 === 1 ? contenders : contenders.toReversed()) {
        const key = `${count} ${name}`
        const all = samples.get(key) ?? []
        all.push(await load(CORES[1], port, count, seconds, program))
        samples.set(key, all)
      }
    }
  }
  return samples
}

function commandOf(name: Name, port: number, directory: string, tls: TlsFiles | undefined, options: Options): readonly string[] {
  switch (name) {
    case 'envoy': {
      const config = write(directory, 'envoy.json', JSON.stringify(envoyConfig(port, BACKEND, tls)))
      return [process.env.ENVOY ?? 'envoy', '-c', config, '--concurrency', '1', '--disable-hot-restart', '--log-level', 'error']
    }
    case 'haproxy':
      return ['haproxy', '-db', '-f', write(directory, 'haproxy.cfg', haproxyConfig(port, BACKEND, tls))]
    case 'nginx': {
      const config = write(directory, 'nginx.conf', nginxProxyConfig(folder(directory, 'nginx'), port, BACKEND, tls))
      return ['nginx', '-c', config, '-e', 'stderr']
    }
    case 'weft': {
      const read = (file: string): string => readFileSync(file, 'utf8')
      const pem = tls === undefined ? {} : { tls: { cert: read(tls.cert), key: read(tls.key), ca: read(tls.ca) } }
      const given: WeftOptions = { port, ports: BACKEND, log: options.hasAccessLog ? 'info' : 'off', ...pem }
      const profile = options.profile === undefined ? [] : ['--cpu-prof', '--cpu-prof-dir', options.profile]
      return [process.execPath, ...WAYPOINT_NODE_FLAGS, ...profile, join(import.meta.dirname, 'http-weft.ts'), JSON.stringify(given)]
    }
  }
}

/** Identities by one authority: the client's (its ztunnel), the proxies', the backend's, which proxies know by its name. */
async function certificates(directory: string): Promise<Record<'client' | 'proxy' | 'backend', TlsFiles>> {
  await using ca = await TestCa.start()
  const { csrPem, keyPem } = await createCsr({ id: idOf('backend') })
  const csr = await checkCsr(csrPem)
  if (!csr.ok) throw new Error(csr.errors.join('; '))
  const issued = await ca.authority.issue({ publicKey: csr.value.publicKey, dns: ['backend.bench'] })
  const files = (name: string, pem: { cert: string; key: string; ca: string }): TlsFiles => ({
    cert: write(directory, `${name}.crt`, `${pem.cert}\n`),
    key: write(directory, `${name}.key`, pem.key),
    pem: write(directory, `${name}.pem`, `${pem.cert}\n${pem.key}`),
    ca: write(directory, `${name}.ca`, pem.ca),
  })
  return {
    client: files('client', await ca.workload(idOf('client'))),
    proxy: files('proxy', await ca.workload(idOf('waypoint'))),
    backend: files('backend', { cert: issued.chainPem.join('\n'), key: keyPem, ca: issued.rootsPem }),
  }
}

function idOf(name: string): SpiffeId {
  return `spiffe://cluster.local/ns/shop/sa/${name}` as SpiffeId
}

function report(row: Row, { connections, only }: Options, samples: Samples): void {
  const values = (count: number, name: Name, key: keyof Sample): number[] =>
    (samples.get(`${count} ${name}`) ?? []).map((sample) => sample[key])
  const peers = only.filter((name) => name !== 'weft')
  const hasRatios = only.includes('weft') && peers.length > 0
  const line = (count: number, title: string, key: keyof Sample): string[] => {
    // Of the same round, some seconds apart: what disturbed one disturbed the other.
    const ratio = (peer: Name): string => {
      const theirs = values(count, peer, key)
      return median(values(count, 'weft', key).map((value, round) => value / (theirs[round] ?? Number.NaN))).toFixed(2)
    }
    const numbers = only.map((name) => median(values(count, name, key)).toPrecision(3))
    return [`${count} connections`, title, ...numbers.map((text) => String(Number(text))), ...(hasRatios ? peers.map(ratio) : [])]
  }
  const rows = connections.flatMap((count) => [
    line(count, 'requests/s', 'perSecond'),
    line(count, 'p50 µs', 'p50'),
    line(count, 'p99 µs', 'p99'),
    line(count, 'CPU ms per 1,000', 'cpu'),
    line(count, 'share of the core', 'busy'),
  ])
  const header = [row, '', ...only, ...(hasRatios ? peers.map((peer) => `weft/${peer}`) : [])]
  process.stdout.write(`${formatTable(header, rows)}\n${readFileSync('/proc/loadavg', 'utf8').trim()}\n\n`)
}

function folder(directory: string, name: string): string {
  const path = join(directory, name)
  mkdirSync(path)
  return path
}

function write(directory: string, name: string, text: string): string {
  const path = join(directory, name)
  writeFileSync(path, text, { mode: 0o600 })
  return path
}

function secondsOf({ rounds, seconds, connections, rows, only }: Options): number {
  return (
    rows.length * (ROW_SECONDS + only.length * (WARM_UP_SECONDS[0] + WARM_UP_SECONDS[1] + 6 + rounds * connections.length * (seconds + 2)))
  )
}

function parse(args: readonly string[]): Options {
  const value = (flag: string, standard: string): string => (args.includes(flag) ? (args[args.indexOf(flag) + 1] ?? '') : standard)
  const number = (flag: string, text: string): number => {
    const parsed = Number(text)
    if (!Number.isInteger(parsed) || parsed < 1 || parsed > 4096) throw new Error(`${flag} takes whole numbers from 1 to 4096`)
    return parsed
  }
  const choice = <T extends string>(flag: string, all: readonly T[]): T[] =>
    value(flag, all.join(','))
      .split(',')
      .map((text) => {
        const found = all.find((one) => one === text)
        if (found === undefined) throw new Error(`${flag}: there is no ${JSON.stringify(text)}; there are ${all.join(', ')}`)
        return found
      })
  return {
    rounds: number('--rounds', value('--rounds', '3')),
    seconds: number('--seconds', value('--seconds', '2')),
    connections: value('--connections', '1,16,128,512')
      .split(',')
      .map((text) => number('--connections', text)),
    rows: choice('--rows', ROWS),
    only: choice('--only', CONTENDERS),
    profile: args.includes('--profile') ? value('--profile', '') : undefined,
    hasAccessLog: args.includes('--access-log'),
  }
}

if (import.meta.main) {
  const [first, directory = '', ...rest] = process.argv.slice(2)
  if (first === '--inside') await inside(directory, parse(rest))
  else process.exitCode = await outside(process.argv.slice(2))
}
