// state.json: who runs the mesh and what was made for it, written before it is made. `down` works from it after a crash.
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { codeOf } from '../kit/error.ts'
import { meshLayout } from './layout.ts'

/** What is recorded. Pods' namespaces are recorded by the kubelets in `pods/UID/sandbox.json`. */
export interface MeshRecord {
  readonly name: string
  /** Process of `up` and the time it started (clock ticks since boot), which tells it from a later process of the same id. */
  readonly ownerPid: number
  readonly ownerStart: string
  readonly nodes: readonly string[]
  readonly netns: readonly string[]
  readonly links: readonly string[]
  readonly startedAt: string
  readonly directory: string
}

/** Writes the record so that a reader sees the old or the new one, never half. */
export function writeRecord(record: MeshRecord): void {
  const { stateFile } = meshLayout(record.name)
  writeFileSync(`${stateFile}.new`, JSON.stringify(record, null, 2), { mode: 0o600 })
  renameSync(`${stateFile}.new`, stateFile)
}

/** @returns undefined when there is none */
export function readRecord(name: string): MeshRecord | undefined {
  try {
    return JSON.parse(readFileSync(meshLayout(name).stateFile, 'utf8')) as MeshRecord
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw error
  }
}

/** Whether the `up` that wrote the record still runs. */
export function isOwnerAlive(record: MeshRecord): boolean {
  return processStart(record.ownerPid) === record.ownerStart
}

/** Start time of a process in clock ticks since boot; undefined when there is no such process (a zombie counts as none). */
export function processStart(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ') // the name may have spaces and parentheses
    return fields[0] === 'Z' ? undefined : fields[19]
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ESRCH') return undefined
    throw error
  }
}
