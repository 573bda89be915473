// The mesh's description from the file of LOCAL_XDS_PATH: read at start, and again when it changes. Called by app.ts.
import { readFileSync, unwatchFile, watchFile } from 'node:fs'
import { messageOf } from '../kit/error.ts'
import type { Log } from '../kit/log.ts'
import { serviceKeyOf } from '../model/service.ts'
import { ztunnelFailure } from './errors.ts'
import { parseLocalXds } from './local-xds.ts'
import type { LocalXds } from './local-xds.ts'
import type { StateChange } from '../state/store.ts'

const POLL_MS = 500 // a person edits this file

/** Follows one file. */
export class FileSource {
  readonly #path: string
  readonly #log: Log
  readonly #onChange: (change: StateChange) => void
  #current: LocalXds = { workloads: [], services: [], policies: [], networks: [] }

  constructor(options: { path: string; log: Log; onChange(change: StateChange): void }) {
    this.#path = options.path
    this.#log = options.log
    this.#onChange = options.onChange
  }

  /** Reads the file, then follows it. @throws MeshError LOCAL_XDS_INVALID with every fault and its line */
  start(): void {
    this.#load()
    watchFile(this.#path, { interval: POLL_MS }, () => {
      try {
        this.#load()
        this.#log.info('the local file changed', { path: this.#path })
      } catch (error) {
        this.#log.error('the local file is not taken; what was read before stays in force', { error: messageOf(error) })
      }
    })
  }

  stop(): void {
    unwatchFile(this.#path)
  }

  #load(): void {
    const parsed = parseLocalXds(readFileSync(this.#path, 'utf8'))
    if (!parsed.ok) throw ztunnelFailure('LOCAL_XDS_INVALID', { path: this.#path, faults: parsed.errors.join('; ') })
    this.#onChange(difference(this.#current, parsed.value))
    this.#current = parsed.value
  }
}

/** What turns one description into the other; what is unchanged is sent again, which does no harm. */
export function difference(before: LocalXds, after: LocalXds): Required<StateChange> {
  const gone = (old: readonly string[], now: readonly string[]): string[] => old.filter((name) => !now.includes(name))
  const uids = (file: LocalXds): string[] => file.workloads.map((workload) => workload.uid)
  const keys = (file: LocalXds): string[] => file.services.map(serviceKeyOf)
  const policies = (file: LocalXds): string[] => file.policies.map((policy) => `${policy.namespace}/${policy.name}`)
  return {
    workloads: { upserts: after.workloads, removes: gone(uids(before), uids(after)) },
    services: { upserts: after.services, removes: gone(keys(before), keys(after)) },
    policies: { upserts: after.policies, removes: gone(policies(before), policies(after)) },
    networks: after.networks,
  }
}
