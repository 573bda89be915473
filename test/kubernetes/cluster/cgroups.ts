// The cgroup hierarchies of this machine (all of v1 and v2 on hybrid ones), and removing a node's groups from each.
import { readdirSync, readFileSync, rmdirSync } from 'node:fs'
import { join } from 'node:path'
import { killCgroup } from '../../../linux/cgroup.ts'

/** A mounted hierarchy. */
export interface Hierarchy {
  readonly path: string
  readonly version: 1 | 2
}

/** Every hierarchy, as it is mounted below /sys/fs/cgroup. */
export function cgroupHierarchies(): readonly Hierarchy[] {
  return readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .flatMap((line): Hierarchy[] => {
      const [, path = '', type] = line.split(' ')
      if (!path.startsWith('/sys/fs/cgroup')) return []
      return type === 'cgroup2' ? [{ path, version: 2 }] : type === 'cgroup' ? [{ path, version: 1 }] : []
    })
}

/** Kills what is in a node's groups and removes them; groups that are gone are fine. @throws MeshError CGROUP_NOT_EMPTY */
export async function removeNodeGroups(name: string): Promise<void> {
  const hierarchies = cgroupHierarchies()
  for (const { path } of hierarchies.filter(({ version }) => version === 2)) await killCgroup(join(path, name))
  for (const { path } of hierarchies) removeTree(join(path, name))
}

function removeTree(path: string): void {
  try {
    for (const entry of readdirSync(path, { withFileTypes: true })) if (entry.isDirectory()) removeTree(join(path, entry.name))
    rmdirSync(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
}
