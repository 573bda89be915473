// A waypoint's configuration from the control plane: delta xDS, the mesh as ztunnel has it, and the listeners and backends of
// its own gateway. Called by app.ts.
import { readFileSync } from 'node:fs'
import type { Clock } from '../kit/clock.ts'
import type { Result } from '../kit/error.ts'
import type { Log } from '../kit/log.ts'
import type { ResourceChange } from '../state/store.ts'
import { DeltaClient } from '../xds/delta-client.ts'
import type { XdsPush } from '../xds/delta-client.ts'
import { ADDRESS_TYPE, AUTHORIZATION_TYPE, BACKEND_TYPE, gatewayGroup, LISTENER_TYPE, NETWORKS_TYPE } from '../xds/kinds.ts'
import { decodeMeshPush } from '../xds/mesh-push.ts'
import { decodeBackend } from '../xds/resource/backend.ts'
import { decodeListener } from '../xds/resource/listener.ts'
import type { Configuration } from './config.ts'
import type { WaypointSettings } from './settings.ts'

/** What the client of the control plane needs. */
export interface SourceOptions {
  readonly settings: WaypointSettings
  readonly config: Configuration
  readonly log: Log
  readonly clock: Clock
  readonly random: () => number
  /** The mesh and the first listeners are in force. Called once. */
  onSynced(): void
}

/** Makes (does not start) the client. */
export function waypointSource(options: SourceOptions): DeltaClient {
  const { settings, config, log, clock, random } = options
  const { podName, podNamespace, instanceIp, nodeName, clusterDomain, clusterId, gateway } = settings
  const waiting = new Set<'mesh' | 'listeners'>(['mesh', 'listeners'])
  const synced = (what: 'mesh' | 'listeners'): void => {
    if (waiting.delete(what) && waiting.size === 0) options.onSynced()
  }
  const client = new DeltaClient({
    address: settings.xdsAddress,
    roots: () => readFileSync(settings.rootCert),
    serverName: settings.xdsServerName,
    token: () => readFileSync(settings.tokenPath, 'utf8').trim(),
    clusterId,
    node: {
      id: `waypoint~${instanceIp}~${podName}.${podNamespace}~${podNamespace}.svc.${clusterDomain}`,
      metadata: { NAME: podName, NAMESPACE: podNamespace, INSTANCE_IPS: instanceIp, NODE_NAME: nodeName, CLUSTER_ID: clusterId },
    },
    // Policies before the workloads that they guard, backends before the routes that lead there.
    kinds: [
      { typeUrl: NETWORKS_TYPE, mode: 'wildcard' },
      { typeUrl: AUTHORIZATION_TYPE, mode: 'wildcard' },
      { typeUrl: ADDRESS_TYPE, mode: 'wildcard' },
      { typeUrl: BACKEND_TYPE, mode: 'on-demand' },
      { typeUrl: LISTENER_TYPE, mode: 'on-demand' },
    ],
    onPush(typeUrl, push) {
      const errors = applyPush(typeUrl, push, config)
      if (typeUrl === LISTENER_TYPE) synced('listeners')
      return errors
    },
    onState: ({ isSynced }) => {
      if (isSynced) synced('mesh')
    },
    log,
    clock,
    random,
  })
  client.demand(BACKEND_TYPE, gatewayGroup(gateway))
  client.demand(LISTENER_TYPE, gatewayGroup(gateway))
  return client
}

/** Puts a push into force. @returns one sentence per resource that was refused; its old value stays in force */
export function applyPush(typeUrl: string, push: XdsPush, config: Configuration): readonly string[] {
  if (typeUrl === LISTENER_TYPE) {
    const { change, errors } = decodeAll(push, decodeListener, ({ name }) => name)
    config.applyListeners(change)
    return errors
  }
  if (typeUrl === BACKEND_TYPE) {
    const { change, errors } = decodeAll(push, decodeBackend, ({ service }) => service)
    config.applyBackends(change)
    return errors
  }
  const { change, errors } = decodeMeshPush(typeUrl, push)
  config.apply(change)
  return errors
}

function decodeAll<T>(
  push: XdsPush,
  decode: (bytes: Uint8Array) => Result<T>,
  nameOf: (value: T) => string,
): { change: ResourceChange<T>; errors: string[] } {
  const upserts: T[] = []
  const errors: string[] = []
  for (const { name, bytes } of push.upserts) {
    const decoded = decode(bytes)
    if (!decoded.ok) errors.push(...decoded.errors.map((error) => `${name}: ${error}`))
    else if (nameOf(decoded.value) !== name) errors.push(`${name}: the resource calls itself ${nameOf(decoded.value)}`)
    else upserts.push(decoded.value)
  }
  return { change: { upserts, removes: push.removes }, errors }
}
