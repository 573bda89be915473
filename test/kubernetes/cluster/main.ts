// The test cluster by hand: `node scripts/run.mjs cluster up|mesh|down|load|in|kubectl`; `help` says how.
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { Cluster } from './cluster.ts'
import { type ClusterOptions, clusterLayout } from './layout.ts'
import { installMesh } from './mesh.ts'
import { inNode } from './node.ts'
import { interrupt, isAlive } from './processes.ts'
import { removeCluster } from './remove.ts'

const HELP = `A real Kubernetes for tests. Needs root.
  up [--id NAME] [--number 0-63] [--nodes N] [--proxy nftables|iptables] [--dns]   start; prints the kubeconfig
  mesh [--id NAME] [--number 0-63]           the same without kube-proxy, with cluster DNS, with the mesh and the sample's image on it
  down [--id NAME] [--keep-logs]             remove everything
  load [--id NAME] ARCHIVE…                  give every node an image
  kubectl [--id NAME] -- ARGS…               the cluster's kubectl, as administrator
  in [--id NAME] NODE -- COMMAND…            run something in a node's namespaces (crictl's place: ctr -n k8s.io …)
  guard --id NAME --pid PID                  wait until the process has ended, then remove the cluster
NAME begins the names of everything (default weft); the number picks the networks (default 0): both differ between clusters.
`
const GUARD_POLL_MS = 300

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    id: { type: 'string', default: 'weft' },
    number: { type: 'string', default: '0' },
    nodes: { type: 'string', default: '2' },
    proxy: { type: 'string' },
    dns: { type: 'boolean', default: false },
    pid: { type: 'string' },
    'keep-logs': { type: 'boolean', default: false },
  },
})
const [action, ...words] = positionals

try {
  process.exitCode = await act()
} catch (error) {
  const cause = (error as Error).cause
  process.stderr.write(`${(error as Error).message}${cause === undefined ? '' : `\n${cause}`}\n`)
  process.exitCode = 1
}

async function act(): Promise<number> {
  if (action === 'up') return up()
  if (action === 'mesh') return mesh()
  if (action === 'down') return down()
  if (action === 'guard') return guardUntilGone()
  if (action === 'load') return load()
  if (action === 'kubectl' || action === 'in') return inside()
  process.stdout.write(HELP)
  return action === 'help' ? 0 : 2
}

/** A cluster to try the mesh on: what fails leaves it as it is, to be looked at. */
async function mesh(): Promise<number> {
  Object.assign(values, { dns: true, proxy: undefined })
  const status = await up()
  if (status !== 0) return status
  const cluster = await Cluster.find(values.id)
  return installMesh(cluster, 'localhost/weft:dev', (words) => {
    const command = [join(import.meta.dirname, '../../../cli/main.ts'), ...words]
    return spawnSync(process.execPath, command, { stdio: 'inherit', env: { ...process.env, ...cluster.env } }).status ?? 1
  })
}

async function up(): Promise<number> {
  const { id, proxy } = values
  if (proxy !== undefined && proxy !== 'nftables' && proxy !== 'iptables') throw new Error(`--proxy ${proxy}: nftables or iptables`)
  const options: ClusterOptions = { id, number: Number(values.number), nodes: Number(values.nodes), proxy, hasDns: values.dns }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, interrupt)
  const begunMs = performance.now()
  const cluster = await Cluster.up(options, (sentence) => process.stderr.write(`${sentence}\n`))
  process.stderr.write(`up after ${((performance.now() - begunMs) / 1000).toFixed(1)} s\n`)
  process.stdout.write(`export KUBECONFIG=${cluster.layout.kubeconfig} PATH=${cluster.binaries.dir}:$PATH\n`)
  return 0
}

async function down(): Promise<number> {
  await removeCluster(clusterLayout({ id: values.id, number: 0, nodes: 0 }), values['keep-logs'])
  return 0
}

async function guardUntilGone(): Promise<number> {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined)
  while (isAlive(Number(values.pid))) await sleep(GUARD_POLL_MS)
  return down()
}

async function load(): Promise<number> {
  const cluster = await Cluster.find(values.id)
  for (const archive of words) await cluster.load(archive)
  return 0
}

async function inside(): Promise<number> {
  const cluster = await Cluster.find(values.id)
  const command =
    action === 'kubectl'
      ? [cluster.binaries.path('kubectl'), ...words]
      : inNode(cluster.layout, Number((words[0] ?? '').replace(/^node/, '')), words.slice(1))
  const [program = '', ...args] = command
  return spawnSync(program, args, { stdio: 'inherit', env: { ...process.env, ...cluster.env } }).status ?? 1
}
