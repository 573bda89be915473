// What the debug pages of this host show.
import type { DeltaServer } from '../xds/delta-server.ts'
import type { Programmed } from './push/programmed.ts'
import type { Publisher } from './push/publish.ts'

/** Page name -> what it shows, computed when asked. */
export function debugPages(publisher: Publisher, xds: DeltaServer, programmed: Programmed): Readonly<Record<string, () => unknown>> {
  return {
    clients: () => ({ revision: publisher.store.revision, clients: xds.clients() }),
    gateways() {
      const { programmed: names, refusals } = programmed.state
      return { programmed: [...names], refusals: Object.fromEntries(refusals) }
    },
    resources: () =>
      publisher.store.typeUrls.map((typeUrl) => ({
        typeUrl,
        resources: [...publisher.store.snapshot(typeUrl)].map(([name, { version, bytes }]) => ({ name, version, bytes: bytes.length })),
      })),
  }
}
