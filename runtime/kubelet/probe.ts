// Probes of a container, sent by the kubelet's process (the node's kubelet cgroup, which inbound steering lets through).
// One try is one connection; the counting follows Kubernetes: thresholds, initial delay, startup before the others.
import { request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { connect } from 'node:net'
import { type Clock, pause } from '../../kit/clock.ts'
import { messageOf } from '../../kit/error.ts'
import type { Container, Probe } from '../../model/container.ts'

/** Outcome of one try; `reason` is shown in the event. */
export type ProbeResult = { readonly isGood: true } | { readonly isGood: false; readonly reason: string }

/** What a try needs to know of the container. `run` executes a command inside it and gives its exit status. */
export interface ProbeTarget {
  readonly ip: string
  readonly container: Container
  run(command: readonly string[], timeoutMs: number): Promise<number>
}

/** One try of a probe. Never throws. */
export async function tryProbe(probe: Probe, target: ProbeTarget): Promise<ProbeResult> {
  const timeoutMs = (probe.timeoutSeconds ?? 1) * 1000
  try {
    if (probe.exec !== undefined) {
      const status = await target.run(probe.exec.command, timeoutMs)
      return status === 0 ? { isGood: true } : { isGood: false, reason: `command ended with status ${status}` }
    }
    const port = portOf(probe.httpGet?.port ?? probe.tcpSocket?.port ?? 0, target.container)
    if (port === undefined) return { isGood: false, reason: 'the named port is not a port of the container' }
    if (probe.httpGet !== undefined) return await tryHttp(probe.httpGet, port, target.ip, timeoutMs)
    return await tryTcp(probe.tcpSocket?.host ?? target.ip, port, timeoutMs)
  } catch (error) {
    return { isGood: false, reason: messageOf(error) }
  }
}

/**
 * Repeats a probe until `signal` aborts; `tell` hears each change of the verdict (thresholds applied), first verdict included.
 * @param startsGood liveness counts as good until it failed; readiness and startup do not
 */
export async function watchProbe(
  probe: Probe,
  options: {
    readonly target: ProbeTarget
    readonly clock: Clock
    readonly signal: AbortSignal
    readonly startsGood: boolean
    tell(isGood: boolean, reason: string): void
  },
): Promise<void> {
  const { target, clock, signal, tell } = options
  let isGood = options.startsGood
  let streak = 0
  await pause(clock, (probe.initialDelaySeconds ?? 0) * 1000, signal)
  while (!signal.aborted) {
    const result = await tryProbe(probe, target)
    if (signal.aborted) return
    streak = result.isGood === isGood ? 0 : streak + 1
    if (streak >= (result.isGood ? (probe.successThreshold ?? 1) : (probe.failureThreshold ?? 3))) {
      isGood = result.isGood
      streak = 0
      tell(isGood, result.isGood ? '' : result.reason)
    } else if (!result.isGood && !isGood && streak === 0) tell(false, result.reason)
    // A container that is not ready yet is asked more often: a demo should not wait for a period of 10 s.
    await pause(clock, isGood ? periodMs(probe) : Math.min(periodMs(probe), STARTING_PERIOD_MS), signal)
  }
}

/** Number of a port that may be given by name. */
export function portOf(port: number | string, container: Container): number | undefined {
  if (typeof port === 'number') return port
  return container.ports?.find((one) => one.name === port)?.containerPort
}

const STARTING_PERIOD_MS = 500

function periodMs(probe: Probe): number {
  return (probe.periodSeconds ?? 10) * 1000
}

function tryHttp(get: NonNullable<Probe['httpGet']>, port: number, ip: string, timeoutMs: number): Promise<ProbeResult> {
  const isTls = get.scheme === 'HTTPS'
  const headers = Object.fromEntries((get.httpHeaders ?? []).map(({ name, value }) => [name, value]))
  return new Promise((resolve, reject) => {
    const options = {
      host: get.host ?? ip,
      port,
      path: get.path ?? '/',
      agent: false as const,
      timeout: timeoutMs,
      headers: { 'user-agent': 'kube-probe/1.36', connection: 'close', ...headers },
    }
    // Like the kubelet: the certificate is not checked, only that something answers.
    const outgoing = isTls ? httpsRequest({ ...options, rejectUnauthorized: false }) : httpRequest(options)
    outgoing.on('timeout', () => outgoing.destroy(new Error(`no answer within ${timeoutMs} ms`)))
    outgoing.on('error', reject)
    outgoing.on('response', (answer) => {
      const status = answer.statusCode ?? 0
      answer.destroy()
      resolve(status >= 200 && status < 400 ? { isGood: true } : { isGood: false, reason: `HTTP status ${status}` })
    })
    outgoing.end()
  })
}

function tryTcp(host: string, port: number, timeoutMs: number): Promise<ProbeResult> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, timeout: timeoutMs })
    socket.on('timeout', () => socket.destroy(new Error(`no answer within ${timeoutMs} ms`)))
    socket.on('error', reject)
    socket.on('connect', () => {
      socket.destroy()
      resolve({ isGood: true })
    })
  })
}
