// Who on the node is its ztunnel. In the local runtime a process in one known cgroup; on Kubernetes a process whose cgroup
// is that of a pod which the API says is the ztunnel of this node. Pods of a rollout have two groups at a time.
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { codeOf } from '../kit/error.ts'
import { cgroupId, cgroupOfPid } from '../linux/cgroup.ts'
import type { Pod } from '../model/object.ts'
import { cniFailure } from './errors.ts'

/** Tells the ztunnel from other processes, and remembers its groups for the next agent. */
export interface ProxyGroups {
  /** Group of a process that connected. @throws MeshError NOT_THE_ZTUNNEL; ENOENT, ESRCH when the process is gone */
  groupOf(pid: number): string
  /** Groups that an earlier agent wrote into the kernel: path -> id. */
  earlier(): ReadonlyMap<string, bigint>
  /** Called after each change. */
  remember(groups: ReadonlyMap<string, bigint>): void
}

/** One group, known beforehand. */
export function fixedGroup(
  path: string,
  ofPid: (pid: number) => string = cgroupOfPid,
  idOf: (path: string) => bigint = cgroupId,
): ProxyGroups {
  return {
    groupOf(pid) {
      const group = ofPid(pid)
      if (group !== path) throw cniFailure('NOT_THE_ZTUNNEL', { pid, cgroup: group })
      return group
    },
    earlier() {
      try {
        return new Map([[path, idOf(path)]])
      } catch (error) {
        if (codeOf(error) === 'ENOENT') return new Map()
        throw error
      }
    },
    remember: () => undefined,
  }
}

/** What podGroups works with. */
export interface PodGroupsOptions {
  /** Pods of this node. */
  pods(): Iterable<Pod>
  /** Namespace and service account of the ztunnel's pods. */
  readonly namespace: string
  readonly account: string
  /** Where groups are remembered. */
  readonly file: string
  readonly ofPid?: (pid: number) => string
}

/** Groups of the containers of the node's ztunnel pods. */
export function podGroups(options: PodGroupsOptions): ProxyGroups {
  const { namespace, account, file, ofPid = cgroupOfPid } = options
  return {
    groupOf(pid) {
      const group = ofPid(pid)
      if (readGroups(file).has(group)) return group // it was the ztunnel's before we restarted; the API may be away now
      const uid = podUidOf(group)
      const pod = uid === undefined ? undefined : [...options.pods()].find((each) => each.metadata.uid === uid)
      const isOurs = pod?.metadata.namespace === namespace && pod.spec?.serviceAccountName === account
      if (!isOurs) throw cniFailure('NOT_THE_ZTUNNEL', { pid, cgroup: group, pod: pod?.metadata.name, namespace: pod?.metadata.namespace })
      return group
    },
    earlier: () => readGroups(file),
    remember(groups) {
      const text = JSON.stringify([...groups].map(([path, id]) => ({ path, id: String(id) })))
      writeFileSync(`${file}.new`, text, { mode: 0o600 })
      renameSync(`${file}.new`, file)
    },
  }
}

/**
 * @param group `…/kubepods/burstable/podUID/CONTAINER` or, with the systemd driver, `…/kubepods-podUID_WITH_LOW_LINES.slice/…`
 * @returns the uid of the pod whose group it is or is below; undefined when it is no pod's
 */
export function podUidOf(group: string): string | undefined {
  const found = /\/(?:kubepods[a-z-]*-)?pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})(?:\.slice)?(?:\/|$)/.exec(group)
  return found?.[1]?.replaceAll('_', '-')
}

function readGroups(file: string): Map<string, bigint> {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return new Map()
    throw error
  }
  const groups = new Map<string, bigint>()
  for (const [, path, id] of text.matchAll(/"path":"(\/[^"\\]+)","id":"(\d{1,20})"/g)) if (path && id) groups.set(path, BigInt(id))
  return groups
}
