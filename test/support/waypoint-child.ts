// A waypoint in a process of its own, so that its memory can be measured: node waypoint-child.ts JSON. Tells the port of its door
// and a client's credentials, and ends with its standard input. `startWaypoint` is the test's side.
import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import tls from 'node:tls'
import { connectHbone, type HboneClientConnection } from '../../hbone/client.ts'
import type { TrafficPolicy } from '../../model/backend.ts'
import type { AppProtocol } from '../../model/service.ts'
import { WAYPOINT_NODE_FLAGS } from '../../runtime/node-flags.ts'
import { policy, REVIEWS } from './flow-case.ts'
import { podOf } from './waypoint-lab.ts'
import { WaypointWorld } from './waypoint-world.ts'

/** What it serves: `10.96.0.1:80` leads to these ports of this machine. */
export interface ChildOptions {
  readonly ports: readonly number[]
  readonly appProtocol?: AppProtocol
  readonly policy?: Partial<TrafficPolicy>
}

interface Told {
  readonly port: number
  readonly credentials: { readonly key: string; readonly cert: string; readonly ca: string }
}

const FORGET_MS = 100
const COLLECTOR = join(import.meta.dirname, 'collect-garbage.ts')
const COLLECT_MS = 1500

/** Authority of the service. */
export const SERVICE = '10.96.0.1:80'

/** A running waypoint. */
export interface WaypointProcess extends AsyncDisposable {
  readonly pid: number
  /** A new HBONE connection of the client. */
  dial(): Promise<HboneClientConnection>
  /** With garbage; `collect` before it shows what is held. */
  pssBytes(): number
  /** Has the garbage collected. */
  collect(): Promise<void>
}

/** Starts one. */
export async function startWaypoint(options: ChildOptions): Promise<WaypointProcess> {
  const args = [...WAYPOINT_NODE_FLAGS, '--import', COLLECTOR, import.meta.filename, JSON.stringify(options)]
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  const { port, credentials } = await told(child)
  const pid = child.pid ?? 0
  return {
    pid,
    async dial() {
      const socket = tls.connect({ host: '127.0.0.1', port, ...credentials, ALPNProtocols: ['h2'], checkServerIdentity: () => undefined })
      await new Promise((resolve, reject) => socket.once('secureConnect', resolve).once('error', reject))
      return connectHbone(socket)
    },
    pssBytes: () => 1024 * Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1]),
    async collect() {
      child.kill('SIGUSR2')
      await new Promise((resolve) => setTimeout(resolve, COLLECT_MS))
    },
    async [Symbol.asyncDispose]() {
      const ended = new Promise((resolve) => child.once('exit', resolve))
      child.stdin.end()
      await ended
    },
  }
}

async function told(child: ChildProcess): Promise<Told> {
  if (child.stdout === null) throw new Error('no output')
  for await (const line of createInterface(child.stdout)) return JSON.parse(line) as Told
  throw new Error('the waypoint has not started')
}

async function run(): Promise<void> {
  const options = JSON.parse(process.argv[2] ?? '{}') as ChildOptions
  const { ports, appProtocol } = options
  const backends = policy(options.policy ?? {})
  const world = await WaypointWorld.start({ isPlain: true, backends, ...(appProtocol === undefined ? {} : { appProtocol }) })
  const upserts = ports.map((targetPort, index) =>
    podOf(`reviews-${index + 1}`, `127.0.0.${index + 1}`, [], {
      services: new Map([[REVIEWS, [{ servicePort: 80, targetPort }]]]),
      protocol: 'NONE',
    }),
  )
  world.waypoint.context.config.apply({ workloads: { upserts, removes: [] } })
  setInterval(() => world.lines.splice(0), FORGET_MS) // the world keeps its log, which is not the waypoint's memory
  const { key, cert, ca } = await world.credentials()
  console.log(JSON.stringify({ port: world.waypoint.ports.hbone, credentials: { key: String(key), cert: String(cert), ca: String(ca) } }))
  for await (const _ of process.stdin);
  process.exit(0)
}

if (import.meta.main) await run()
