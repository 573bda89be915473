// Where the root is kept: files of the local runtime, Secrets on Kubernetes.
import type { CaLimits } from '../../certs/ca.ts'
import type { Clock } from '../../kit/clock.ts'
import type { Log } from '../../kit/log.ts'
import type { ObjectApi } from '../../objects/api.ts'
import type { Leader } from '../leader/leader.ts'
import type { ControlplaneSettings } from '../settings.ts'
import { LiveAuthority } from './live-authority.ts'
import { RootKeeper } from './root-keeper.ts'
import { openCa, replaceFile } from './root-store.ts'

/** The root in force; disposing of it ends following changes. */
export interface OpenRoot extends Disposable {
  readonly live: LiveAuthority
}

/**
 * Opens or makes the root, and follows it where it can change.
 * @param api absent = files of the local runtime
 * @throws CA_STORE_BROKEN when it is there and cannot be used, FORBIDDEN when a right to it is missing
 */
export async function openRoot(options: {
  readonly settings: ControlplaneSettings
  readonly api: ObjectApi | undefined
  readonly leader: Leader
  readonly log: Log
  readonly clock: Clock
  readonly signal: AbortSignal
}): Promise<OpenRoot> {
  const { settings, api, leader, log, clock, signal } = options
  const { trustDomain, caDir, rootCertFile, podNamespace } = settings
  const limits: Required<CaLimits> = { defaultTtlMs: settings.certificateLife, maxTtlMs: settings.longestCertificateLife }
  if (api === undefined) {
    const authority = await openCa({ dir: caDir, trustDomain, clock, limits })
    if (rootCertFile !== '') replaceFile(rootCertFile, authority.rootsPem, 0o644)
    return { live: new LiveAuthority(authority), [Symbol.dispose]: () => undefined }
  }
  const keeper = await RootKeeper.open({ api, namespace: podNamespace, trustDomain, limits, leader, clock, log }, signal)
  leader.onChange((isLeader) => void (isLeader && keeper.refresh()))
  keeper.start()
  return keeper
}
