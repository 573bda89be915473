// Where the agent of a Kubernetes node keeps what a release needs, found without anybody's help.
import { readdirSync, type Dirent } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { readLink } from '../../bpf/link.ts'
import { pins } from '../../bpf/spec.ts'
import { codeOf } from '../../kit/error.ts'
import { cgroup2Root, cgroupId } from '../../linux/cgroup.ts'

/** Directories of a node; the chart's, unless it was told others. */
export interface NodePaths {
  /** Sockets, one file per pod below `cni/`, marks of releases. */
  readonly nodeDir: string
  readonly bpffsDir: string
  /** The group that the programs are attached to; undefined = the kernel is asked. */
  readonly cgroup: string | undefined
}

/** What the chart gives. */
export const DEFAULT_NODE_DIR = '/run/weft/node'
/** What the chart gives. */
export const DEFAULT_BPFFS_DIR = '/sys/fs/bpf/weft'

/** One file per pod. */
export function stateDirOf({ nodeDir }: NodePaths): string {
  return join(nodeDir, 'cni')
}

/** Whether an agent answers on its socket. */
export function isAgentAlive({ nodeDir }: NodePaths): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(join(nodeDir, 'cni.sock'))
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

/**
 * The group that the pinned programs are attached to, by asking the kernel for its number and looking for it.
 * @returns undefined when nothing is pinned or the group is not below the hierarchy's root
 */
export function attachedCgroup(bpffsDir: string): string | undefined {
  const link = readLink(pins.cgroupLink(bpffsDir, 'connect4'))
  return link?.kind === 'cgroup' ? cgroupOfId(cgroup2Root(), link.target) : undefined
}

/** Breadth first: the group of a node is near the root. */
function cgroupOfId(root: string, id: bigint): string | undefined {
  const queue = [root]
  for (let path = queue.shift(); path !== undefined; path = queue.shift()) {
    if (idOf(path) === id) return path
    for (const entry of childrenOf(path)) if (entry.isDirectory()) queue.push(join(path, entry.name))
  }
  return undefined
}

function idOf(path: string): bigint | undefined {
  try {
    return cgroupId(path)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined // it has just gone
    throw error
  }
}

function childrenOf(path: string): Dirent[] {
  try {
    return readdirSync(path, { withFileTypes: true })
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return []
    throw error
  }
}
