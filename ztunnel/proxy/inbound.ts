// What arrives in a pod on port 15008: accept → handshake → admit the peer, then per CONNECT: identify → decide → authorise →
// dial → 200 → copy → record. Order of checks and statuses follow istio/ztunnel:src/proxy/inbound.rs.
import type { TLSSocket } from 'node:tls'
import { parseWorkloadId } from '../../certs/spiffe.ts'
import { parseBaggage } from '../../hbone/baggage.ts'
import type { ConnectRequest } from '../../hbone/connect.ts'
import { parseForwarded } from '../../hbone/forwarded.ts'
import type { HboneServerStream } from '../../hbone/server.ts'
import { spliceTunnel } from '../../hbone/splice.ts'
import type { ByteCounters } from '../../hbone/splice.ts'
import { factsOfBaggage } from '../../hbone/workload-baggage.ts'
import type { Endpoint } from '../../model/address.ts'
import { spiffeIdOf } from '../../model/identity.ts'
import type { Identity, SpiffeId } from '../../model/identity.ts'
import type { PolicyConnection } from '../../model/policy.ts'
import type { Workload } from '../../model/workload.ts'
import { decideWithDryRun, explain } from '../../policy/l4.ts'
import type { ConnectionFacts, WorkloadFacts } from '../../telemetry/connection-record.ts'
import { ztunnelFailure } from '../errors.ts'
import { bareFacts } from './accept.ts'
import { asMeshError, deny, ownWorkload } from './context.ts'
import type { PodContext } from './context.ts'
import { decideInbound, inboundService } from './decide.ts'
import { judgeWay } from './guard.ts'
import type { Way } from './guard.ts'
import { Life } from './life.ts'

/** In a CONNECT of a waypoint: the SPIFFE ID of the client that it forwards. */
const SOURCE_HEADER = 'x-weft-source'

/** The verified other end of an HBONE connection. */
export interface Peer {
  readonly id: SpiffeId
  readonly identity: Identity
  readonly source: Endpoint
  /** The pod's address as the peer dialled it. */
  readonly dialled: Endpoint
}

/** A CONNECT that passed every check. */
interface Admitted {
  readonly to: Endpoint
  readonly way: Way
  readonly policy: PolicyConnection
  readonly facts: ConnectionFacts
}

/**
 * Checks the peer of a finished handshake; nothing may be read from the socket before.
 * @throws MeshError ALPN_MISSING, PEER_REFUSED, CERTIFICATE_TIMEOUT
 */
export function admitPeer(socket: TLSSocket, addresses: { source: Endpoint; local: Endpoint }, pod: PodContext): Peer {
  if (socket.alpnProtocol !== 'h2') throw ztunnelFailure('ALPN_MISSING')
  const mine = pod.credentials.peek(pod.id)
  if (mine === undefined) throw ztunnelFailure('CERTIFICATE_TIMEOUT', { id: pod.id })
  const peer = mine.admission.admit(socket, { trustDomain: pod.identity.trustDomain })
  if (!peer.ok) throw ztunnelFailure('PEER_REFUSED', { refusal: peer.code, reason: peer.errors.join('; ') })
  const { id, trustDomain, namespace, serviceAccount } = peer.value
  return { id, identity: { trustDomain, namespace, serviceAccount }, source: addresses.source, dialled: addresses.local }
}

/** Serves one CONNECT to its end; never rejects. */
export async function serveConnect(request: ConnectRequest, stream: HboneServerStream, peer: Peer, pod: PodContext): Promise<void> {
  let admitted: Admitted
  try {
    admitted = await admitConnect(request, peer, pod)
  } catch (error) {
    const failure = asMeshError(error, 'DESTINATION_UNKNOWN')
    stream.refuse(failure.row.status ?? 503)
    deny(pod, { ...bareFacts('inbound', peer.source, peer.dialled), hboneAddress: printable(request.authority) }, failure)
    return
  }
  // Reset in the same breath as it was opened (rapid reset): nothing is dialled for it, and no line is written.
  if (stream.isClosed) pod.refused.inc({ direction: 'inbound', code: 'STREAM_RESET' })
  else await carry(stream, admitted, peer, pod)
}

/** Identify and decide. @throws MeshError with the status that the peer gets */
async function admitConnect(request: ConnectRequest, peer: Peer, pod: PodContext): Promise<Admitted> {
  const workload = await ownWorkload(pod, peer.dialled.ip)
  if (workload === undefined) throw ztunnelFailure('DESTINATION_UNKNOWN', { pod: pod.name, ip: peer.dialled.ip })
  const decision = decideInbound(workload, peer.dialled.ip, request.authority)
  if (decision.kind === 'refuse') throw ztunnelFailure(decision.code, { authority: printable(request.authority) })
  const { to } = decision
  if (!(await pod.mesh.waitForServices(workload.services.keys(), pod.settings.unknownWaitMs)))
    throw ztunnelFailure('DESTINATION_UNKNOWN', { pod: pod.name, reason: 'its services are not known yet' })
  const forwarded = request.forwarded === undefined ? undefined : parseForwarded(request.forwarded)
  const way = judgeWay(workload, to.port, peer.id, forwarded?.host, pod.mesh)
  const client = originalClient(request, way, pod)
  const ends = { sourceIp: peer.source.ip, destinationIp: to.ip, destinationPort: to.port }
  const policy = client === undefined ? { source: peer.identity, ...ends } : { source: client, via: peer.identity, ...ends }
  const facts = factsOf(request, workload, to, peer, forwarded?.host, pod)
  if (client === undefined) return { to, way, policy, facts }
  return { to, way, policy, facts: { ...facts, client: spiffeIdOf(client), clientWorkload: forwardedWorkload(request, client) } }
}

