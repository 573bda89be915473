// Runs the `nft` program, in this process's network namespace or in a pod's. Rules go in as one transaction on standard
// input: all of it or nothing. Synchronous, because a thread is in a pod's namespace only for one synchronous function.
import { spawnSync } from 'node:child_process'
import { inNetns } from '../../linux/netns.ts'
import { cniFailure } from '../errors.ts'

/** What `nft` said. */
export interface NftAnswer {
  readonly isDone: boolean
  readonly stdout: string
  readonly stderr: string
}

/** Where the program is; nothing else of the agent's environment is passed on. */
const ENVIRONMENT = { PATH: '/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin', LC_ALL: 'C' }
/** A transaction takes 5 to 30 ms; a pod may fill its table to make it take longer. */
const TIMEOUT_MS = 3_000
/** Our tables list in 10 kB, the node's with 250 pods in 50 kB. */
const MAX_OUTPUT_BYTES = 1 << 20

/**
 * Runs `nft ARGS`. The child is forked by this thread, so it is in the namespace that the thread is in.
 * @param netnsFd undefined = the node's
 * @param input transaction for `-f -`
 * @returns also when nft refuses
 * @throws MeshError NFT_MISSING, NFT_FAILED (too slow, too much output); SYSCALL_FAILED when the namespace cannot be entered
 */
export function runNft(netnsFd: number | undefined, args: readonly string[], input = ''): NftAnswer {
  const run = (): NftAnswer => {
    const done = spawnSync('nft', args, {
      input,
      env: ENVIRONMENT,
      encoding: 'utf8',
      timeout: TIMEOUT_MS,
      killSignal: 'SIGKILL',
      maxBuffer: MAX_OUTPUT_BYTES,
    })
    if (done.error === undefined && done.status !== null) return { isDone: done.status === 0, stdout: done.stdout, stderr: done.stderr }
    const isMissing = done.error !== undefined && 'code' in done.error && done.error.code === 'ENOENT'
    throw cniFailure(isMissing ? 'NFT_MISSING' : 'NFT_FAILED', { args: args.join(' ') }, done.error)
  }
  return netnsFd === undefined ? run() : inNetns(netnsFd, run)
}

/** Applies a transaction. @throws MeshError NFT_REFUSED with what nft said, and what runNft throws */
export function applyRules(netnsFd: number | undefined, transaction: string): void {
  const { isDone, stderr } = runNft(netnsFd, ['-f', '-'], transaction)
  if (!isDone) throw cniFailure('NFT_REFUSED', { said: stderr.trim().split('\n').slice(0, 3).join(' ').slice(0, 300) })
}

/** @returns JSON of a table of family inet; undefined when there is none. @throws what runNft throws; NFT_REFUSED */
export function listTable(netnsFd: number | undefined, name: string): string | undefined {
  const { isDone, stdout, stderr } = runNft(netnsFd, ['-j', 'list', 'table', 'inet', name])
  if (isDone) return stdout
  if (stderr.includes('No such file or directory')) return undefined
  throw cniFailure('NFT_REFUSED', { said: stderr.trim().slice(0, 300) })
}
