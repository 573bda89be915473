// Waits until the mesh's own workloads are ready and says what it waits for; after a while also why.
import { type Clock, pause } from '../../kit/clock.ts'
import { printNote } from '../output.ts'
import { type AnyObject, type AnyObjects, KIND } from '../cluster/any-objects.ts'
import { type Count, countOf, describeCounts, type HeldPod, reasonOf, type Rollout } from './progress.ts'

/** The workloads of the chart. */
export const WORKLOADS = [
  { kind: KIND.deployments, name: 'controlplane' },
  { kind: KIND.daemonsets, name: 'cni' },
  { kind: KIND.daemonsets, name: 'ztunnel' },
] as const

/** What to wait for and how long. */
export interface WaitOptions {
  readonly cluster: Pick<AnyObjects, 'get' | 'list'>
  readonly namespace: string
  readonly names: readonly string[]
  readonly timeoutMs: number
  readonly clock: Clock
  readonly tell?: (line: string) => void
}

const POLL_MS = 500
const REASONS_AFTER_MS = 8000
const MOST_REASONS = 3

/** @returns whether everything is ready, and else what holds it up, a sentence each */
export async function waitReady(options: WaitOptions): Promise<{ readonly isReady: boolean; readonly reasons: readonly string[] }> {
  const { clock, timeoutMs, tell = printNote } = options
  const beganMs = clock.monotonicMs()
  let told = ''
  const say = (line: string): void => {
    if (line !== told) tell(line)
    told = line
  }
  for (;;) {
    const open = describeCounts(await countsOf(options))
    if (open === undefined) return { isReady: true, reasons: [] }
    const sinceMs = clock.monotonicMs() - beganMs
    const reasons = sinceMs > REASONS_AFTER_MS ? await reasonsOf(options) : []
    if (sinceMs > timeoutMs) return { isReady: false, reasons: reasons.length > 0 ? reasons : [open] }
    say(reasons.length > 0 ? `${open}: ${reasons.join('; ')}` : open)
    await pause(clock, POLL_MS)
  }
}

function countsOf({ cluster, namespace, names }: WaitOptions): Promise<Count[]> {
  return Promise.all(
    WORKLOADS.filter(({ name }) => names.includes(name)).map(async ({ kind, name }) => {
      const rollout = await cluster.get<Rollout>(kind, namespace, name)
      return rollout === undefined ? { name, ready: 0, want: 1 } : countOf(rollout)
    }),
  )
}

async function reasonsOf({ cluster, namespace, names }: WaitOptions): Promise<string[]> {
  const pods = await cluster.list<HeldPod & AnyObject>(KIND.pods, namespace, 'app.kubernetes.io/part-of=weft')
  const reasons = pods
    .filter(({ metadata }) => metadata.deletionTimestamp === undefined && names.includes(metadata.labels?.app ?? ''))
    .map(reasonOf)
    .filter((reason) => reason !== undefined)
  return [...new Set(reasons)].slice(0, MOST_REASONS)
}
