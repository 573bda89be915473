// GET /status: nodes, components with memory, pods with enrolment, the last events, and what was released. `weft status` prints it.
import { readFileSync } from 'node:fs'
import { codeOf } from '../kit/error.ts'
import type { Deployment, Event, Pod } from '../model/object.ts'
import { REDIRECTION_ANNOTATION } from './annotations.ts'
import { isReady } from './controllers/deployments.ts'
import { COMPONENT_ANNOTATION, type MeshLayout, type NodeLayout } from './layout.ts'
import { unreadyComponents } from './readiness.ts'
import { type ReleaseMark, readReleases } from './release.ts'
import type { ObjectStore } from './store.ts'
import type { ComponentState, Supervisor } from './supervisor.ts'

/** A component with its memory in bytes: resident, and proportional (shared pages divided by their users). */
export interface ComponentStatus extends ComponentState {
  readonly rssBytes: number | undefined
  readonly pssBytes: number | undefined
  /** What it waits for, by its own word; undefined = ready, or it has no such word. */
  readonly unready: string | undefined
}

/** What `weft status -o json` prints. */
export interface MeshStatus {
  readonly name: string
  readonly hasMesh: boolean
  readonly isReady: boolean
  readonly released: readonly ReleaseMark[]
  readonly nodes: readonly { readonly name: string; readonly ip: string; readonly pods: number }[]
  readonly components: readonly ComponentStatus[]
  readonly pods: readonly {
    readonly namespace: string
    readonly name: string
    readonly node: string | undefined
    readonly ip: string | undefined
    readonly phase: string
    readonly ready: boolean
    readonly restarts: number
    /** `enabled`, `pending`, or `-` when the pod is not enrolled. */
    readonly enrolment: string
  }[]
  readonly events: readonly {
    readonly at: string
    readonly type: string
    readonly object: string
    readonly reason: string
    readonly message: string
    readonly count: number
  }[]
}

const LAST_EVENTS = 20

/** Gathers the status; reads /proc. */
export async function statusOf(
  parts: {
    readonly layout: MeshLayout
    readonly nodes: readonly NodeLayout[]
    readonly store: ObjectStore
    readonly supervisor: Supervisor
  },
  hasMesh: boolean,
): Promise<MeshStatus> {
  const { layout, store, supervisor } = parts
  const pods = (store.list('pods') as Pod[]).filter((pod) => pod.metadata.annotations?.[COMPONENT_ANNOTATION] === undefined)
  const unready = hasMesh ? await unreadyComponents(layout, parts.nodes) : new Map<string, string>()
  const components = supervisor.states().map((state) => ({ ...state, ...memoryOf(state.pid), unready: unready.get(state.name) }))
  const running = [
    {
      name: 'up',
      node: undefined,
      pid: process.pid,
      state: 'running' as const,
      restarts: 0,
      lastExit: undefined,
      unready: undefined,
      ...memoryOf(process.pid),
    },
  ]
  return {
    name: layout.name,
    hasMesh,
    isReady:
      components.every((one) => one.state === 'running' && one.unready === undefined) &&
      (store.list('deployments') as Deployment[]).every(isRolledOut) &&
      pods.every((pod) => isReady(pod) || pod.status?.phase === 'Succeeded'),
    released: readReleases(layout),
    nodes: parts.nodes.map((node) => ({
      name: node.name,
      ip: node.ip.v4,
      pods: pods.filter((pod) => pod.spec?.nodeName === node.name).length,
    })),
    components: [...running, ...components],
    pods: pods.map(podLine),
    events: lastEvents(store),
  }
}

function podLine(pod: Pod): MeshStatus['pods'][number] {
  return {
    namespace: pod.metadata.namespace ?? '',
    name: pod.metadata.name,
    node: pod.spec?.nodeName,
    ip: pod.status?.podIP,
    phase: pod.metadata.deletionTimestamp === undefined ? (pod.status?.phase ?? 'Pending') : 'Terminating',
    ready: isReady(pod),
    restarts: (pod.status?.containerStatuses ?? []).reduce((sum, one) => sum + one.restartCount, 0),
    enrolment: pod.metadata.annotations?.[REDIRECTION_ANNOTATION] ?? '-',
  }
}

function isRolledOut({ metadata, spec, status }: Deployment): boolean {
  return status?.observedGeneration === metadata.generation && (status?.availableReplicas ?? 0) >= (spec?.replicas ?? 1)
}

function lastEvents(store: ObjectStore): MeshStatus['events'] {
  const events = store.list('events') as Event[]
  const time = (event: Event): string => event.lastTimestamp ?? event.metadata.creationTimestamp ?? ''
  return events
    .toSorted((a, b) => time(a).localeCompare(time(b)))
    .slice(-LAST_EVENTS)
    .map((event) => ({
      at: time(event),
      type: event.type,
      object: `${event.involvedObject.kind.toLowerCase()} ${event.involvedObject.namespace ?? '-'}/${event.involvedObject.name}`,
      reason: event.reason,
      message: event.message,
      count: event.count ?? 1,
    }))
}

function memoryOf(pid: number | undefined): { rssBytes: number | undefined; pssBytes: number | undefined } {
  if (pid === undefined) return { rssBytes: undefined, pssBytes: undefined }
  try {
    const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8')
    const bytes = (field: string): number | undefined => {
      const match = new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(text)
      return match === null ? undefined : Number(match[1]) * 1024
    }
    return { rssBytes: bytes('Rss'), pssBytes: bytes('Pss') }
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ESRCH') return { rssBytes: undefined, pssBytes: undefined } // it has just ended
    throw error
  }
}
