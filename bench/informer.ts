// What the copy of a big cluster costs: 50,000 pods with their slices, services, nodes and accounts, listed over HTTP in pages.
//   node_modules/.bin/node bench/informer.ts [--pods N] [--peer]     --peer: also @kubernetes/client-node's own informer, pods only
// The API server is a process of its own; each contender is one, too, so that its memory is its own.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { KubernetesSource } from '../controlplane/source/kubernetes/kubernetes-source.ts'
import { formatTable } from '../cli/output.ts'
import { systemClock } from '../kit/clock.ts'
import { createLog } from '../kit/log.ts'
import { KubeClient } from '../objects/kube/kube-client.ts'
import { RenewedConnection } from '../objects/kube/connection.ts'
import { CHANGES, serveCluster } from './informer-cluster.ts'
import { cpuSeconds } from './measure.ts'

interface Report {
  readonly what: string
  readonly seconds: number
  readonly cpu: number
  readonly rss: number
  readonly peak: number
  readonly heap: number
  readonly changesCpu: number
}

async function main(pods: number, hasPeer: boolean): Promise<void> {
  const fake = serveCluster(pods)
  await once(fake.server, 'listening')
  const { port } = fake.server.address() as AddressInfo
  const rows: string[][] = []
  for (const what of hasPeer ? ['weft', 'client-node'] : ['weft']) {
    const sentBefore = fake.sentBytes()
    const child = fork(import.meta.filename, ['--child', what, String(port), String(pods)], { execArgv: ['--no-warnings'] })
    const report = await new Promise<Report>((resolve, reject) => {
      child.on('message', (message) => (message === 'synced' ? fake.change() : resolve(message as Report)))
      child.on('exit', (code) => reject(new Error(`${what} ended with ${code}`)))
    })
    child.kill()
    const megabytes = (fake.sentBytes() - sentBefore) / 1e6
    rows.push([
      what,
      megabytes.toFixed(0),
      ...[report.seconds, report.cpu].map((n) => n.toFixed(1)),
      ...[report.rss, report.peak, report.heap].map((n) => n.toFixed(0)),
      ((report.changesCpu * 1e6) / CHANGES).toFixed(0),
    ])
  }
  process.stdout.write(
    `${formatTable(['contender', 'MB sent', 'sync s', 'CPU s', 'RSS MB', 'peak MB', 'heap MB', 'CPU us/change'], rows)}\n`,
  )
  fake.server.closeAllConnections()
  fake.server.close()
}

async function child(what: string, port: number, pods: number): Promise<void> {
  const url = `http://127.0.0.1:${port}`
  const start = performance.now()
  const count = what === 'weft' ? await startWeft(url) : await startPeer(url)
  const seconds = (performance.now() - start) / 1000
  const cpu = cpuSeconds([process.pid])
  await delay(3000) // what the list left behind is given back
  const { rss, heapUsed } = process.memoryUsage()
  const before = cpuSeconds([process.pid])
  process.send?.('synced')
  while (count().changes < CHANGES) await delay(20)
  const changesCpu = cpuSeconds([process.pid]) - before
  if (count().pods !== pods) throw new Error(`${count().pods} pods`)
  const peak = process.resourceUsage().maxRSS / 1024
  process.send?.({
    what,
    seconds,
    cpu,
    rss: rss / 1e6,
    peak: (peak * 1024 * 1024) / 1e6,
    heap: heapUsed / 1e6,
    changesCpu,
  } satisfies Report)
  await once(process, 'disconnect')
}

type Count = () => { readonly pods: number; readonly changes: number }

async function startWeft(url: string): Promise<Count> {
  const connection = new RenewedConnection(systemClock, async () => ({ server: url, tls: {}, headers: {} }))
  const api = new KubeClient({ connection })
  const source = new KubernetesSource({ api, log: createLog({ process: 'bench', levels: 'error' }), clock: systemClock })
  let changes = 0
  source.onChange(() => void changes++)
  await source.start(new AbortController().signal)
  return () => ({ pods: [...source.objects('pods')].length, changes })
}

async function startPeer(url: string): Promise<Count> {
  const { CoreV1Api, KubeConfig, makeInformer } = await import('@kubernetes/client-node')
  const config = new KubeConfig()
  config.loadFromClusterAndUser({ name: 'c', server: url, skipTLSVerify: true }, { name: 'u' })
  const core = config.makeApiClient(CoreV1Api)
  const informer = makeInformer(config, '/api/v1/pods', () => core.listPodForAllNamespaces())
  let changes = 0
  informer.on('update', () => void changes++)
  await informer.start()
  return () => ({ pods: informer.list().length, changes })
}

const args = process.argv.slice(2)
const value = (flag: string, fallback: number): number => (args.includes(flag) ? Number(args[args.indexOf(flag) + 1]) : fallback)
if (args[0] === '--child') await child(args[1] ?? '', Number(args[2]), Number(args[3]))
else await main(value('--pods', 50_000), args.includes('--peer'))
