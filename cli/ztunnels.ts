// Config dumps of the node proxies: on the local runtime from the nodes' namespaces, on a cluster through the API's port-forward to
// ztunnel's admin port.
import { messageOf } from '../kit/error.ts'
import type { Pod } from '../model/object.ts'
import { objectFailure } from '../objects/errors.ts'
import { runtimeFailure } from '../runtime/errors.ts'
import { meshLayout } from '../runtime/layout.ts'
import { getInNetns } from '../runtime/node-http.ts'
import { readRecord } from '../runtime/state.ts'
import { componentPods } from './cluster/components.ts'
import { openAccess, openApi, type Target, type ClusterTarget } from './connect.ts'
import { cliFailure } from './errors.ts'
import type { ZtunnelDump } from './ztunnel-views.ts'

const ADMIN_PORT = 15000
/** Nodes that are asked at the same time: a dump may be some MB. */
const AT_ONCE = 8

/** A node's dump, or why there is none. */
export type NodeDump = { readonly node: string } & ({ readonly dump: ZtunnelDump } | { readonly failure: unknown })

/**
 * @param wanted one node; undefined = all
 * @throws MeshError MESH_MISSING | NOT_ROOT | NOT_FOUND (no such node) | NOT_INSTALLED | API_UNREACHABLE | FORBIDDEN
 */
export async function readDumps(target: Target, namespace: string, wanted: string | undefined): Promise<NodeDump[]> {
  const readers = target.kind === 'local' ? localReaders(target.name) : await clusterReaders(target, namespace)
  const chosen = readers.filter(({ node }) => wanted === undefined || node === wanted)
  if (chosen.length === 0) throw objectFailure('NOT_FOUND', { node: wanted })
  const dumps: NodeDump[] = []
  for (let at = 0; at < chosen.length; at += AT_ONCE)
    dumps.push(...(await Promise.all(chosen.slice(at, at + AT_ONCE).map(async ({ node, read }) => ({ node, ...(await attempt(read)) })))))
  return dumps
}

/** Checks what foreign JSON must be. @throws MeshError NODE_UNREACHABLE */
export function parseDump(text: string): ZtunnelDump {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw runtimeFailure('NODE_UNREACHABLE', { reason: messageOf(error) }, error)
  }
  if (typeof value !== 'object' || value === null) throw runtimeFailure('NODE_UNREACHABLE', { reason: 'the dump is no object' })
  return value
}

interface NodeReader {
  readonly node: string
  read(): Promise<{ status: number; body: string }>
}

function localReaders(name: string): NodeReader[] {
  if (process.getuid?.() !== 0) throw runtimeFailure('NOT_ROOT')
  const record = readRecord(name)
  if (record === undefined) throw runtimeFailure('MESH_MISSING', { name })
  const mesh = meshLayout(name)
  return record.nodes.map((_, index) => {
    const node = mesh.node(index + 1)
    return { node: node.name, read: () => getInNetns(node.netns, '127.0.0.1', ADMIN_PORT, '/config_dump') }
  })
}

async function clusterReaders(target: ClusterTarget, namespace: string): Promise<NodeReader[]> {
  using api = openApi(target)
  const pods = await componentPods(api, namespace, 'ztunnel')
  if (pods.length === 0) throw cliFailure('NOT_INSTALLED', { namespace })
  return pods.map((pod) => ({ node: pod.spec?.nodeName ?? '', read: () => readThroughApi(target, pod) }))
}

async function readThroughApi(target: ClusterTarget, { metadata }: Pod): Promise<{ status: number; body: string }> {
  using access = openAccess(target)
  return access.getInPod({ namespace: metadata.namespace ?? '', pod: metadata.name }, ADMIN_PORT, '/config_dump')
}

async function attempt(read: NodeReader['read']): Promise<{ dump: ZtunnelDump } | { failure: unknown }> {
  try {
    const { status, body } = await read()
    if (status !== 200) throw runtimeFailure('NODE_UNREACHABLE', { status })
    return { dump: parseDump(body) }
  } catch (failure) {
    return { failure }
  }
}
