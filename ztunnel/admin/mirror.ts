// What the admin thread knows of the mesh, for /config_dump: the same changes as the data threads get, without their indexes.
import type { Cidr } from '../../model/address.ts'
import type { Authorization } from '../../model/policy.ts'
import { serviceKeyOf } from '../../model/service.ts'
import type { Service } from '../../model/service.ts'
import type { Workload } from '../../model/workload.ts'
import type { StateChange } from '../../state/store.ts'

/** Maps by name: uid, `namespace/hostname`, `namespace/name`. */
export class Mirror {
  readonly workloads = new Map<string, Workload>()
  readonly services = new Map<string, Service>()
  readonly policies = new Map<string, Authorization>()
  networks: readonly Cidr[] = []

  apply(change: StateChange): void {
    update(this.workloads, change.workloads, (workload) => workload.uid)
    update(this.services, change.services, serviceKeyOf)
    update(this.policies, change.policies, (policy) => `${policy.namespace}/${policy.name}`)
    this.networks = change.networks ?? this.networks
  }
}

function update<T>(
  map: Map<string, T>,
  change: { readonly upserts: readonly T[]; readonly removes: readonly string[] } | undefined,
  key: (value: T) => string,
): void {
  for (const name of change?.removes ?? []) map.delete(name)
  for (const value of change?.upserts ?? []) map.set(key(value), value)
}
