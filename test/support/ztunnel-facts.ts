// What a mesh's ztunnels say of their connections: access lines and metrics, as an operator reads them.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { getInNetns } from '../../runtime/node-http.ts'
import type { TestMesh } from './mesh.ts'

/** One sample of a Prometheus page. */
export interface Sample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

/** The access lines of a node's ztunnel so far. */
export function accessLines(mesh: TestMesh, node: number): Record<string, string>[] {
  const file = join(mesh.mesh.layout.logsDir, `ztunnel-${mesh.node(node).name}.log`)
  if (!existsSync(file)) return []
  const lines = readFileSync(file, 'utf8').split('\n')
  return lines.filter((line) => line.startsWith('{') && line.includes('"scope":"access"')).map((line) => JSON.parse(line))
}

/** The metrics of a node's ztunnel. */
export async function ztunnelMetrics(mesh: TestMesh, node: number): Promise<Sample[]> {
  const { netns } = mesh.node(node)
  const { status, body } = await getInNetns(netns, '127.0.0.1', 15_020, '/metrics')
  if (status !== 200) throw new Error(`metrics of ${mesh.node(node).name}: status ${status}`)
  return parseSamples(body)
}

/** The process of a node's ztunnel. */
export function ztunnelPid(mesh: TestMesh, node: number): number {
  const state = mesh.mesh.supervisor.states().find((each) => each.name === `ztunnel-${mesh.node(node).name}`)
  if (state?.pid === undefined) throw new Error(`no ztunnel runs on ${mesh.node(node).name}`)
  return state.pid
}

function parseSamples(text: string): Sample[] {
  return text.split('\n').flatMap((line) => {
    const match = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/.exec(line)
    if (match === null) return []
    const labels = [...(match[2] ?? '').matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, name, value]) => [name, value] as const)
    return [{ name: match[1] ?? '', labels: Object.fromEntries(labels), value: Number(match[3]) }]
  })
}
