// Config dumps of the node proxies, by ztunnel's admin port.
import type { Target } from './connect.ts'
import { type NodeDump, readNodeDumps } from './node-dumps.ts'
import type { ZtunnelDump } from './ztunnel-views.ts'

const ZTUNNEL = { component: 'ztunnel', port: 15_000 } as const

/** @param wanted one node; undefined = all @throws as readNodeDumps */
export function readZtunnels(target: Target, namespace: string, wanted?: string): Promise<NodeDump<ZtunnelDump>[]> {
  return readNodeDumps(target, namespace, ZTUNNEL, wanted)
}
