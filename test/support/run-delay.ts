// How long the machine made a process wait for a CPU: a deadline for a process counts what the machine gave it.
import { readFileSync } from 'node:fs'

/** Time that the process's first thread was ready to run and did not, in ms since it began; 0 when it has ended. */
export function runDelayMs(pid: number | 'self'): number {
  try {
    return Number(readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ')[1]) / 1e6
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return 0
    throw error
  }
}
