// What a process of each node says of itself at /config_dump: on the local runtime asked in the nodes' namespaces, on a cluster through
// the API's port-forward. Ports that listen on 127.0.0.1 only are reached so.
import { messageOf } from '../kit/error.ts'
import type { Pod } from '../model/object.ts'
import { objectFailure } from '../objects/errors.ts'
import { runtimeFailure } from '../runtime/errors.ts'
import { meshLayout } from '../runtime/layout.ts'
import { getInNetns } from '../runtime/node-http.ts'
import { readRecord } from '../runtime/state.ts'
import { type ComponentName, componentPods } from './cluster/components.ts'
import { openAccess, openApi, type Target, type ClusterTarget } from './connect.ts'
import { cliFailure } from './errors.ts'

/** Nodes that are asked at the same time: a dump may be some MB. */
const AT_ONCE = 8

/** Whom to ask. */
export interface DumpSource {
  readonly component: ComponentName
  readonly port: number
}

/** A node's dump, or why there is none. */
export type NodeDump<T extends object> = { readonly node: string } & ({ readonly dump: T } | { readonly failure: unknown })

/**
 * @param namespace of the mesh's pods in a cluster
 * @param wanted one node; undefined = all
 * @returns one per node; fields of a dump are all optional to the caller, who checks what it uses
 * @throws MeshError MESH_MISSING | NOT_ROOT | NOT_FOUND (no such node) | NOT_INSTALLED | API_UNREACHABLE | FORBIDDEN
 */
export async function readNodeDumps<T extends object>(
  target: Target,
  namespace: string,
  source: DumpSource,
  wanted: string | undefined,
): Promise<NodeDump<T>[]> {
  const readers = target.kind === 'local' ? localReaders(target.name, source.port) : await clusterReaders(target, namespace, source)
  const chosen = readers.filter(({ node }) => wanted === undefined || node === wanted)
  if (chosen.length === 0) throw objectFailure('NOT_FOUND', { node: wanted })
  const dumps: NodeDump<T>[] = []
  for (let at = 0; at < chosen.length; at += AT_ONCE)
    dumps.push(
      ...(await Promise.all(chosen.slice(at, at + AT_ONCE).map(async ({ node, read }) => ({ node, ...(await attempt<T>(read)) })))),
    )
  return dumps
}

/** Checks what foreign JSON must be. @throws MeshError NODE_UNREACHABLE */
export function parseDump<T extends object>(text: string): T {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw runtimeFailure('NODE_UNREACHABLE', { reason: messageOf(error) }, error)
  }
  if (typeof value !== 'object' || value === null) throw runtimeFailure('NODE_UNREACHABLE', { reason: 'the dump is no object' })
  return value as T
}

interface NodeReader {
  readonly node: string
  read(): Promise<{ status: number; body: string }>
}

function localReaders(name: string, port: number): NodeReader[] {
  if (process.getuid?.() !== 0) throw runtimeFailure('NOT_ROOT')
  const record = readRecord(name)
  if (record === undefined) throw runtimeFailure('MESH_MISSING', { name })
  const mesh = meshLayout(name)
  return record.nodes.map((_, index) => {
    const node = mesh.node(index + 1)
    return { node: node.name, read: () => getInNetns(node.netns, '127.0.0.1', port, '/config_dump') }
  })
}

async function clusterReaders(target: ClusterTarget, namespace: string, { component, port }: DumpSource): Promise<NodeReader[]> {
  using api = openApi(target)
  const pods = await componentPods(api, namespace, component)
  if (pods.length === 0) throw cliFailure('NOT_INSTALLED', { namespace })
  return pods.map((pod) => ({ node: pod.spec?.nodeName ?? '', read: () => readThroughApi(target, pod, port) }))
}

async function readThroughApi(target: ClusterTarget, { metadata }: Pod, port: number): Promise<{ status: number; body: string }> {
  using access = openAccess(target)
  return access.getInPod({ namespace: metadata.namespace ?? '', pod: metadata.name }, port, '/config_dump')
}

async function attempt<T extends object>(read: NodeReader['read']): Promise<{ dump: T } | { failure: unknown }> {
  try {
    const { status, body } = await read()
    if (status !== 200) throw runtimeFailure('NODE_UNREACHABLE', { status })
    return { dump: parseDump<T>(body) }
  } catch (failure) {
    return { failure }
  }
}
