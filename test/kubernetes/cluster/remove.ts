// Removes a test cluster and everything that it made, whatever state it is in: by names only, so that it also works after a crash.
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { removeNodeGroups } from './cgroups.ts'
import { type ClusterLayout, type NodeLayout, nodeLayout } from './layout.ts'
import { attempt, killDaemon } from './processes.ts'

/** @param keepsLogs leaves LOG in place */
export async function removeCluster(cluster: ClusterLayout, keepsLogs = false): Promise<void> {
  const names = entries(cluster.pidDir)
  // The state is thrown away: a polite end of API server, kubelet and controllers takes up to 17 s.
  await Promise.all(names.filter((name) => /kubelet|kube-/.test(name)).map((name) => killDaemon(cluster, name)))
  await Promise.all(nodesOf(cluster).map((node) => removeNode(cluster, node)))
  await Promise.all(names.map((name) => killDaemon(cluster, name)))
  if (existsSync(`/sys/class/net/${cluster.bridge}`)) await attempt('ip', ['link', 'del', cluster.bridge])
  for (const name of entries(cluster.dir)) {
    const path = join(cluster.dir, name)
    if (!(keepsLogs && path === cluster.logDir)) rmSync(path, { recursive: true, force: true })
  }
  if (!keepsLogs) rmSync(cluster.dir, { recursive: true, force: true })
}

async function removeNode(cluster: ClusterLayout, node: NodeLayout): Promise<void> {
  await removeNodeGroups(node.cgroup) // kubelet, containerd, its shims and every container
  await killDaemon(cluster, `${node.name}-containerd`) // one that ended before it was in its group
  const cidr = join(node.dir, 'podcidr')
  if (existsSync(cidr)) await attempt('ip', ['route', 'del', readFileSync(cidr, 'utf8')])
  if (existsSync(`/sys/class/net/${node.link}`)) await attempt('ip', ['link', 'del', node.link])
  if (existsSync(`/run/netns/${node.netns}`)) await attempt('ip', ['netns', 'del', node.netns])
}

/** Nodes by their directories: there may be more than the options say. */
function nodesOf(cluster: ClusterLayout): NodeLayout[] {
  return entries(cluster.dir).flatMap((name) => {
    const number = /^node([0-9]+)$/.exec(name)?.[1]
    return number === undefined ? [] : [nodeLayout(cluster, Number(number))]
  })
}

function entries(path: string): string[] {
  return existsSync(path) ? readdirSync(path) : []
}
