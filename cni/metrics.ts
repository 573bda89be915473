// Metrics of the node agent. Names of Istio's agent where it has them (istio/istio:cni/pkg/nodeagent/metrics.go).
import { Counter, Gauge, Registry } from 'prom-client'
import type { Stage } from './machine.ts'
import { STAGES } from './machine.ts'
import type { Redirect } from './redirect/redirect.ts'

/** Our own, name -> help. */
export const AGENT_METRICS = {
  weft_capture_drift_total: 'Differences between the kernel and what it should be that were found and repaired, by kind',
  weft_agent_pods: 'Pods that the agent knows, by stage of enrolment',
  weft_enrolments_total: 'Pods that came to rest, by result',
  weft_zds_refused_total: 'Connections to zds.sock that were not of the ztunnel of this node',
  weft_guard_dropped_total: 'Packets of enrolled pods that the guard on their device dropped, by pod and reason',
  weft_datapath: 'Counters, entries and sizes of the BPF maps of this node, by name',
} as const

/** Istio's, name -> help. */
export const ISTIO_AGENT_METRICS = {
  nodeagent_reconcile_events_total: 'Decisions to enrol or release a pod, by type',
  ztunnel_connected: 'Whether a ztunnel is connected (1) or not (0)',
  istio_cni_plugin_requests_total: 'Requests of the kubelet, by code',
} as const

const HELP = { ...AGENT_METRICS, ...ISTIO_AGENT_METRICS }
type Name = keyof typeof HELP

/** What is read when the metrics are scraped. */
export interface MetricsSource {
  readonly datapath: Pick<Redirect, 'stats' | 'drops'>
  /** Stage and name of each pod, by cookie. */
  pods(): Iterable<{ readonly stage: Stage; readonly namespace: string; readonly name: string; readonly cookie: bigint }>
  isZtunnelConnected(): boolean
}

/** What differed from what it should be. */
export type DriftKind =
  | 'cgroup'
  | 'inbound'
  | 'outbound'
  | 'guard'
  | 'listeners'
  | 'leftover'
  | 'orphan'
  /** Said to be captured, and unknown: the node lost its state. */
  | 'lost'
  /** Started past the plugin. */
  | 'missed'
  | 'conflist'
  | 'plugin'

/** The registry of the process. */
export class AgentMetrics {
  readonly registry = new Registry()
  readonly #reconciled = counter(this.registry, 'nodeagent_reconcile_events_total', ['type'])
  readonly #requests = counter(this.registry, 'istio_cni_plugin_requests_total', ['code'])
  readonly #drift = counter(this.registry, 'weft_capture_drift_total', ['kind'])
  readonly #settled = counter(this.registry, 'weft_enrolments_total', ['result'])
  readonly #refused = counter(this.registry, 'weft_zds_refused_total', [])

  /** Publishes what is read at each scrape; once. */
  observe(source: MetricsSource): void {
    const { registry } = this
    gauge(registry, 'ztunnel_connected', [], (set) => set({}, source.isZtunnelConnected() ? 1 : 0))
    gauge(registry, 'weft_agent_pods', ['stage'], (set) => {
      const stages = [...source.pods()].map((pod) => pod.stage)
      for (const stage of STAGES) set({ stage }, stages.filter((each) => each === stage).length)
    })
    gauge(registry, 'weft_guard_dropped_total', ['namespace', 'pod', 'reason'], (set) => {
      const drops = source.datapath.drops()
      for (const { namespace, name, cookie } of source.pods()) {
        for (const [reason, count] of Object.entries(drops.get(cookie) ?? {})) set({ namespace, pod: name, reason }, Number(count))
      }
    })
    gauge(registry, 'weft_datapath', ['name'], (set) => {
      for (const [name, value] of Object.entries(source.datapath.stats())) set({ name }, Number(value))
    })
  }

  reconciled(type: 'enrol' | 'release'): void {
    this.#reconciled.inc({ type })
  }

  drifted(kind: DriftKind): void {
    this.#drift.inc({ kind })
  }

  settled(result: 'enrolled' | 'failed' | 'out'): void {
    this.#settled.inc({ result })
  }

  zdsRefused(): void {
    this.#refused.inc()
  }

  /** One answer on cni.sock. */
  answered(status: number): void {
    this.#requests.inc({ code: String(status) })
  }
}

function counter(registry: Registry, name: Name, labels: readonly string[]): Counter<string> {
  return new Counter({ name, help: HELP[name], labelNames: [...labels], registers: [registry] })
}

/** Gauges also carry the kernel's own counters, which only it can count up. */
function gauge(
  registry: Registry,
  name: Name,
  labels: readonly string[],
  collect: (set: (values: Record<string, string>, value: number) => void) => void,
): void {
  const made: Gauge<string> = new Gauge({
    name,
    help: HELP[name],
    labelNames: [...labels],
    registers: [registry],
    collect() {
      made.reset()
      collect((values, value) => made.set(values, value))
    },
  })
}