/** What the pod's own waypoint tells of the client's workload, for metrics; it must fit the identity that it names. */
function forwardedWorkload(request: ConnectRequest, client: Identity): WorkloadFacts {
  const told = factsOfBaggage(parseBaggage(request.baggage ?? ''))
  return told.namespace === client.namespace ? told : { namespace: client.namespace }
}

/**
 * Whom the pod's own waypoint forwards; anybody else's word is dropped and counted.
 * @throws MeshError BAD_SOURCE
 */
function originalClient(request: ConnectRequest, way: Way, pod: PodContext): Identity | undefined {
  const text = request.extra?.[SOURCE_HEADER]
  if (text === undefined) return undefined
  if (way !== 'waypoint') {
    pod.sourcesIgnored.inc()
    return undefined
  }
  const parsed = parseWorkloadId(text)
  if (!parsed.ok || parsed.value.trustDomain !== pod.identity.trustDomain) throw ztunnelFailure('BAD_SOURCE', { source: printable(text) })
  return parsed.value
}

/** Authorise, dial, answer, copy, record: exactly one access line, written at the end. */
async function carry(stream: HboneServerStream, admitted: Admitted, peer: Peer, pod: PodContext): Promise<void> {
  const { to, way, policy, facts } = admitted
  const counters: ByteCounters = { fromTunnel: 0, toTunnel: 0 }
  const record = pod.records.open(facts, () => ({ request: counters.fromTunnel, response: counters.toTunnel }))
  using life = new Life(pod, undefined, {
    direction: 'inbound',
    source: peer.source,
    original: to,
    actual: to,
    protocol: 'HBONE',
    peer: peer.id,
    policy,
  })
  let isAnswered = false
  try {
    checkWay(way, pod)
    checkPolicy(policy, peer.dialled, pod)
    const upstream = await pod.sockets.connectPlain(to, shownSource(peer.source, to, pod))
    if (life.signal.aborted) upstream.destroy()
    life.signal.throwIfAborted()
    isAnswered = true
    const tunnel = stream.accept()
    await life.run(tunnel, spliceTunnel(tunnel, upstream, counters))
    record.finish()
  } catch (error) {
    const failure = life.reasonFor(asMeshError(error, 'DIAL_FAILED'))
    if (!isAnswered) stream.refuse(failure.row.status ?? 503)
    record.finish(failure)
  }
}

/** @throws MeshError WAYPOINT_REQUIRED */
export function checkWay(way: Way, pod: PodContext): void {
  if (way !== 'round') return
  pod.refused.inc({ direction: 'inbound', code: 'WAYPOINT_REQUIRED' })
  throw ztunnelFailure('WAYPOINT_REQUIRED')
}

/** @throws MeshError POLICY_DENIED, LIMIT_REACHED */
export function checkPolicy(connection: PolicyConnection, dialled: Endpoint, pod: PodContext): void {
  if (pod.connections.size > pod.settings.maxPodConnections) throw ztunnelFailure('LIMIT_REACHED')
  const workload = pod.mesh.workloadByAddress(pod.settings.network, dialled.ip)
  if (workload === undefined) throw ztunnelFailure('DESTINATION_UNKNOWN', { pod: pod.name, ip: dialled.ip })
  const { verdict, dryRun } = decideWithDryRun(pod.mesh.policiesFor(workload), connection)
  for (const finding of dryRun)
    pod.log.info('a dry-run policy matched', { ...finding, pod: pod.name, src: connection.sourceIp, identity: connection.source })
  if (verdict.isAllowed) return
  pod.refused.inc({ direction: 'inbound', code: 'POLICY_DENIED' })
  throw ztunnelFailure('POLICY_DENIED', { reason: explain(verdict) })
}

/** The source address that the app sees; undefined = the pod's own (setting, or a pod that calls itself). */
export function shownSource(source: Endpoint, to: Endpoint, pod: PodContext): Endpoint['ip'] | undefined {
  return pod.settings.keepsSourceIp && source.ip !== to.ip ? source.ip : undefined
}

/** The workload behind a source address, if it is really the one whose identity was verified. */
export function sourceWorkload(source: Endpoint, identity: Identity | undefined, pod: PodContext): Workload | undefined {
  const workload = pod.mesh.workloadByAddress(pod.settings.network, source.ip)
  if (workload === undefined || identity === undefined) return workload
  return workload.namespace === identity.namespace && workload.serviceAccount === identity.serviceAccount ? workload : undefined
}

function factsOf(
  request: ConnectRequest,
  workload: Workload,
  to: Endpoint,
  peer: Peer,
  dialledHost: string | undefined,
  pod: PodContext,
): ConnectionFacts {
  const source = sourceWorkload(peer.source, peer.identity, pod) ?? factsOfBaggage(parseBaggage(request.baggage ?? ''))
  return {
    direction: 'inbound',
    source: { address: peer.source, workload: source, identity: peer.id },
    destination: { address: peer.dialled, workload, identity: pod.id },
    hboneAddress: request.authority,
    service: inboundService(workload, to.port, dialledHost, pod.mesh),
  }
}

/** Foreign text for a log line: bounded, no control characters. */
function printable(text: string): string {
  return text.slice(0, 300).replace(/[^\x20-\x7e]/g, '?')
}
