// Services by host name, as one namespace sees them: several may have one host name, and some are seen by their own namespace only.
import type { Service } from '../../model/service.ts'
import { prefer } from '../../state/vip-index.ts'

/** Services of one moment. */
export class HostTable {
  readonly #byHost = new Map<string, Service[]>()

  constructor(services: Iterable<Service>) {
    for (const service of services) {
      const list = this.#byHost.get(service.hostname)
      if (list === undefined) this.#byHost.set(service.hostname, [service])
      else list.push(service)
    }
  }

  /** The service that a host name means in a namespace: its own, the canonical one, any that is seen there. */
  find(hostname: string, namespace: string): Service | undefined {
    return prefer(this.#byHost.get(hostname) ?? [], namespace)
  }
}
