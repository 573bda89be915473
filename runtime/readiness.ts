// Whether the components say that they are ready: one GET each, at the ports of the port table.
import type { MeshLayout, NodeLayout } from './layout.ts'
import { getInNetns } from './node-http.ts'

const CONTROLPLANE_PORT = 15014
const AGENT_PORT = 15014
const ZTUNNEL_PORT = 15021

/** @returns what each component that is not ready says, by the component's name; never rejects */
export async function unreadyComponents(mesh: MeshLayout, nodes: readonly NodeLayout[]): Promise<ReadonlyMap<string, string>> {
  const asks: [name: string, netns: string, ip: string, port: number, path: string][] = [
    ['controlplane', mesh.controlNetns, '127.0.0.1', CONTROLPLANE_PORT, '/ready'],
    ...nodes.flatMap((node): [string, string, string, number, string][] => [
      [`ztunnel-${node.name}`, node.netns, '127.0.0.1', ZTUNNEL_PORT, '/healthz/ready'],
      [`cni-${node.name}`, node.netns, '127.0.0.1', AGENT_PORT, '/healthz/ready'],
    ]),
  ]
  const answers = await Promise.all(
    asks.map(async ([name, ...ask]): Promise<[string, string] | undefined> => {
      try {
        const { status, body } = await getInNetns(...ask)
        return status === 200 ? undefined : [name, unreadyWord(body) ?? `status ${status}`]
      } catch {
        return [name, 'does not answer yet'] // starting, or ended: its state says which
      }
    }),
  )
  return new Map(answers.filter((one) => one !== undefined))
}

/** First line of a text, or what a JSON answer `{ waitingFor: [...] }` names; at most 200 characters. */
function unreadyWord(body: string): string | undefined {
  const names = /^\{"waitingFor":\[(.*)\]\}/.exec(body.trim())?.[1]
  const word = names === undefined ? body.trim().split('\n')[0] : `waits for ${names.replaceAll('"', '').replaceAll(',', ', ')}`
  return word === undefined || word === '' ? undefined : word.slice(0, 200)
}
