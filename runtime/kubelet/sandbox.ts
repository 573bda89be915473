// A pod's sandbox: its network namespace with a link to the node's pod bridge, its cgroup, and the agent's word that it may
// start. Recorded in pods/UID/sandbox.json before it is made, so that `down` and the next kubelet find it.
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { codeOf, messageOf } from '../../kit/error.ts'
import { killCgroup, makeCgroup, removeCgroup } from '../../linux/cgroup.ts'
import { ipBatch, runCommand } from '../command.ts'
import { runtimeFailure } from '../errors.ts'
import { type MeshLayout, NETNS_DIR, type NodeLayout, podDir, podNetns } from '../layout.ts'
import { POD_BRIDGE, POD_SYSCTLS, setSysctls } from '../network.ts'
import type { PodAddresses } from './addresses.ts'

/** What is recorded of a pod; `containers` holds the process that is PID 1 inside, by container name. */
export interface SandboxRecord {
  readonly node: string
  readonly uid: string
  readonly namespace: string
  readonly name: string
  /** Name below /run/netns. */
  readonly netns: string
  readonly hostInterface: string
  readonly ips: PodAddresses
  readonly cgroup: string
  /** The pod uses the node's namespace and addresses; nothing of the network is its own. */
  readonly isHostNetwork: boolean
  readonly containers: Readonly<Record<string, number>>
}

const CNI_TIMEOUT_MS = 10_000
const MAX_ANSWER_BYTES = 64 * 1024

/** The record of a pod that is to run on the node. @param ips undefined = host network */
export function sandboxRecord(
  mesh: MeshLayout,
  node: NodeLayout,
  pod: { readonly uid: string; readonly namespace: string; readonly name: string },
  ips: PodAddresses | undefined,
): SandboxRecord {
  return {
    node: node.name,
    ...pod,
    isHostNetwork: ips === undefined,
    netns: ips === undefined ? node.netns : podNetns(mesh.name, pod.uid),
    hostInterface: `veth${pod.uid.slice(0, 8)}`,
    ips: ips ?? node.ip,
    cgroup: join(node.cgroup, 'pods', pod.uid),
    containers: {},
  }
}

/** Writes the record, whole or not at all. */
export function writeSandbox(mesh: MeshLayout, record: SandboxRecord): void {
  const dir = podDir(mesh, record.uid)
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  writeFileSync(join(dir, 'sandbox.json.new'), JSON.stringify(record), { mode: 0o600 })
  renameSync(join(dir, 'sandbox.json.new'), join(dir, 'sandbox.json'))
}

/** @returns undefined when the pod has no sandbox */
export function readSandbox(mesh: MeshLayout, uid: string): SandboxRecord | undefined {
  try {
    return JSON.parse(readFileSync(join(podDir(mesh, uid), 'sandbox.json'), 'utf8')) as SandboxRecord
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw error
  }
}

/**
 * Makes namespace, link and cgroup. The caller is in the node's network namespace.
 * @throws MeshError COMMAND_FAILED; `removeSandbox` removes what was made
 */
export async function makeSandbox(node: NodeLayout, record: SandboxRecord): Promise<void> {
  makeCgroup(record.cgroup)
  if (record.isHostNetwork) return
  await runCommand('ip', ['netns', 'add', record.netns])
  setSysctls(record.netns, POD_SYSCTLS)
  await ipBatch([
    `link add ${record.hostInterface} type veth peer name eth0 netns ${record.netns}`,
    `link set dev ${record.hostInterface} addrgenmode none`,
    `link set dev ${record.hostInterface} master ${POD_BRIDGE} up`,
  ])
  await ipBatch(
    [
      'link set dev lo up',
      `addr add ${record.ips.v4}/24 dev eth0`,
      `addr add ${record.ips.v6}/64 dev eth0 nodad`,
      'link set dev eth0 up',
      `route add default via ${node.gateway.v4}`,
      `route add default via ${node.gateway.v6}`,
    ],
    record.netns,
  )
}

/** Ends every process of the pod and removes what `makeSandbox` made, also when only half of it was. */
export async function removeSandbox(record: Pick<SandboxRecord, 'cgroup' | 'netns' | 'isHostNetwork'>): Promise<void> {
  await killCgroup(record.cgroup)
  removeCgroup(record.cgroup)
  if (!record.isHostNetwork && existsSync(join(NETNS_DIR, record.netns))) await runCommand('ip', ['netns', 'del', record.netns])
}

/** Removes the pod's directory: volumes, logs, record. */
export function forgetSandbox(mesh: MeshLayout, uid: string): void {
  rmSync(podDir(mesh, uid), { recursive: true, force: true })
}

/**
 * Tells the node's agent that a pod comes or goes.
 * @throws MeshError CNI_FAILED with what the agent said
 */
export function callCni(socketPath: string, path: '/cmdadd' | '/cmddel', record: SandboxRecord): Promise<void> {
  const body = Buffer.from(
    JSON.stringify({
      Netns: join(NETNS_DIR, record.netns),
      PodName: record.name,
      PodNamespace: record.namespace,
      PodUID: record.uid,
      IPs: [{ Address: `${record.ips.v4}/32` }, { Address: `${record.ips.v6}/128` }],
      HostInterface: record.hostInterface,
    }),
  )
  return new Promise((resolve, reject) => {
    const outgoing = request({
      socketPath,
      path,
      method: 'POST',
      headers: { 'content-type': 'application/json', 'content-length': body.length },
    })
    outgoing.setTimeout(CNI_TIMEOUT_MS, () => outgoing.destroy(runtimeFailure('CNI_FAILED', { said: 'no answer within 10 s' })))
    outgoing.on('error', (cause) => reject(runtimeFailure('CNI_FAILED', { said: messageOf(cause) })))
    outgoing.on('response', (answer) => {
      let text = ''
      answer.setEncoding('utf8').on('data', (chunk: string) => {
        if (text.length < MAX_ANSWER_BYTES) text += chunk
      })
      answer.on('end', () => {
        if ((answer.statusCode ?? 500) < 300) resolve()
        else reject(runtimeFailure('CNI_FAILED', { status: answer.statusCode, said: text.slice(0, 500) }))
      })
    })
    outgoing.end(body)
  })
}
