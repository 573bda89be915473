// The kill switch and `down`: takes every program and map of a node out of the kernel, with all its processes dead.
import { existsSync, readdirSync, rmdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { codeOf } from '../kit/error.ts'
import { detachPinned } from './link.ts'
import { openMap } from './map.ts'
import { CGROUP_PROGRAMS, pins } from './spec.ts'

/**
 * Guards first, then capture, then steering, then maps, then the directory: pods fall back to plain networking and no
 * moment drops what the next step would let pass. A guard attached by clsact has no pin; without its record it passes
 * everything, and goes with its device.
 * @param bpffsDir the node's directory of pins; a missing one is fine
 * @returns names of the pins that were removed, in order
 */
export function releaseNode(bpffsDir: string): { removed: string[] } {
  if (!existsSync(bpffsDir)) return { removed: [] }
  clearGuards(bpffsDir)
  const names = readdirSync(bpffsDir)
  const ordered = [
    ...names.filter((name) => name.startsWith('guard_')),
    ...Object.keys(CGROUP_PROGRAMS).map((program) => `link_${program}`),
    ...names.filter((name) => name.startsWith('link_')),
    ...names.filter((name) => name.startsWith('steer_')),
    ...names.filter((name) => name.startsWith('map_')),
  ]
  const removed = [...new Set(ordered)].filter((name) => names.includes(name))
  for (const name of removed) {
    if (name.startsWith('map_')) rmSync(join(bpffsDir, name), { force: true })
    else detachPinned(join(bpffsDir, name))
  }
  removeDirectory(bpffsDir)
  return { removed }
}

function clearGuards(bpffsDir: string): void {
  if (!existsSync(pins.map(bpffsDir, 'guards'))) return
  using guards = openMap(bpffsDir, 'guards')
  for (const [ifindex] of guards.entries()) guards.delete(ifindex)
}

/** The mount point itself cannot be removed, and a directory with foreign pins stays. */
function removeDirectory(path: string): void {
  try {
    rmdirSync(path)
  } catch (error) {
    if (!['EBUSY', 'ENOTEMPTY', 'ENOENT', 'EPERM'].includes(codeOf(error))) throw error
  }
}
