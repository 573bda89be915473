// What arrives in a pod without the mesh's TLS (port 15006, led there by the node's agent): accept →
// identify → authorise with no identity → dial → copy → record. Follows istio/ztunnel:src/proxy/inbound_passthrough.rs.
import type net from 'node:net'
import { splicePlain } from '../../hbone/splice.ts'
import type { PlainCounters } from '../../hbone/splice.ts'
import type { PolicyConnection } from '../../model/policy.ts'
import type { Workload } from '../../model/workload.ts'
import type { ConnectionFacts } from '../../telemetry/connection-record.ts'
import { ztunnelFailure } from '../errors.ts'
import { accept, refuse } from './accept.ts'
import type { Accepted } from './accept.ts'
import { asMeshError, ownWorkload } from './context.ts'
import type { PodContext } from './context.ts'
import { decidePlaintext, inboundService } from './decide.ts'
import { checkPolicy, checkWay, shownSource, sourceWorkload } from './inbound.ts'
import { judgeWay } from './guard.ts'
import { Life } from './life.ts'
import { readInboundDst } from './original-dst.ts'

/** Proxies one plaintext connection to its end; never rejects. */
export async function servePlaintext(raw: net.Socket, pod: PodContext): Promise<void> {
  let accepted = accept(raw, pod, 'inbound')
  if (accepted === undefined) return
  let workload: Workload
  try {
    accepted = { ...accepted, local: readInboundDst(accepted.fd, accepted.local) }
    workload = await identify(accepted, pod)
  } catch (error) {
    refuse(accepted, pod, 'inbound', accepted.local, asMeshError(error, 'DESTINATION_UNKNOWN'))
    return
  }
  await carry(accepted, workload, pod)
}

async function identify(accepted: Accepted, pod: PodContext): Promise<Workload> {
  const decision = decidePlaintext(accepted.local)
  if (decision.kind === 'refuse') throw ztunnelFailure(decision.code, { port: accepted.local.port })
  const workload = await ownWorkload(pod, accepted.local.ip)
  if (workload === undefined || !(await pod.mesh.waitForServices(workload.services.keys(), pod.settings.unknownWaitMs)))
    throw ztunnelFailure('DESTINATION_UNKNOWN', { pod: pod.name, ip: accepted.local.ip })
  return workload
}

async function carry(accepted: Accepted, workload: Workload, pod: PodContext): Promise<void> {
  const { source, local: to } = accepted
  const counters: PlainCounters = { fromA: 0, fromB: 0 }
  const record = pod.records.open(factsOf(accepted, workload, pod), () => ({ request: counters.fromA, response: counters.fromB }))
  const policy: PolicyConnection = { source: undefined, sourceIp: source.ip, destinationIp: to.ip, destinationPort: to.port }
  using life = new Life(pod, accepted.socket, {
    direction: 'inbound',
    source,
    original: to,
    actual: to,
    protocol: 'TCP',
    peer: undefined,
    policy,
  })
  try {
    checkWay(judgeWay(workload, to.port, undefined, undefined, pod.mesh), pod)
    checkPolicy(policy, to, pod)
    const upstream = await pod.sockets.connectPlain(to, shownSource(source, to, pod))
    await life.run(upstream, splicePlain(accepted.socket, upstream, counters))
    record.finish()
  } catch (error) {
    const failure = life.reasonFor(asMeshError(error, 'DIAL_FAILED'))
    record.finish(failure)
    accepted.socket.reset()
  }
}

function factsOf(accepted: Accepted, workload: Workload, pod: PodContext): ConnectionFacts {
  return {
    direction: 'inbound',
    source: { address: accepted.source, workload: sourceWorkload(accepted.source, undefined, pod), identity: undefined },
    destination: { address: accepted.local, workload, identity: undefined },
    hboneAddress: undefined,
    service: inboundService(workload, accepted.local.port, undefined, pod.mesh),
  }
}
