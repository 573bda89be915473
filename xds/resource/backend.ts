// The xDS resource weft.gateway.v1.Backend, bytes <-> model: how the endpoints of one service are treated.
import { type Result, success } from '../../kit/error.ts'
import type { Backend, BackendSubset, TrafficPolicy } from '../../model/backend.ts'
import { type Backend as WireBackend, BackendSchema } from '../../proto/gateway_pb.ts'
import { decodeMessage, encodeMessage } from '../../proto/wire.ts'
import { Faults } from './check.ts'
import { policyFromWire, policyToWire } from './traffic-policy.ts'

const PORTS_LIMIT = 1024
const SUBSETS_LIMIT = 1024
const WORKLOADS_LIMIT = 65_536

/** Decodes and checks one backend; on failure every fault found (at most 16). Never throws. */
export function decodeBackend(bytes: Uint8Array): Result<Backend> {
  const message = decodeMessage(BackendSchema, bytes)
  if (!message.ok) return message
  const wire = message.value
  const faults = new Faults()
  const value: Backend = {
    service: faults.serviceKey('service', wire.service),
    policy: policyFromWire(faults, 'policy', wire.policy),
    ports: portsFromWire(faults, wire),
    subsets: subsetsFromWire(faults, wire),
  }
  return faults.list.length === 0 ? success(value) : { ok: false, errors: faults.list }
}

/** The resource's bytes; equal backends give equal bytes, whatever the order of `ports`. */
export function encodeBackend({ service, policy, ports, subsets }: Backend): Buffer {
  return encodeMessage(BackendSchema, {
    service,
    policy: policyToWire(policy),
    ports: [...ports].sort(([a], [b]) => a - b).map(([port, own]) => ({ port, policy: policyToWire(own) })),
    subsets: subsets.map((subset) => ({
      name: subset.name,
      workloads: [...subset.workloads],
      policy: policyToWire(subset.policy),
    })),
  })
}

function portsFromWire(faults: Faults, wire: WireBackend): Map<number, TrafficPolicy> {
  const ports = new Map<number, TrafficPolicy>()
  for (const { port, policy } of faults.many('ports', wire.ports, PORTS_LIMIT)) {
    if (ports.has(port)) faults.note('ports', `${port} comes twice`)
    ports.set(faults.port('ports.port', port), policyFromWire(faults, 'ports.policy', policy))
  }
  return ports
}

function subsetsFromWire(faults: Faults, wire: WireBackend): BackendSubset[] {
  const names = new Set<string>()
  return faults.many('subsets', wire.subsets, SUBSETS_LIMIT).map(({ name, workloads, policy }) => {
    if (name === '') faults.note('subsets.name', 'is empty')
    if (names.has(name)) faults.note('subsets.name', 'comes twice')
    names.add(name)
    return {
      name: faults.text('subsets.name', name),
      workloads: faults.many('subsets.workloads', workloads, WORKLOADS_LIMIT).map((uid) => faults.text('subsets.workloads', uid)),
      policy: policyFromWire(faults, 'subsets.policy', policy),
    }
  })
}
