// Process of cluster DNS, started by the supervisor in the control namespace; services reach it through 10.96.0.10.
import { systemClock } from '../../kit/clock.ts'
import { messageOf } from '../../kit/error.ts'
import { createLog } from '../../kit/log.ts'
import type { EndpointSlice, Service } from '../../model/object.ts'
import { SERVICE_NAME_LABEL } from '../../model/object.ts'
import { ObjectClient } from '../../objects/client.ts'
import { informer } from '../../objects/informer.ts'
import { CLUSTER_DOMAIN, meshLayout } from '../layout.ts'
import { DnsServer } from './server.ts'
import { readSettings } from './settings.ts'
import { resolve } from './zone.ts'

async function main(): Promise<void> {
  const settings = readSettings(process.argv.slice(2), process.env)
  if (!settings.ok) {
    process.stderr.write(`${settings.errors.join('\n')}\n`)
    process.exit(2)
  }
  const log = createLog({ process: 'cluster-dns', levels: settings.value.log })
  const mesh = meshLayout(settings.value.mesh)
  const stop = new AbortController()
  process.once('SIGTERM', () => {
    stop.abort()
    process.exit(0)
  })
  const copy = informer({
    client: new ObjectClient({ socketPath: mesh.apiSocket }),
    kinds: ['services', 'endpointslices'],
    log,
    clock: systemClock,
    signal: stop.signal,
    onSync: () => undefined,
    onEvent: () => undefined,
  })
  await copy.synced
  const source = {
    services: () => copy.objects('services') as Iterable<Service>,
    service: (namespace: string, name: string) => copy.get('services', namespace, name) as Service | undefined,
    allSlices: () => copy.objects('endpointslices') as Iterable<EndpointSlice>,
    slices: (namespace: string, service: string) =>
      [...(copy.objects('endpointslices') as Iterable<EndpointSlice>)].filter(
        ({ metadata }) => metadata.namespace === namespace && metadata.labels?.[SERVICE_NAME_LABEL] === service,
      ),
  }
  const addresses = [mesh.controlIp.v4, mesh.controlIp.v6]
  await DnsServer.listen({ addresses, port: settings.value.port, log, lookup: (name, type) => resolve(name, type, CLUSTER_DOMAIN, source) })
  log.info('cluster DNS answers', { addresses })
}

main().catch((error: unknown) => {
  process.stderr.write(`cluster-dns: ${messageOf(error)}\n`)
  process.exit(1)
})
