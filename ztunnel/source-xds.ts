// The mesh's description from the control plane: delta xDS, decoded at the edge into changes of the state. Called by app.ts.
import { readFileSync } from 'node:fs'
import type { Clock } from '../kit/clock.ts'
import type { Log } from '../kit/log.ts'
import type { Authorization } from '../model/policy.ts'
import type { Service } from '../model/service.ts'
import { serviceKeyOf } from '../model/service.ts'
import type { Workload } from '../model/workload.ts'
import { DeltaClient } from '../xds/delta-client.ts'
import type { XdsPush, XdsState } from '../xds/delta-client.ts'
import { ADDRESS_TYPE, AUTHORIZATION_TYPE, NETWORKS_NAME, NETWORKS_TYPE } from '../xds/kinds.ts'
import { decodeAddress } from '../xds/resource/address.ts'
import { decodeAuthorization } from '../xds/resource/authorization.ts'
import { decodeNetworks } from '../xds/resource/networks.ts'
import type { ZtunnelSettings } from './settings.ts'
import type { StateChange } from '../state/store.ts'

/** What the client of the control plane needs. */
export interface XdsSourceOptions {
  readonly settings: ZtunnelSettings
  readonly log: Log
  readonly clock: Clock
  onChange(change: StateChange): void
  onState(state: XdsState): void
  /** One push arrived, for the counters. */
  onPush(typeUrl: string, bytes: number): void
}

/** Makes (does not start) the client. */
export function xdsSource(options: XdsSourceOptions): DeltaClient {
  const { settings, log, clock } = options
  const { podName, podNamespace, instanceIp, nodeName, clusterDomain } = settings
  return new DeltaClient({
    address: settings.xdsAddress,
    roots: () => readFileSync(settings.rootCert),
    serverName: settings.xdsServerName,
    token: () => readFileSync(settings.tokenPath, 'utf8').trim(),
    clusterId: settings.clusterId,
    node: {
      id: `ztunnel~${instanceIp}~${podName}.${podNamespace}~${podNamespace}.svc.${clusterDomain}`,
      metadata: { NAME: podName, NAMESPACE: podNamespace, INSTANCE_IPS: instanceIp, NODE_NAME: nodeName, CLUSTER_ID: settings.clusterId },
    },
    kinds: [
      { typeUrl: NETWORKS_TYPE, mode: 'wildcard' },
      { typeUrl: AUTHORIZATION_TYPE, mode: 'wildcard' },
      { typeUrl: ADDRESS_TYPE, mode: settings.isOnDemand ? 'on-demand' : 'wildcard' },
    ],
    onPush(typeUrl, push) {
      options.onPush(
        typeUrl,
        push.upserts.reduce((sum, { bytes }) => sum + bytes.length, 0),
      )
      const { change, errors } = decodePush(typeUrl, push)
      options.onChange(change)
      return errors
    },
    onState: options.onState,
    log,
    clock,
  })
}

/** Turns a push into a change; a resource that cannot be decoded is named in `errors` and leaves its old value in force. */
export function decodePush(typeUrl: string, push: XdsPush): { change: StateChange; errors: string[] } {
  switch (typeUrl) {
    case ADDRESS_TYPE:
      return decodeAddresses(push)
    case AUTHORIZATION_TYPE:
      return decodePolicies(push)
    case NETWORKS_TYPE:
      return decodeBlocks(push)
    default:
      return { change: {}, errors: [`${typeUrl}: not asked for`] }
  }
}

function decodeAddresses(push: XdsPush): { change: StateChange; errors: string[] } {
  const errors: string[] = []
  const workloads: Workload[] = []
  const services: Service[] = []
  for (const { name, bytes } of push.upserts) {
    const decoded = decodeAddress(bytes)
    if (!decoded.ok) errors.push(...decoded.errors.map((error) => `${name}: ${error}`))
    else if (decoded.value.kind === 'workload') workloads.push(decoded.value.workload)
    else services.push(decoded.value.service)
  }
  // A removed name is a uid or a service's key; the other store does not have it.
  const present = new Set([...workloads.map((workload) => workload.uid), ...services.map(serviceKeyOf)])
  const removes = push.removes.filter((name) => !present.has(name))
  return { change: { workloads: { upserts: workloads, removes }, services: { upserts: services, removes } }, errors }
}

function decodePolicies(push: XdsPush): { change: StateChange; errors: string[] } {
  const errors: string[] = []
  const upserts: Authorization[] = []
  for (const { name, bytes } of push.upserts) {
    const decoded = decodeAuthorization(bytes)
    if (decoded.ok) upserts.push(decoded.value)
    else errors.push(...decoded.errors.map((error) => `${name}: ${error}`))
  }
  return { change: { policies: { upserts, removes: push.removes } }, errors }
}

function decodeBlocks(push: XdsPush): { change: StateChange; errors: string[] } {
  const found = push.upserts.find(({ name }) => name === NETWORKS_NAME)
  if (found === undefined) return { change: push.removes.includes(NETWORKS_NAME) ? { networks: [] } : {}, errors: [] }
  const decoded = decodeNetworks(found.bytes)
  return decoded.ok ? { change: { networks: decoded.value.podAndServiceCidrs }, errors: [] } : { change: {}, errors: [...decoded.errors] }
}
