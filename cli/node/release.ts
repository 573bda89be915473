// weft release --local: takes the pods of the Kubernetes node that we run on out of the mesh, with every component dead and no API
// server in reach. Needs the agent's files and the pins in bpffs; runs as root in the node's network namespace.
import { clearRedirect, lastMode, openRedirect } from '../../cni/redirect/open.ts'
import type { Redirect } from '../../cni/redirect/redirect.ts'
import { isGone, openPodNetns, PodFiles, type PodRecord } from '../../cni/pods.ts'
import { type Clock, pause } from '../../kit/clock.ts'
import { messageOf } from '../../kit/error.ts'
import { createLog, type Log } from '../../kit/log.ts'
import { cliFailure } from '../errors.ts'
import { removeMark, setMark } from './marks.ts'
import { attachedCgroup, isAgentAlive, type NodePaths, stateDirOf } from './paths.ts'

const AGENT_WAIT_MS = 15_000
const POLL_MS = 200

/** `namespace` undefined = every pod of the node. `hard`: programs and maps go, too, and service addresses with them. */
export interface LocalRelease {
  readonly namespace: string | undefined
  readonly isHard: boolean
  readonly isResume: boolean
}

/**
 * Marks first, so that no agent captures the pods again; then a living agent lets go by itself, and for a dead one we do it.
 * @returns what was done, a sentence each
 * @throws MeshError NODE_ALIVE when the agent does not let go; of bpf/ and linux/ when a namespace's pods cannot be released
 */
export async function releaseHere(paths: NodePaths, request: LocalRelease, clock: Clock): Promise<string[]> {
  const { namespace, isHard, isResume } = request
  if (isResume) return resume(paths, namespace)
  setMark(paths.nodeDir, namespace, new Date(clock.nowMs()).toISOString())
  const log = createLog({ process: 'release', levels: 'off' })
  const affected = (): PodRecord[] =>
    new PodFiles(stateDirOf(paths), log).load().filter(({ place }) => namespace === undefined || place.namespace === namespace)
  if (await isAgentAlive(paths)) return waitForAgent(affected, clock)
  if (isHard && namespace === undefined) return everything(paths, affected(), log)
  return withoutAgent(paths, affected(), namespace, { log, clock })
}

function resume(paths: NodePaths, namespace: string | undefined): string[] {
  const what = namespace === undefined ? 'this node' : `namespace ${namespace} on this node`
  const hadMark = removeMark(paths.nodeDir, namespace)
  return [hadMark ? `${what}: the agent enrols its pods again` : `${what}: was not released`]
}

async function waitForAgent(affected: () => readonly PodRecord[], clock: Clock): Promise<string[]> {
  const names = affected()
    .filter(isIn)
    .map(({ place }) => `${place.namespace}/${place.name}`)
  const endMs = clock.monotonicMs() + AGENT_WAIT_MS
  for (;;) {
    const left = affected().filter(isIn)
    if (left.length === 0) return [`the agent has released ${names.length} pods; they speak plaintext`, ...names]
    if (clock.monotonicMs() > endMs) throw cliFailure('NODE_ALIVE', { left: left.map(({ place }) => place.name).join(',') })
    await pause(clock, POLL_MS)
  }
}

function isIn({ enrolment }: PodRecord): boolean {
  return enrolment.stage !== 'out'
}

function withoutAgent(
  paths: NodePaths,
  records: readonly PodRecord[],
  namespace: string | undefined,
  { log, clock }: { readonly log: Log; readonly clock: Clock },
): string[] {
  try {
    using redirect = open(paths, records, { log, clock })
    for (const record of records) releasePod(redirect, record)
  } catch (error) {
    if (namespace !== undefined) throw error // the rest of the node is not ours to release
    return [`the pods cannot be released one by one: ${messageOf(error)}`, ...everything(paths, records, log)]
  }
  return [
    `${records.length} pods released without the agent; they speak plaintext`,
    ...records.map(({ place }) => `${place.namespace}/${place.name}`),
  ]
}

function open(paths: NodePaths, records: readonly PodRecord[], more: { readonly log: Log; readonly clock: Clock }): Redirect {
  const redirect = lastMode(stateDirOf(paths)) ?? 'ebpf'
  const nodeCgroup = paths.cgroup ?? (redirect === 'ebpf' ? attachedCgroup(paths.bpffsDir) : '')
  if (nodeCgroup === undefined) throw cliFailure('NOT_INSTALLED', { what: `nothing of weft is pinned below ${paths.bpffsDir}` })
  const settings = { redirect, bpffsDir: paths.bpffsDir, nodeCgroup, isDnsRequired: true, stateDir: stateDirOf(paths) }
  return openRedirect({ settings, places: () => records.map(({ place }) => place), ...more }).redirect
}

function releasePod(redirect: Redirect, { place }: PodRecord): void {
  try {
    using netns = openPodNetns(place)
    const { uid, cookie, ips, hostIfindex } = place
    const pod = { uid, netnsFd: netns.fd, cookie, ips, hostIfindex }
    redirect.guardOff(pod)
    redirect.releaseOutbound(pod)
    redirect.unsteerInbound(pod)
    redirect.leave(pod)
  } catch (error) {
    if (!isGone(error)) throw error // the pod went away meanwhile
    redirect.forget(place)
  }
}

/** Whatever the last agent put into the kernel; connections that ztunnel carries break off. @throws MeshError RELEASE_UNFINISHED */
function everything(paths: NodePaths, records: readonly PodRecord[], log: Log): string[] {
  const settings = { bpffsDir: paths.bpffsDir, stateDir: stateDirOf(paths) }
  const { mode, removed, failed } = clearRedirect({ settings, places: () => records.map(({ place }) => place), log })
  if (failed.length > 0) throw cliFailure('RELEASE_UNFINISHED', { what: `pods still have rules: ${failed.join('; ')}` })
  if (mode === 'ebpf') return [`${removed.length} programs and maps removed; service addresses that weft served are gone, too`]
  return [`the rules of the node and of ${removed.length} pods removed; they speak plaintext`, ...removed]
}
