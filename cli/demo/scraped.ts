// The demo's claim about metrics: where Prometheus (Debian: `prometheus`) is installed, one runs on each node, scrapes the node's ztunnel
// (which answers on the node's loopback only) and the waypoint, and its count of requests is that of the client that sent them.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { MeshError } from '../../kit/error.ts'
import type { NodeLayout } from '../../runtime/layout.ts'
import { getInNetns } from '../../runtime/node-http.ts'
import { which } from '../check.ts'
import { type Claim, claim, SCENE_LIMIT_MS } from './claim.ts'
import { SHOP } from './shop-stage.ts'
import type { Stage } from './stage.ts'

const SAYS = 'Prometheus finds at the waypoint the requests that their client has counted'
const REQUESTS = 2000
const TOLERANCE = 0.01
const METRICS_PORT = 15_020
const PROMETHEUS_PORT = 9090
const SCRAPE_MS = 1000
const LOOPBACK = '127.0.0.1'
const COUNTED = 'sum(istio_requests_total{reporter="waypoint",source_workload="batch",destination_service_name="payments"})'
const TUNNELLED = 'sum(istio_tcp_connections_opened_total)'

/** Asks payments from the batch client and compares its count with Prometheus'; the shop must be behind its waypoint. */
export async function scraped(stage: Stage): Promise<readonly Claim[]> {
  const program = which('prometheus')
  if (program === undefined) return [{ ...claim(SAYS, true, ''), notTried: 'prometheus is not installed' }]
  await using stack = new AsyncDisposableStack()
  stack.defer(() => stage.mesh.supervisor.stop(({ name }) => name.startsWith('prometheus-')))
  const targets = await targetsOf(stage)
  for (const [node, addresses] of targets) start(stage, program, node, addresses)
  const areUp = async (): Promise<boolean> => {
    const up = await Promise.all([...targets].map(([node]) => query(node, 'sum(up)')))
    return [...targets.values()].every((addresses, i) => up[i] === addresses.length)
  }
  if (!(await stage.until(areUp, SCENE_LIMIT_MS))) return [claim(SAYS, false, 'a ztunnel or the waypoint could not be scraped')]
  return [await compare(stage, [...targets.keys()])]
}

async function compare(stage: Stage, nodes: readonly NodeLayout[]): Promise<Claim> {
  const total = async (what: string): Promise<number> =>
    (await Promise.all(nodes.map((node) => query(node, what)))).reduce<number>((sum, value) => sum + (value ?? 0), 0)
  const before = await total(COUNTED)
  const { status } = await stage.load(`${SHOP}/batch`, 'http://payments/version', ['-n', String(REQUESTS)])
  const sent = Object.values(status).reduce((sum, count) => sum + count, 0)
  await stage.until(async () => (await total(COUNTED)) - before >= sent, SCENE_LIMIT_MS)
  await stage.pause(2 * SCRAPE_MS) // too many would come now
  const counted = (await total(COUNTED)) - before
  const tunnelled = await total(TUNNELLED)
  return claim(
    SAYS,
    sent === REQUESTS && Math.abs(counted - sent) <= sent * TOLERANCE && tunnelled > 0,
    `client: ${sent}, Prometheus: ${counted}; connections at ${nodes.length} ztunnels: ${tunnelled}`,
  )
}

/** What the Prometheus of each node scrapes; the waypoint falls to the first. */
async function targetsOf(stage: Stage): Promise<ReadonlyMap<NodeLayout, readonly string[]>> {
  const waypoint = (await stage.pods()).find(({ metadata }) => metadata.name.startsWith('waypoint-'))?.status?.podIP
  if (waypoint === undefined) throw new Error('the waypoint has no pod')
  const ztunnel = `${LOOPBACK}:${METRICS_PORT}`
  return new Map(stage.mesh.nodes.map((node, i) => [node, i === 0 ? [ztunnel, `${waypoint}:${METRICS_PORT}`] : [ztunnel]]))
}

/** Files and process belong to the mesh and end with it, if not before. */
function start(stage: Stage, program: string, node: NodeLayout, targets: readonly string[]): void {
  const folder = join(node.dir, 'prometheus')
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const config = join(folder, 'prometheus.yml')
  const every = `${SCRAPE_MS}ms`
  const jobs = [{ job_name: 'weft', scrape_interval: every, scrape_timeout: every, static_configs: [{ targets }] }]
  writeFileSync(config, JSON.stringify({ scrape_configs: jobs })) // JSON is YAML
  stage.mesh.supervisor.start({
    name: `prometheus-${node.name}`,
    node: node.name,
    netns: node.netns,
    cgroup: join(node.cgroup, 'prometheus'),
    command: [
      program,
      `--config.file=${config}`,
      `--storage.tsdb.path=${join(folder, 'data')}`,
      `--web.listen-address=${LOOPBACK}:${PROMETHEUS_PORT}`,
      '--log.level=warn',
    ],
  })
}

/** The one number that a query gives; undefined while there is none. */
async function query(node: NodeLayout, text: string): Promise<number | undefined> {
  try {
    const { body } = await getInNetns(node.netns, LOOPBACK, PROMETHEUS_PORT, `/api/v1/query?query=${encodeURIComponent(text)}`)
    const { data } = JSON.parse(body) as { readonly data?: { readonly result: readonly { readonly value: readonly [number, string] }[] } }
    const value = data?.result[0]?.value[1]
    return value === undefined ? undefined : Number(value)
  } catch (error) {
    if (error instanceof MeshError || error instanceof SyntaxError) return undefined // it is still starting: no listener, or words
    throw error
  }
}
