// A connection that leaves a pod, captured on port 15001: accept → identify → decide → dial → copy → record, one function per
// step, in this order. Follows istio/ztunnel:src/proxy/outbound.rs.
import { randomUUID } from 'node:crypto'
import type net from 'node:net'
import type { ConnectRequest } from '../../hbone/connect.ts'
import { formatForwarded } from '../../hbone/forwarded.ts'
import { splicePlain, spliceTunnel } from '../../hbone/splice.ts'
import { baggageTextOf } from '../../hbone/workload-baggage.ts'
import { formatEndpoint } from '../../model/address.ts'
import type { Endpoint } from '../../model/address.ts'
import type { Workload } from '../../model/workload.ts'
import type { ConnectionFacts, Counters } from '../../telemetry/connection-record.ts'
import { ztunnelFailure } from '../errors.ts'
import { accept, refuse } from './accept.ts'
import type { Accepted } from './accept.ts'
import { asMeshError, ownWorkload } from './context.ts'
import type { PodContext } from './context.ts'
import { decideOutbound } from './decide.ts'
import type { DirectRoute, HboneRoute, Route } from './decide.ts'
import { Life } from './life.ts'
import { readOriginalDst } from './original-dst.ts'

/** Proxies one captured connection to its end; never rejects. */
export async function serveOutbound(raw: net.Socket, pod: PodContext): Promise<void> {
  const accepted = accept(raw, pod, 'outbound')
  if (accepted === undefined) return
  let original: Endpoint | undefined
  let source: Workload
  let route: Route
  try {
    original = readOriginalDst(accepted.fd, accepted.local)
    source = await identify(accepted, pod)
    route = await decide(source, original, pod)
  } catch (error) {
    refuse(accepted, pod, 'outbound', original, asMeshError(error, 'SOURCE_UNKNOWN'))
    return
  }
  await carry(accepted, original, source, route, pod)
}

/** Who dials: the pod's own description, and only if this is really the pod that was enrolled here. */
async function identify(accepted: Accepted, pod: PodContext): Promise<Workload> {
  const source = await ownWorkload(pod, accepted.source.ip)
  if (source === undefined) throw ztunnelFailure('SOURCE_UNKNOWN', { pod: pod.name, ip: accepted.source.ip })
  return source
}

/** Where it goes. An address of the mesh that is not described yet is waited for once, and so are names of endpoints. */
async function decide(source: Workload, original: Endpoint, pod: PodContext): Promise<Route> {
  let decision = decideOutbound(source, original, pod.mesh)
  if (decision.kind === 'unknown') {
    await pod.mesh.waitForWorkload(source.network, decision.ip, pod.settings.unknownWaitMs)
    decision = decideOutbound(source, original, pod.mesh)
  }
  if (decision.kind === 'unresolved') {
    await pod.mesh.resolveNames(decision.hostnames)
    decision = decideOutbound(source, original, pod.mesh)
  }
  if (decision.kind === 'unresolved') throw ztunnelFailure('NAME_NOT_RESOLVED', { to: formatEndpoint(original) })
  if (decision.kind === 'unknown') throw ztunnelFailure('UNKNOWN_DESTINATION', { to: formatEndpoint(original) })
  if (decision.kind === 'refuse') throw ztunnelFailure(decision.code, { to: formatEndpoint(original) })
  return decision
}

/** Dials, copies, records: from here on there is exactly one access line, written at the end. */
async function carry(accepted: Accepted, original: Endpoint, source: Workload, route: Route, pod: PodContext): Promise<void> {
  const counters: Counters = { fromTunnel: 0, toTunnel: 0, fromA: 0, fromB: 0 }
  const record = pod.records.open(factsOf(accepted, source, route, pod), () => ({
    request: counters.toTunnel + counters.fromA,
    response: counters.fromTunnel + counters.fromB,
  }))
  using life = new Life(pod, accepted.socket, {
    direction: 'outbound',
    source: accepted.source,
    original,
    actual: route.to,
    protocol: route.kind === 'hbone' ? 'HBONE' : 'TCP',
    peer: undefined,
    policy: undefined,
  })
  try {
    await (route.kind === 'hbone'
      ? throughTunnel(accepted, route, source, pod, life, counters)
      : direct(accepted, route, pod, life, counters))
    record.finish()
  } catch (error) {
    record.finish(life.reasonFor(asMeshError(error, 'DIAL_FAILED')))
    accepted.socket.reset()
  }
}

async function throughTunnel(
  accepted: Accepted,
  route: HboneRoute,
  source: Workload,
  pod: PodContext,
  life: Life,
  counters: Counters,
): Promise<void> {
  accepted.socket.readAhead() // while the peer decides
  const key = { source: pod.id, destinations: route.peers, to: route.to, sourceIp: accepted.source.ip }
  const deadline = pod.clock.after(answerTimeoutMs(pod), () => life.end(ztunnelFailure('DIAL_TIMEOUT', { to: formatEndpoint(route.to) })))
  const tunnel = await pod.pool
    .open(key, connectRequest(accepted, route, source), { signal: life.signal })
    .finally(() => deadline[Symbol.dispose]())
  await life.run(tunnel, spliceTunnel(tunnel, accepted.socket, counters))
}

/** Our dial, then what a peer may take before it answers: waiting for its own description, and its dial. */
function answerTimeoutMs(pod: PodContext): number {
  return 2 * pod.settings.dialTimeoutMs + pod.settings.unknownWaitMs
}

async function direct(accepted: Accepted, route: DirectRoute, pod: PodContext, life: Life, counters: Counters): Promise<void> {
  const upstream = await pod.sockets.connectPlain(route.to)
  await life.run(upstream, splicePlain(accepted.socket, upstream, counters))
}

function connectRequest(accepted: Accepted, route: HboneRoute, source: Workload): ConnectRequest {
  return {
    authority: formatEndpoint(route.authority),
    baggage: baggageTextOf(source),
    forwarded: formatForwarded({ for: accepted.source, ...(route.service === undefined ? {} : { host: route.service.hostname }) }),
    traceparent: `00-${randomHex()}-${randomHex().slice(16)}-00`,
  }
}

/** 32 digits, 122 bits of them random; Node draws the bytes of many UUIDs at once. */
function randomHex(): string {
  return randomUUID().replaceAll('-', '')
}

function factsOf(accepted: Accepted, source: Workload, route: Route, pod: PodContext): ConnectionFacts {
  const isMutual = route.kind === 'hbone'
  return {
    direction: 'outbound',
    source: { address: accepted.source, workload: source, identity: isMutual ? pod.id : undefined },
    destination: { address: route.to, workload: route.destination, identity: isMutual ? route.peers[0] : undefined },
    hboneAddress: isMutual ? formatEndpoint(route.authority) : undefined,
    service: route.service,
  }
}
