// The mesh against its peers in one run: raw TCP, a pair of Envoys, our ztunnel pair, and Istio's ztunnel pair when ZTUNNEL=PATH is given.
// Same pods, same links, same kernel programs; a node is a core; the contenders take turns, and the medians' ratios are what counts.
//   npm run bench [-- --rounds N] [--seconds N] [--only throughput,latency,connections]
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { deployedPod, type TestMesh, testMesh, type TestPod } from '../test/support/mesh.ts'
import { formatTable } from '../cli/output.ts'
import { inNetns, openNetns } from '../linux/netns.ts'
import { startEnvoyPair } from './envoy-pair.ts'
import { cpuSeconds, median, pssMiB } from './measure.ts'

const ROOT = join(import.meta.dirname, '..')
const ECHO_PORT = 7000
/** New connections go to several ports in turn, each with an app of its own. */
const CONNECT_PORTS = [7001, 7002, 7003, 7004, 7005, 7006, 7007, 7008]
const IPERF_PORT = 5201
const PEER = join(ROOT, 'bench/peer.ts')
/**
 * Cores of node-1 and node-2, as two machines would have their own. Left to itself the scheduler often puts both proxies on one
 * core while the other idles: the same build then gives 3.0 to 4.9 Gbit/s.
 */
const CORES = availableParallelism() >= 2 ? ['0', '1'] : ['0', '0']
/** Not counted: code is compiled and windows grow. */
const WARM_UP_SECONDS = 2

interface Contender {
  readonly name: 'raw' | 'envoy' | 'weft' | 'ztunnel'
  readonly client: TestPod
  /** What the client dials for a port of the server. */
  readonly target: (port: number) => { readonly ip: string; readonly port: number }
  /** Processes whose CPU time counts: both proxies. */
  readonly pids: readonly number[]
}

/** One measurement of one contender; keys become columns. */
type Sample = Readonly<Record<string, number>>

interface Options {
  readonly rounds: number
  readonly seconds: number
  readonly only: readonly string[]
}

const QUESTIONS: Readonly<Record<string, (contender: Contender, seconds: number) => Promise<Sample>>> = {
  throughput: async (contender, seconds) => ({
    ...(await iperf(contender, 'gbit 1 stream', seconds, ['-P', '1'])),
    ...(await iperf(contender, 'gbit 1 stream back', seconds, ['-P', '1', '-R'])),
    ...(await iperf(contender, 'gbit 8 streams', seconds, ['-P', '8'])),
    ...(await iperf(contender, 'gbit 8 streams back', seconds, ['-P', '8', '-R'])),
  }),
  latency: async (contender, seconds) => {
    const { p50, p99, p999 } = await peer(contender, ['ping', ...dialled(contender, ECHO_PORT), '1024', String(seconds)])
    return { 'p50 us': p50 ?? Number.NaN, 'p99 us': p99 ?? Number.NaN, 'p99.9 us': p999 ?? Number.NaN }
  },
  connections: async (contender, seconds) => ({
    ...(await connections(contender, 1, seconds)),
    ...(await connections(contender, CONNECT_PORTS.length, seconds)),
  }),
}

async function main(options: Options): Promise<void> {
  await using ours = await testMesh({ objects: objects(), name: `bench-weft-${process.pid}`, timeoutMs: 60_000 })
  const contenders = [await contender('raw', ours, 'plain', []), await contender('weft', ours, 'meshed', proxyPids(ours))]
  await using envoys = await startEnvoyPair(await ours.pod('plain/client'), await ours.pod('plain/server'), [
    ECHO_PORT,
    IPERF_PORT,
    ...CONNECT_PORTS,
  ])
  const target = (port: number): { ip: string; port: number } => ({ ip: '127.0.0.1', port: envoys.ports.get(port) ?? 0 })
  contenders.splice(1, 0, { name: 'envoy', client: await ours.pod('plain/client'), target, pids: envoys.pids })
  pin(envoys.pids)
  const path = process.env.ZTUNNEL
  await using stock =
    path === undefined
      ? undefined
      : await testMesh({
          objects: objects(),
          name: `bench-stock-${process.pid}`,
          stockZtunnel: { path, nodes: ['node-1', 'node-2'] },
          timeoutMs: 60_000,
        })
  if (stock !== undefined) contenders.push(await contender('ztunnel', stock, 'meshed', proxyPids(stock)))
  else process.stderr.write('ZTUNNEL is not set: no stock ztunnel in this run\n')
  const samples = new Map<string, Sample[]>(contenders.map(({ name }) => [name, []]))
  for (let round = 1; round <= options.rounds; round++) {
    // Forth and back, so that a drift of the machine's speed meets everybody.
    for (const each of round % 2 === 1 ? contenders : contenders.toReversed()) {
      process.stderr.write(`round ${round} of ${options.rounds}: ${each.name}\n`)
      let sample: Sample = {}
      for (const question of options.only) sample = { ...sample, ...(await QUESTIONS[question]?.(each, options.seconds)) }
      samples.get(each.name)?.push(sample)
    }
  }
  report(contenders, samples)
}

