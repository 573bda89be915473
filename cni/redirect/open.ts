// Chooses the redirect mode, opens it, and clears what the other mode left in the kernel when the mode has changed since the
// last start. Called by app.ts at start.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ebpfObstacle } from '../../bpf/feature.ts'
import { releaseNode } from '../../bpf/release.ts'
import { messageOf } from '../../kit/error.ts'
import type { Log } from '../../kit/log.ts'
import { removeSourceRouting } from '../../linux/source-routing.ts'
import { isGone, openPodNetns, type PodPlace } from '../pods.ts'
import type { AgentSettings } from '../settings.ts'
import { EbpfRedirect } from './ebpf.ts'
import { runNft } from './nft.ts'
import { NftablesRedirect } from './nftables.ts'
import { isRedirectWish, type Redirect, type RedirectChoice, type RedirectMode } from './redirect.ts'
import { NODE_TABLE, POD_TABLE } from './rules.ts'
import { dropTable } from './table.ts'

/** What is opened. */
export interface OpenRedirectOptions {
  readonly settings: Pick<AgentSettings, 'redirect' | 'bpffsDir' | 'nodeCgroup' | 'isDnsRequired' | 'stateDir'>
  /** Pods of an earlier process; asked only when the mode has changed. */
  readonly places: () => readonly PodPlace[]
  readonly log: Log
}

/** What is cleared. */
export type ClearOptions = Pick<OpenRedirectOptions, 'places' | 'log'> & {
  readonly settings: Pick<AgentSettings, 'bpffsDir' | 'stateDir'>
}

/**
 * @param wish ebpf, nftables or auto
 * @param obstacle what keeps the programs from running; asked only for auto
 */
export function chooseRedirect(wish: string, obstacle: () => string | undefined): RedirectChoice {
  if (isRedirectWish(wish) && wish !== 'auto') return { mode: wish, reason: 'asked for' }
  const found = obstacle()
  return found === undefined ? { mode: 'ebpf', reason: 'the kernel has what it needs' } : { mode: 'nftables', reason: found }
}

/**
 * Runs in the node's network namespace.
 * @throws MeshError what NodeDatapath.open throws (mode ebpf; `auto` does not fall back then: a refusal is a fault, not a lack), or
 *   NFT_MISSING, NFT_REFUSED (mode nftables)
 */
export function openRedirect(options: OpenRedirectOptions): { redirect: Redirect; choice: RedirectChoice } {
  const { settings, log } = options
  const choice = chooseRedirect(settings.redirect, () => ebpfObstacle(settings.nodeCgroup))
  log.info('redirect mode', { ...choice })
  const before = lastMode(settings.stateDir)
  if (before !== undefined && before !== choice.mode) {
    log.warn('the redirect mode has changed; pods are not captured until they are again', { before })
    clear(before, options)
  }
  const redirect = choice.mode === 'ebpf' ? openEbpf(options) : openNftables(settings.isDnsRequired)
  writeFileSync(modeFile(settings.stateDir), choice.mode, { mode: 0o600 })
  return { redirect, choice }
}

function openEbpf({ settings, log }: OpenRedirectOptions): Redirect {
  return new EbpfRedirect({
    bpffsDir: settings.bpffsDir,
    cgroupPath: settings.nodeCgroup,
    capturesDns: settings.isDnsRequired,
    log: log.scope('bpf'),
  })
}

/** Faults are found at start, not with the first pod. */
function openNftables(capturesDns: boolean): Redirect {
  runNft(undefined, ['--version'])
  return new NftablesRedirect({ capturesDns })
}

/** What `clearRedirect` did. */
export interface Cleared {
  readonly mode: RedirectMode
  /** Programs and maps by the names of their pins, or pods (`namespace/name`) whose rules went. */
  readonly removed: readonly string[]
  /** Pods that still have rules, and why, a sentence each. */
  readonly failed: readonly string[]
}

/**
 * Takes everything that the last agent made out of the kernel; pods fall back to plain networking. Runs in the node's namespace.
 * @throws MeshError NFT_MISSING, NFT_REFUSED when the node's own rules cannot be removed
 */
export function clearRedirect(options: ClearOptions): Cleared {
  return clear(lastMode(options.settings.stateDir) ?? 'ebpf', options) // one that died before it said so
}

/** Pods are captured again as soon as they are compared with what should be, right after the start. */
function clear(mode: RedirectMode, { settings, places, log }: ClearOptions): Cleared {
  if (mode === 'ebpf') return { mode, removed: releaseNode(settings.bpffsDir).removed, failed: [] }
  const [removed, failed]: [string[], string[]] = [[], []]
  dropTable(undefined, NODE_TABLE)
  for (const place of places()) {
    const pod = `${place.namespace}/${place.name}`
    try {
      using netns = openPodNetns(place)
      dropTable(netns.fd, POD_TABLE)
      removeSourceRouting(netns.fd)
      removed.push(pod)
    } catch (error) {
      if (isGone(error)) continue
      log.error('rules of a pod cannot be removed', { pod, error: messageOf(error) })
      failed.push(`${pod}: ${messageOf(error)}`)
    }
  }
  return { mode, removed, failed }
}

/** The mode of the last agent with this state directory; undefined = there was none. */
export function lastMode(stateDir: string): RedirectMode | undefined {
  if (!existsSync(modeFile(stateDir))) return undefined
  const text = readFileSync(modeFile(stateDir), 'utf8')
  return text === 'ebpf' || text === 'nftables' ? text : undefined
}

function modeFile(stateDir: string): string {
  return join(stateDir, 'redirect-mode')
}
