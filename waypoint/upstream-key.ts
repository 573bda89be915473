// What makes two connections to endpoints the same, as text. Called by upstream.ts for every request, so it is made once per endpoint
// and client and lives as long as they do.
import { formatEndpoint } from '../model/address.ts'
import { spiffeIdOf } from '../model/identity.ts'
import type { BalancedEndpoint } from './balance/endpoint.ts'
import type { CallClient } from './dial.ts'
import type { UpstreamKey } from './upstream.ts'

/** Stands for no client. */
const NOBODY = {}

interface Texts {
  'HTTP/1.1'?: string
  'HTTP/2'?: string
}

/** The texts of one pool's keys. */
export class UpstreamKeys {
  readonly #known = new WeakMap<BalancedEndpoint, WeakMap<object, Texts>>()

  /** Equal for keys whose connections may be shared. Endpoint and client are values that do not change. */
  textOf({ endpoint, client, version }: UpstreamKey): string {
    let byClient = this.#known.get(endpoint)
    if (byClient === undefined) {
      byClient = new WeakMap()
      this.#known.set(endpoint, byClient)
    }
    const from = client ?? NOBODY
    let texts = byClient.get(from)
    if (texts === undefined) {
      texts = {}
      byClient.set(from, texts)
    }
    texts[version] ??= format(endpoint, client, version)
    return texts[version]
  }
}

function format({ workload, to }: BalancedEndpoint, client: CallClient | undefined, version: string): string {
  const from = client === undefined ? '' : `${client.id} ${client.ip} ${client.workload?.uid ?? ''}`
  return `${workload.uid} ${workload.protocol} ${spiffeIdOf(workload)} ${formatEndpoint(to)} ${version} ${from}`
}
