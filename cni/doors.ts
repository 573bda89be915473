// The agent's doors with what is behind them: the plugin's calls, the local runtime's kubelet, and monitoring.
import { messageOf } from '../kit/error.ts'
import type { Log } from '../kit/log.ts'
import type { Readiness } from '../kit/ready.ts'
import type { Agent } from './agent.ts'
import type { AgentMetrics } from './metrics.ts'
import type { AgentObjects } from './objects.ts'
import { placeOf } from './place.ts'
import { PluginCalls, type PluginCallsOptions } from './plugin/calls.ts'
import { isWhole, type RepairOptions } from './repair.ts'
import type { PluginRequest } from './request.ts'
import { type Door, serveMetrics, serveMonitoring, servePlugin } from './server.ts'
import type { AgentSettings } from './settings.ts'
import type { Ztunnels } from './ztunnels.ts'

/** What the doors lead to. */
export interface DoorsOptions {
  readonly settings: AgentSettings
  readonly agent: Agent
  readonly objects: AgentObjects
  readonly ztunnels: Pick<Ztunnels, 'awayMs'>
  readonly readiness: Pick<Readiness, 'waitingFor'>
  readonly metrics: AgentMetrics
  readonly excludedNamespaces: ReadonlySet<string>
  readonly repair: RepairOptions
  /** Names of what start-up still waits for; empty = ready. */
  waitingFor(): string[]
  /** More for people. */
  dump(): unknown
  readonly log: Log
}

/** A ztunnel that is replaced is away for moments; the runtime takes the node down when the plugin says that it is limited. */
const ZTUNNEL_AWAY_MS = 30_000

/** Opens all; the caller closes them. @throws when a socket or port is taken */
export async function openDoors(options: DoorsOptions): Promise<Door[]> {
  const { settings, agent, metrics, log } = options
  const calls = pluginCalls(options)
  const plugin = await servePlugin(
    settings.cniPath,
    {
      call: (headers, text) => calls.answer(headers, text),
      add: (request) => addPod(options, request),
      remove: ({ uid, namespace, name }) => agent.remove(uid ?? agent.uidOf(namespace, name) ?? ''),
      onAnswer: (status) => metrics.answered(status),
    },
    log.scope('plugin'),
  )
  const { monitoringPort: port } = settings
  const monitoring = { port, registry: metrics.registry, waitingFor: () => options.waitingFor(), dump: () => options.dump(), log }
  return [plugin, await serveMonitoring(monitoring), ...(await metricsDoor(options))]
}

/** Pods must start though somebody else has the port: that nothing is scraped is seen by who scrapes. */
async function metricsDoor({ settings, metrics: { registry }, log }: DoorsOptions): Promise<Door[]> {
  const { metricsPort: port, metricsIp: ip } = settings
  if (port === 0) return []
  try {
    return [await serveMetrics({ ip, port, registry, log })]
  } catch (error) {
    log.error('metrics are not served', { ip, port, error: messageOf(error) })
    return []
  }
}

function pluginCalls(options: DoorsOptions): PluginCalls {
  const { settings, agent, objects, excludedNamespaces, repair, log } = options
  const { cmdaddTimeoutMs, netnsDir } = settings
  return new PluginCalls({
    agent,
    objects,
    excludedNamespaces,
    cmdaddTimeoutMs,
    netnsPath: (path) => path.replace(/^\/(var\/)?run\/netns(?=\/)/, netnsDir),
    readiness: () => pluginReadiness(options),
    isWhole: (uid) => {
      const runner = agent.runners().get(uid)
      return runner !== undefined && isWhole(repair, runner)
    },
    log: log.scope('plugin'),
  })
}

function pluginReadiness({ readiness, ztunnels }: DoorsOptions): ReturnType<PluginCallsOptions['readiness']> {
  const waiting = readiness.waitingFor()
  if (waiting.length > 0) return { kind: 'away', why: `the agent waits for ${waiting.join(', ')}` }
  return ztunnels.awayMs() < ZTUNNEL_AWAY_MS ? { kind: 'ready' } : { kind: 'limited', why: 'no ztunnel is connected to the agent' }
}

async function addPod({ agent, objects, settings }: DoorsOptions, request: PluginRequest): Promise<string> {
  const { namespace, name, uid, netns, ips, hostInterface } = request
  const pod = await objects.currentPod(namespace, name, uid)
  const owner = await objects.currentNamespace(namespace)
  return agent.add(placeOf({ pod, netns, ips, hostInterface }), pod, owner, settings.cmdaddTimeoutMs)
}
