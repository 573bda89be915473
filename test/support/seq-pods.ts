// Pods that exchange numbered requests (seq-client.ts, seq-server.ts) in a mesh under test, and the sums of their accounts.
import assert from 'node:assert/strict'
import { join } from 'node:path'
import type { MeshObject } from '../../model/object.ts'
import type { RunningCommand, TestPod } from './mesh.ts'
import type { SeqReport } from './seq-client.ts'

const file = (name: string): string => join(import.meta.dirname, name)

/** Where a seq server listens in its pod. */
export const SEQ_TCP_PORT = 9000
export const SEQ_HTTP_PORT = 9001

/** The command of a server's container. */
export const SEQ_SERVER: readonly string[] = [
  process.execPath,
  file('seq-server.ts'),
  '--tcp-port',
  `${SEQ_TCP_PORT}`,
  '--http-port',
  `${SEQ_HTTP_PORT}`,
]

/** Readiness of a server's container. */
export const SEQ_PROBE = { readinessProbe: { httpGet: { path: '/healthz', port: SEQ_HTTP_PORT }, periodSeconds: 1 } } as const

/** A container command that only stays. */
export const IDLE: readonly string[] = ['node', '-e', 'process.on("SIGTERM", () => process.exit(0)); setInterval(() => {}, 60_000)']

/** Objects of a namespace with service accounts of these names. */
export function namespaceWith(name: string, accounts: readonly string[]): MeshObject[] {
  const account = (each: string): MeshObject => ({ apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: each, namespace: name } })
  return [{ apiVersion: 'v1', kind: 'Namespace', metadata: { name } }, ...accounts.map(account)]
}

/** What a client is to do; `to` as HOST:PORT, `fresh` = a connection per request. */
export interface SeqLoad {
  readonly to: string
  readonly mode: 'tcp' | 'http'
  readonly rate: number
  readonly fresh?: boolean
  readonly connections?: number
  readonly bytes?: number
  /** Sends no more than these. */
  readonly most?: number
}

/** Starts a client in a pod. @param number distinct per server */
export function startLoad(pod: TestPod, number: number, load: SeqLoad): RunningCommand {
  const args = ['--to', load.to, '--mode', load.mode, '--rate', `${load.rate}`, '--client', `${number}`]
  if (load.fresh === true) args.push('--fresh')
  if (load.connections !== undefined) args.push('--connections', `${load.connections}`)
  if (load.most !== undefined) args.push('--most', `${load.most}`)
  if (load.bytes !== undefined) args.push('--bytes', `${load.bytes}`)
  return pod.start([process.execPath, file('seq-client.ts'), ...args])
}

/** Ends a client and gives its account. */
export async function endLoad(running: RunningCommand): Promise<SeqReport> {
  const { stdout, stderr, status } = await running.stop()
  const line = stdout.split('\n').find((each) => each.includes('"message":"report"'))
  assert.ok(line !== undefined, `a client gave no report (status ${status}): ${stderr}${stdout}`)
  return JSON.parse(line) as SeqReport
}

/** One line for a message: the numbers of an account. */
export function describeReport({
  sent,
  lost,
  duplicates,
  corrupted,
  connectionsBroken,
  errors,
  latencyMs,
  longestGapMs,
}: SeqReport): string {
  const { p50, p99, max } = latencyMs
  return `${sent} sent, ${lost} lost ${JSON.stringify(errors)}, ${duplicates} twice, ${corrupted} damaged, ${connectionsBroken} broken, p50 ${p50} p99 ${p99} max ${max} ms, longest gap ${longestGapMs} ms`
}
