// Wire and model forms of a waypoint's or gateway's address, and of ports; shared by workloads and services.
import { create } from '@bufbuild/protobuf'
import { ipToBytes } from '../../model/address.ts'
import type { AppProtocol } from '../../model/service.ts'
import type { GatewayAddress } from '../../model/workload.ts'
import { AppProtocol as WireAppProtocol, type GatewayAddress as WireGateway, GatewayAddressSchema } from '../../proto/workload_pb.ts'
import type { Faults } from './check.ts'

/** Names of the wire's app protocols. */
export const APP_PROTOCOLS = {
  [WireAppProtocol.UNKNOWN]: 'UNKNOWN',
  [WireAppProtocol.HTTP11]: 'HTTP11',
  [WireAppProtocol.HTTP2]: 'HTTP2',
  [WireAppProtocol.GRPC]: 'GRPC',
  [WireAppProtocol.TCP]: 'TCP',
  [WireAppProtocol.TLS]: 'TLS',
} as const satisfies Readonly<Record<number, AppProtocol>>

/** @returns the model form; undefined when absent or (noted in `faults`) malformed. */
export function decodeGateway(faults: Faults, field: string, wire: WireGateway | undefined): GatewayAddress | undefined {
  if (wire === undefined) return undefined
  const hbonePort = faults.port(`${field}.hbone_mtls_port`, wire.hboneMtlsPort)
  const to = wire.destination
  if (to.case === 'hostname') {
    const namespace = faults.name(`${field}.hostname.namespace`, to.value.namespace)
    return { kind: 'hostname', namespace, hostname: faults.host(`${field}.hostname.hostname`, to.value.hostname), hbonePort }
  }
  if (to.case === 'address') {
    const ip = faults.ip(`${field}.address`, to.value.address)
    const network = faults.text(`${field}.address.network`, to.value.network)
    return ip === undefined ? undefined : { kind: 'address', network, ip, hbonePort }
  }
  // Present but empty must not read as "no waypoint": that would bypass it.
  faults.note(field, 'neither hostname nor address')
  return undefined
}

/** @returns the wire form, undefined for undefined. */
export function encodeGateway(gateway: GatewayAddress | undefined): WireGateway | undefined {
  if (gateway === undefined) return undefined
  const { hbonePort: hboneMtlsPort } = gateway
  if (gateway.kind === 'hostname') {
    const value = { namespace: gateway.namespace, hostname: gateway.hostname }
    return create(GatewayAddressSchema, { destination: { case: 'hostname', value }, hboneMtlsPort })
  }
  const value = { network: gateway.network, address: ipToBytes(gateway.ip) }
  return create(GatewayAddressSchema, { destination: { case: 'address', value }, hboneMtlsPort })
}

/** @returns the number that `names` gives `value` on the wire. */
export function numberOf<N extends number, T>(names: Readonly<Record<N, T>>, value: T): N {
  for (const [number, name] of Object.entries(names)) if (name === value) return Number(number) as N
  return 0 as N
}
