// The kill switch: takes steering away from a node, or from the pods of a namespace, with or without the mesh's processes.
// What was released is written down, so that `weft status` says it loudly until it is taken back.
import { existsSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { PodFiles, type PodPlace } from '../cni/pods.ts'
import { clearRedirect, lastMode, openRedirect } from '../cni/redirect/open.ts'
import type { Redirect } from '../cni/redirect/redirect.ts'
import { codeOf, messageOf } from '../kit/error.ts'
import { createLog, type Log } from '../kit/log.ts'
import { killCgroup } from '../linux/cgroup.ts'
import { inNetns, netnsCookie, openNetns } from '../linux/netns.ts'
import { type IpAddress, parseIp } from '../model/address.ts'
import { objectFailure } from '../objects/errors.ts'
import { runCommand } from './command.ts'
import { readSandbox, type SandboxRecord } from './kubelet/sandbox.ts'
import { type MeshLayout, NETNS_DIR, type NodeLayout } from './layout.ts'
import { REDIRECTION_ANNOTATION } from './annotations.ts'
import type { ObjectStore } from './store.ts'
import type { Supervisor } from './supervisor.ts'

/** One release that is in force. */
export interface ReleaseMark {
  readonly node?: string
  readonly namespace?: string
  readonly at: string
}

/** What is to be released or, with `resume`, taken back. */
export interface ReleaseRequest {
  readonly nodes?: readonly string[]
  readonly namespace?: string
  readonly resume?: boolean
  /** Every program and map goes, service addresses too. */
  readonly hard?: boolean
}

/** Marks in force; empty when there are none. */
export function readReleases(mesh: MeshLayout): ReleaseMark[] {
  try {
    return JSON.parse(readFileSync(marksFile(mesh), 'utf8')) as ReleaseMark[]
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return []
    throw error
  }
}

/**
 * Releases nodes with nobody's help: kills the agent (it would repair what we take away) and takes every pod out of steering,
 * capture and guard. Service addresses stay (this runtime has no other kube-proxy), as they were; with `hard`, or when the
 * programs cannot be opened, every program and map of the node goes, and service addresses with them.
 * @returns one sentence per node or pod
 */
export async function releaseNodes(mesh: MeshLayout, nodes: readonly NodeLayout[], nowIso: string, hard: boolean): Promise<string[]> {
  const sentences: string[] = []
  for (const node of nodes) {
    await killCgroup(join(node.cgroup, 'agent'))
    if (!hard && (await tryReleasePods(mesh, node, sentences))) continue
    clear(node)
    sentences.push(`${node.name}: every program, map and rule removed; its pods have no service addresses either`)
  }
  const rest = readReleases(mesh).filter((mark) => !nodes.some((node) => node.name === mark.node))
  writeMarks(mesh, [...rest, ...nodes.map((node) => ({ node: node.name, at: nowIso }))])
  return sentences
}

/** @returns false when the node's programs cannot be opened or a pod could not be released: then everything must go */
async function tryReleasePods(mesh: MeshLayout, node: NodeLayout, sentences: string[]): Promise<boolean> {
  const own = listSandboxes(mesh).filter((sandbox) => sandbox.node === node.name && !sandbox.isHostNetwork)
  try {
    using redirect = open(node)
    for (const sandbox of own) await releasePod(redirect, node, sandbox)
    sentences.push(`${node.name}: ${own.length} pods released; they speak plaintext`)
    return true
  } catch (error) {
    sentences.push(`${node.name}: the pods cannot be released one by one: ${messageOf(error)}`)
    return false
  }
}

/**
 * Releases the pods of one namespace on the given nodes, in the kernel, with nobody's help.
 * @returns one sentence per pod
 * @throws MeshError of bpf/ or linux/: what was done until then stays done
 */
export async function releaseNamespace(
  mesh: MeshLayout,
  nodes: readonly NodeLayout[],
  namespace: string,
  nowIso: string,
): Promise<string[]> {
  const sentences: string[] = []
  const sandboxes = listSandboxes(mesh).filter((sandbox) => sandbox.namespace === namespace && !sandbox.isHostNetwork)
  for (const node of nodes) {
    const own = sandboxes.filter((sandbox) => sandbox.node === node.name)
    if (own.length === 0) continue
    using redirect = open(node)
    for (const sandbox of own) {
      await releasePod(redirect, node, sandbox)
      sentences.push(`${sandbox.namespace}/${sandbox.name}: released`)
    }
  }
  writeMarks(mesh, [...readReleases(mesh).filter((mark) => mark.namespace !== namespace), { namespace, at: nowIso }])
  return sentences
}

/** POST /release: holds agents or takes labels away first, so that nothing captures the pods again. */
export async function releaseRoute(
  parts: {
    readonly layout: MeshLayout
    readonly nodes: readonly NodeLayout[]
    readonly store: ObjectStore
    readonly supervisor: Supervisor
  },
  body: unknown,
  nowMs: number,
): Promise<{ done: string[] }> {
  const request = (body ?? {}) as ReleaseRequest
  const { layout, nodes, store, supervisor } = parts
  const nowIso = new Date(nowMs).toISOString()
  if (request.resume === true) return { done: resume(parts, request) }
  if (request.namespace !== undefined) {
    setMode(store, request.namespace)
    return { done: await releaseNamespace(layout, nodes, request.namespace, nowIso) }
  }
  const chosen = nodes.filter((node) => request.nodes?.includes(node.name) === true)
  if (chosen.length === 0)
    throw objectFailure('NOT_FOUND', { nodes: request.nodes?.join(','), has: nodes.map((node) => node.name).join(',') })
  for (const node of chosen) await supervisor.hold(`cni-${node.name}`)
  const done = await releaseNodes(layout, chosen, nowIso, request.hard === true)
  for (const node of chosen) unmarkPods(store, node.name)
  return { done }
}

function resume({ layout, nodes, supervisor }: Parameters<typeof releaseRoute>[0], request: ReleaseRequest): string[] {
  const chosen = nodes.filter((node) => request.nodes?.includes(node.name) === true)
  for (const node of chosen) supervisor.resume(`cni-${node.name}`)
  const names = chosen.map((node) => node.name)
  const isBack = (mark: ReleaseMark): boolean =>
    (mark.node !== undefined && names.includes(mark.node)) || (mark.namespace !== undefined && mark.namespace === request.namespace)
  writeMarks(
    layout,
    readReleases(layout).filter((mark) => !isBack(mark)),
  )
  return [
    ...names.map((name) => `${name}: the agent runs again and enrols its pods`),
    ...(request.namespace === undefined ? [] : [`${request.namespace}: not marked as released any more; label it to enrol it`]),
  ]
}

/** The namespace and its pods are labelled `none`, so that agents agree with what we do. */
function setMode(store: ObjectStore, namespace: string): void {
  const patch = { metadata: { labels: { 'istio.io/dataplane-mode': 'none' } } }
  store.patch('namespaces', undefined, namespace, patch)
  for (const pod of store.list('pods', namespace))
    if (pod.metadata.labels?.['istio.io/dataplane-mode'] === 'ambient') store.patch('pods', namespace, pod.metadata.name, patch)
}

/** Nobody may dial these pods over HBONE any more. */
function unmarkPods(store: ObjectStore, node: string): void {
  for (const pod of store.list('pods')) {
    if ((pod.spec as { nodeName?: string } | undefined)?.nodeName !== node) continue
    if (pod.metadata.annotations?.[REDIRECTION_ANNOTATION] === undefined) continue
    store.patch('pods', pod.metadata.namespace, pod.metadata.name, { metadata: { annotations: { [REDIRECTION_ANNOTATION]: null } } })
  }
}

async function releasePod(redirect: Redirect, node: NodeLayout, sandbox: SandboxRecord): Promise<void> {
  if (!existsSync(join(NETNS_DIR, sandbox.netns))) return // it is going away or not made yet
  using netns = openNetns(join(NETNS_DIR, sandbox.netns))
  const text = await runCommand('ip', ['-n', node.netns, '-j', 'link', 'show', 'dev', sandbox.hostInterface])
  const [link] = JSON.parse(text) as { ifindex: number }[]
  const ips = [sandbox.ips.v4, sandbox.ips.v6].map(parseIp).filter((ip): ip is IpAddress => ip !== undefined)
  const pod = { uid: sandbox.uid, netnsFd: netns.fd, cookie: netnsCookie(netns.fd), ips, hostIfindex: link?.ifindex ?? 0 }
  using home = openNetns(join(NETNS_DIR, node.netns))
  inNetns(home.fd, () => {
    redirect.guardOff(pod)
    redirect.releaseOutbound(pod)
    redirect.unsteerInbound(pod)
  })
}

/** As the node's last agent redirected. @throws MeshError of bpf/ or linux/ */
function open(node: NodeLayout): Redirect {
  return openRedirect({ settings: settingsOf(node), places: () => [], log: silentLog() }).redirect
}

function clear(node: NodeLayout): void {
  using home = openNetns(join(NETNS_DIR, node.netns))
  const places = (): PodPlace[] => new PodFiles(stateDirOf(node), silentLog()).load().map(({ place }) => place)
  inNetns(home.fd, () => clearRedirect({ settings: settingsOf(node), places, log: silentLog() }))
}

function settingsOf(node: NodeLayout): Parameters<typeof openRedirect>[0]['settings'] {
  const stateDir = stateDirOf(node)
  return { redirect: lastMode(stateDir) ?? 'ebpf', bpffsDir: node.bpfDir, nodeCgroup: node.cgroup, isDnsRequired: true, stateDir }
}

/** The agent's default. */
function stateDirOf(node: NodeLayout): string {
  return join(node.dir, 'cni')
}

function silentLog(): Log {
  return createLog({ process: 'release', levels: 'off' })
}

function listSandboxes(mesh: MeshLayout): SandboxRecord[] {
  return readdirSync(mesh.podsDir)
    .map((uid) => readSandbox(mesh, uid))
    .filter((sandbox) => sandbox !== undefined)
}

function marksFile(mesh: MeshLayout): string {
  return join(mesh.dir, 'released.json')
}

function writeMarks(mesh: MeshLayout, marks: readonly ReleaseMark[]): void {
  writeFileSync(`${marksFile(mesh)}.new`, JSON.stringify(marks), { mode: 0o600 })
  renameSync(`${marksFile(mesh)}.new`, marksFile(mesh))
}