function objects(): object[] {
  const namespace = (name: string, labels: Record<string, string>): object => ({
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name, labels },
  })
  const account = (name: string, of: string): object => ({ apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace: of } })
  const echo = [
    ...pinned(1),
    'sh',
    '-c',
    [
      `iperf3 -s -p ${IPERF_PORT} >/dev/null`,
      ...CONNECT_PORTS.map((port) => `${process.execPath} ${PEER} echo 0.0.0.0 ${port} >/dev/null`),
      `exec ${process.execPath} ${PEER} echo 0.0.0.0 ${ECHO_PORT}`,
    ].join(' & '),
  ]
  const pods = (of: string): object[] => [
    account('client', of),
    account('server', of),
    deployedPod(of, 'client', 'node-1', ['sleep', '86400']),
    deployedPod(of, 'server', 'node-2', echo, { readinessProbe: { tcpSocket: { port: ECHO_PORT }, periodSeconds: 1 } }),
  ]
  return [namespace('plain', {}), namespace('meshed', { 'istio.io/dataplane-mode': 'ambient' }), ...pods('plain'), ...pods('meshed')]
}

/** A command in front of one that is to run on a node's core. */
function pinned(node: 0 | 1): readonly string[] {
  return ['taskset', '-c', CORES[node] ?? '0']
}

/** @param pids of the proxies, that of node-1 first */
async function contender(name: Contender['name'], mesh: TestMesh, namespace: string, pids: readonly number[]): Promise<Contender> {
  pin(pids)
  const [client, server] = await Promise.all([mesh.pod(`${namespace}/client`), mesh.pod(`${namespace}/server`)])
  const { ip } = server
  for (const { netnsPath } of [client, server]) forgetClosedConnections(netnsPath)
  return { name, client, target: (port) => ({ ip, port }), pids }
}

/**
 * Keeps few sockets in TIME_WAIT. Istio's ztunnel binds its socket to the app without naming the destination, so that one client has 28,000
 * source ports a minute for all of a pod: after ten seconds at full speed the search for a free one would be all that is measured.
 */
function forgetClosedConnections(netnsPath: string): void {
  using netns = openNetns(netnsPath)
  inNetns(netns.fd, () => writeFileSync('/proc/sys/net/ipv4/tcp_max_tw_buckets', '256')) // follows the thread's namespace
}

function dialled({ target }: Contender, to: number): readonly [string, string] {
  const { ip, port } = target(to)
  return [ip, String(port)]
}

/** Binds running processes with all their threads, the first to node-1's core, the others to node-2's. */
function pin(pids: readonly number[]): void {
  for (const [i, pid] of pids.entries()) execFileSync('taskset', ['-a', '-p', '-c', CORES[Math.min(i, 1)] ?? '0', String(pid)])
}

function proxyPids(mesh: TestMesh): number[] {
  return mesh.mesh.supervisor
    .states()
    .filter(({ name }) => name.startsWith('ztunnel'))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap(({ pid }) => (pid === undefined ? [] : [pid]))
}

