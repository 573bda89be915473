// The mesh's description from the control plane: delta xDS, decoded at the edge into changes of the state. Called by app.ts.
import { readFileSync } from 'node:fs'
import type { Clock } from '../kit/clock.ts'
import type { Log } from '../kit/log.ts'
import { DeltaClient } from '../xds/delta-client.ts'
import type { XdsState } from '../xds/delta-client.ts'
import { ADDRESS_TYPE, AUTHORIZATION_TYPE, NETWORKS_TYPE } from '../xds/kinds.ts'
import { decodeMeshPush } from '../xds/mesh-push.ts'
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
      const { change, errors } = decodeMeshPush(typeUrl, push)
      options.onChange(change)
      return errors
    },
    onState: options.onState,
    log,
    clock,
  })
}
