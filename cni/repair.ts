// Compares the kernel with what it should be, at start and every 30 s, and turns each difference into an event of the pod
// or removes what belongs to nobody. Calls run in the node's network namespace.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { PodState } from '../bpf/datapath.ts'
import { codeOf, messageOf } from '../kit/error.ts'
import type { Log } from '../kit/log.ts'
import { netnsCookie, openNetns } from '../linux/netns.ts'
import type { PodRunner } from './enroll.ts'
import type { EnrolEvent, Enrolment } from './machine.ts'
import type { AgentMetrics, DriftKind } from './metrics.ts'
import { isGone, openPodNetns, type PodPlace } from './pods.ts'
import type { Redirect } from './redirect/redirect.ts'

/** What is wrong with a pod, and the event that repairs it. */
export interface Drift {
  readonly kinds: readonly DriftKind[]
  readonly event: EnrolEvent
}

/** What reconcile works on. */
export interface RepairOptions {
  readonly datapath: Pick<Redirect, 'inspect' | 'pods' | 'forget' | 'isCgroupAttached'>
  /** Attaches the programs of the node's cgroup again. @throws when the kernel refuses */
  reattach(): void
  readonly runners: () => ReadonlyMap<string, PodRunner>
  readonly requiredPorts: readonly number[]
  isZtunnelConnected(): boolean
  /** Where named network namespaces are; state of one of these is never taken for an orphan's. */
  readonly netnsDir: string
  readonly metrics: Pick<AgentMetrics, 'drifted'>
  readonly log: Log
  readonly open?: (place: PodPlace) => Disposable & { readonly fd: number }
  /** Cookies of the named namespaces. */
  readonly livingCookies?: () => ReadonlySet<bigint>
}

/** Pure: what the kernel should say about a pod in a resting stage against what it says. Stages under way have no drift. */
export function driftOf(
  enrolment: Enrolment,
  place: Pick<PodPlace, 'bypassesInbound'>,
  seen: PodState,
  missingPorts: readonly number[],
): Drift | undefined {
  const { stage, isPublished } = enrolment
  if (stage === 'out') return seen.inbound || seen.outbound || seen.guard ? { kinds: ['leftover'], event: 'drift' } : undefined
  if (stage !== 'enrolled' && !(stage === 'failed' && isPublished)) return undefined
  const kinds: DriftKind[] = []
  if (!seen.inbound && !place.bypassesInbound) kinds.push('inbound')
  if (!seen.outbound) kinds.push('outbound')
  if (!seen.guard) kinds.push('guard')
  if (kinds.length > 0) return { kinds, event: 'drift' }
  return missingPorts.length > 0 && stage === 'enrolled' ? { kinds: ['listeners'], event: 'lost' } : undefined
}

/** One round over everything. Faults of one pod do not keep the others from being looked at. */
export function reconcile(options: RepairOptions): void {
  const { datapath, log, metrics } = options
  try {
    if (!datapath.isCgroupAttached()) {
      metrics.drifted('cgroup')
      log.warn("capture was not attached to the node's cgroup; attaching again")
      options.reattach()
    }
    removeOrphans(options)
  } catch (error) {
    log.error('kernel state cannot be compared', { error: messageOf(error) })
  }
  for (const runner of [...options.runners().values()]) {
    try {
      reconcilePod(options, runner)
    } catch (error) {
      log.error('kernel state of a pod cannot be compared', { pod: runner.place.name, error: messageOf(error) })
    }
  }
}

/** Whether the kernel has what an enrolled pod needs; nothing is repaired. @throws MeshError NETNS_GONE */
export function isWhole(
  options: Pick<RepairOptions, 'datapath' | 'open' | 'requiredPorts' | 'isZtunnelConnected'>,
  runner: PodRunner,
): boolean {
  const seen = inspect(options, runner.place)
  return driftOf(runner.enrolment, runner.place, seen, missingPorts(options, seen)) === undefined
}

function inspect(options: Pick<RepairOptions, 'datapath' | 'open'>, place: PodPlace): PodState {
  using netns = (options.open ?? openPodNetns)(place)
  const { uid, cookie, ips, hostIfindex } = place
  return options.datapath.inspect({ uid, cookie, ips, hostIfindex, netnsFd: netns.fd })
}

function missingPorts(options: Pick<RepairOptions, 'requiredPorts' | 'isZtunnelConnected'>, seen: PodState): readonly number[] {
  return options.isZtunnelConnected() ? options.requiredPorts.filter((port) => !seen.listeners.includes(port)) : []
}

function reconcilePod(options: RepairOptions, runner: PodRunner): void {
  const { log, metrics } = options
  const { place } = runner
  let seen: PodState
  try {
    seen = inspect(options, place)
  } catch (error) {
    if (!isGone(error)) throw error
    log.info('pod is gone without a word', { pod: place.name, namespace: place.namespace })
    runner.dispatch('gone')
    return
  }
  const drift = driftOf(runner.enrolment, place, seen, missingPorts(options, seen))
  if (drift === undefined) return
  for (const kind of drift.kinds) metrics.drifted(kind)
  log.warn('kernel state of a pod was not what it should be; repairing', {
    pod: place.name,
    namespace: place.namespace,
    kinds: drift.kinds,
  })
  runner.dispatch(drift.event)
}

/** State of a namespace that no record and no named namespace has: the pod died while no agent ran. */
function removeOrphans(options: RepairOptions): void {
  const { datapath, log, metrics, netnsDir } = options
  const known = new Set([...options.runners().values()].map((runner) => runner.place.cookie))
  const unknown = datapath.pods().filter((cookie) => !known.has(cookie))
  if (unknown.length === 0) return
  const living = (options.livingCookies ?? (() => cookiesBelow(netnsDir)))()
  for (const cookie of unknown) {
    if (living.has(cookie)) {
      log.warn('kernel state of a pod that the agent was not told about is left alone', { cookie: String(cookie) })
      continue
    }
    metrics.drifted('orphan')
    log.warn('kernel state of a dead pod removed', { cookie: String(cookie) })
    datapath.forget({ cookie, hostIfindex: 0 })
  }
}

function cookiesBelow(directory: string): Set<bigint> {
  const cookies = new Set<bigint>()
  for (const name of readdirSync(directory)) {
    try {
      using netns = openNetns(join(directory, name))
      cookies.add(netnsCookie(netns.fd))
    } catch (error) {
      if (!['ENOENT', 'NOT_A_NETNS', 'EISDIR'].includes(codeOf(error))) throw error
    }
  }
  return cookies
}
