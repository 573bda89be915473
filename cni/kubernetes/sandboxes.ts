// Finds the network namespaces of pods that run already, without the runtime: every process of a pod names the pod's uid
// in its cgroup. For pods that started before the plugin was there, past it, or whose state was lost with the node's.
// Follows istio/istio:cni/pkg/nodeagent/podcgroupns.go.
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { codeOf } from '../../kit/error.ts'
import { podUidOf } from '../proxy-groups.ts'

/**
 * @param uids pods that are looked for
 * @param netnsDir where the runtime keeps named namespaces; a name outlives every process
 * @returns uid -> path of the namespace; pods without a process, or in the node's own namespace, are left out
 */
export function findSandboxes(uids: ReadonlySet<string>, netnsDir: string, proc = '/proc'): Map<string, string> {
  const found = new Map<string, string>()
  if (uids.size === 0) return found
  const home = attempt(() => readlinkSync(`${proc}/self/ns/net`))
  let names: Map<string, string> | undefined
  for (const pid of readdirSync(proc)) {
    if (!/^[1-9]\d*$/.test(pid)) continue
    const uid = podOf(`${proc}/${pid}`)
    if (uid === undefined || !uids.has(uid) || found.has(uid)) continue
    const netns = attempt(() => readlinkSync(`${proc}/${pid}/ns/net`)) // `net:[4026532008]`
    if (netns === undefined || netns === home) continue
    names ??= namedNamespaces(netnsDir)
    found.set(uid, names.get(netns) ?? `${proc}/${pid}/ns/net`)
    if (found.size === uids.size) break
  }
  return found
}

/** In whichever hierarchy: on hybrid machines the runtime may not use cgroup2. */
function podOf(directory: string): string | undefined {
  const lines = attempt(() => readFileSync(`${directory}/cgroup`, 'utf8'))?.split('\n') ?? []
  for (const line of lines) {
    const uid = podUidOf(line.slice(line.indexOf(':', line.indexOf(':') + 1) + 1))
    if (uid !== undefined) return uid
  }
  return undefined
}

function namedNamespaces(directory: string): Map<string, string> {
  const names = attempt(() => readdirSync(directory)) ?? []
  const paths = names.map((name) => join(directory, name))
  return new Map(paths.flatMap((path) => attempt(() => [[`net:[${statSync(path).ino}]`, path] as const]) ?? []))
}

/** undefined = the process or file went meanwhile. */
function attempt<T>(work: () => T): T | undefined {
  try {
    return work()
  } catch (error) {
    if (['ENOENT', 'ESRCH', 'EACCES'].includes(codeOf(error))) return undefined
    throw error
  }
}