async function iperf(contender: Contender, name: string, seconds: number, more: readonly string[]): Promise<Sample> {
  const { client, pids } = contender
  const [ip, port] = dialled(contender, IPERF_PORT)
  const before = cpuSeconds(pids)
  const command = [...pinned(0), 'iperf3', '-c', ip, '-p', port, '-t', String(seconds), '-O', String(WARM_UP_SECONDS), '-J', ...more]
  const { stdout, stderr } = await client.exec(command, { timeoutMs: (seconds + 15) * 1000 })
  const cpu = cpuSeconds(pids) - before
  const result = JSON.parse(stdout) as { error?: string; end: { sum_received: { bits_per_second: number; bytes: number } } }
  if (result.error !== undefined) throw new Error(`iperf3: ${result.error} ${stderr}`)
  const { bits_per_second: bits, bytes } = result.end.sum_received
  // The warm-up is not in `bytes`, but in the CPU time: scaled.
  const share = seconds / (seconds + WARM_UP_SECONDS)
  return { [name]: bits / 1e9, ...(pids.length === 0 ? {} : { [`cpu s/GB ${name.slice(5)}`]: (cpu * share) / (bytes / 1e9) }) }
}

async function connections(contender: Contender, atOnce: number, seconds: number): Promise<Sample> {
  const targets = CONNECT_PORTS.map((port) => contender.target(port))
  const ports = targets.map(({ port }) => port).join(',')
  const before = cpuSeconds(contender.pids)
  const { perSecond = Number.NaN } = await peer(contender, ['connect', targets[0]?.ip ?? '', ports, String(atOnce), String(seconds)])
  const cpu = cpuSeconds(contender.pids) - before
  const name = atOnce === 1 ? 'one by one' : `${atOnce} at once`
  return {
    [`connections/s, ${name}`]: perSecond,
    [`cpu ms/connection, ${name}`]: (cpu * 1000) / (perSecond * (seconds + WARM_UP_SECONDS)),
  }
}

async function peer({ client }: Contender, args: readonly string[]): Promise<Partial<Record<string, number>>> {
  const { stdout, stderr, status } = await client.exec([...pinned(0), process.execPath, PEER, ...args, String(WARM_UP_SECONDS)], {
    timeoutMs: 60_000,
  })
  if (status !== 0) throw new Error(`peer ${args[0]}: ${stderr}`)
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '{}') as Partial<Record<string, number>>
}

function report(contenders: readonly Contender[], samples: ReadonlyMap<string, readonly Sample[]>): void {
  const keys = [...new Set([...samples.values()].flat().flatMap((sample) => Object.keys(sample)))]
  const value = (name: string, key: string): number => median((samples.get(name) ?? []).map((sample) => sample[key] ?? Number.NaN))
  const names = contenders.map(({ name }) => name)
  const peers = names.filter((name) => name === 'envoy' || name === 'ztunnel')
  const rows = keys.map((key) => [
    key,
    ...names.map((name) => value(name, key).toPrecision(3)),
    ...peers.map((name) => (value('weft', key) / value(name, key)).toFixed(2)),
  ])
  rows.push([
    'PSS of a proxy, MiB',
    ...contenders.map(({ pids }) => (pids.length === 0 ? '-' : median(pids.map(pssMiB)).toFixed(0))),
    ...peers.map(() => ''),
  ])
  process.stdout.write(`${formatTable(['', ...names, ...peers.map((name) => `weft/${name}`)], rows)}\n`)
  process.stdout.write(`${readFileSync('/proc/loadavg', 'utf8').trim()}; ${JSON.stringify(Object.fromEntries(samples))}\n`)
}

function parse(args: readonly string[]): Options {
  const value = (flag: string, standard: string): string => args[args.indexOf(flag) + 1] ?? standard
  const has = (flag: string): boolean => args.includes(flag)
  const only = (has('--only') ? value('--only', '') : Object.keys(QUESTIONS).join(',')).split(',')
  const unknown = only.find((question) => QUESTIONS[question] === undefined)
  if (unknown !== undefined)
    throw new Error(`--only: there is no question ${JSON.stringify(unknown)}; there are ${Object.keys(QUESTIONS).join(', ')}`)
  const rounds = Number(has('--rounds') ? value('--rounds', '') : 3)
  const seconds = Number(has('--seconds') ? value('--seconds', '') : 4)
  if (!Number.isInteger(rounds) || rounds < 1 || !Number.isInteger(seconds) || seconds < 1)
    throw new Error('--rounds and --seconds take whole numbers from 1')
  return { rounds, seconds, only }
}

if (import.meta.main) await main(parse(process.argv.slice(2)))
