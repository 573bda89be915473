// The setting of the capture tests: pod a with an app and ztunnel's stand-ins, pod b next door, the node's datapath.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { BPF_DIRECTORY, clangVersion, compileObject } from '../../bpf/build.ts'
import type { NodeDatapath } from '../../bpf/datapath.ts'
import type { ObjectName } from '../../bpf/spec.ts'
import { openMap } from '../../bpf/map.ts'
import { objectPath } from '../../bpf/spec.ts'
import { codeOf } from '../../kit/error.ts'
import { cgroupId } from '../../linux/cgroup.ts'
import type { Endpoint, IpAddress } from '../../model/address.ts'
import type { Lab, LabPeer, LabPod } from './netns-lab.ts'
import { lab } from './netns-lab.ts'

/** ztunnel's TCP ports in a pod. */
export const PROXY_PORTS = [15001, 15006, 15008, 15053]

/** Peers: `app` and `other` are clients in pod a and b, `appServer` and `otherServer` listen on 8080 there. */
export interface Scenario {
  readonly lab: Lab
  readonly a: LabPod
  readonly b: LabPod
  readonly app: LabPeer
  readonly appServer: LabPeer
  readonly other: LabPeer
  readonly otherServer: LabPeer
  /** A client in ztunnel's cgroup in pod a. */
  readonly proxyClient: LabPeer
  datapath: NodeDatapath
}

/** Nothing is enrolled yet. @param name as lab() */
export async function scenario(name: string): Promise<Scenario> {
  const node = lab(name)
  const [a, b] = [node.pod('a'), node.pod('b')]
  const datapath = node.datapath()
  datapath.addProxyCgroup(cgroupId(join(node.cgroup, 'ztunnel')))
  datapath.addProbeCgroup(cgroupId(join(node.cgroup, 'kubelet')))
  const places = [
    [a.path, 'pods/a'],
    [a.path, 'pods/a'],
    [b.path, 'pods/b'],
    [b.path, 'pods/b'],
    [a.path, 'ztunnel'],
  ] as const
  const peers = await Promise.all(places.map(([path, cgroup]) => node.peer(path, cgroup)))
  const [app, appServer, other, otherServer, proxyClient] = peers as [LabPeer, LabPeer, LabPeer, LabPeer, LabPeer]
  await appServer.do('listen', { name: 'appA', ports: [8080] })
  await otherServer.do('listen', { name: 'appB', ports: [8080, 53] })
  return { lab: node, a, b, app, appServer, other, otherServer, proxyClient, datapath }
}

/** A stand-in for ztunnel in a pod, with all its TCP listeners. */
export async function proxyIn(s: Scenario, pod: LabPod, name: string, ports: number[] = PROXY_PORTS): Promise<LabPeer> {
  const proxy = await s.lab.peer(pod.path, 'ztunnel')
  await proxy.do('listen', { name, ports })
  return proxy
}

/** Steering, then capture. */
export function enrol(s: Scenario, pod: LabPod): void {
  s.lab.inNode(() => {
    s.datapath.steerInbound(pod)
    s.datapath.captureOutbound(pod)
  })
}

/** Closes the datapath and opens it again, by default with the committed objects. */
export function reopen(s: Scenario, options: Parameters<Lab['datapath']>[0] = {}): void {
  s.datapath[Symbol.dispose]()
  s.datapath = s.lab.datapath(options)
}

/** Waits until closed connections have left the tuple maps. @throws Error after 3 s */
export async function settled(s: Scenario): Promise<void> {
  for (let n = 0; n < 60; n++) {
    const { dialled_entries, permitted_entries } = s.datapath.stats()
    if (dialled_entries === 0n && permitted_entries === 0n) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error('entries of closed connections stay')
}

/** Ends everything. */
export async function end(s: Scenario): Promise<void> {
  s.datapath[Symbol.dispose]()
  await s.lab[Symbol.asyncDispose]()
}

/** Fills a map with entries of nobody (namespace 0); disposing takes them out again. */
export function fill(s: Scenario, name: 'permitted' | 'dialled'): Disposable & { readonly filled: number } {
  using map = openMap(s.lab.bpffs, name)
  const nobody = (n: number): never => ({ netns: 0n, from: address(n), to: address(0), pad: 0 }) as never
  let filled = 0
  try {
    for (;;) {
      map.set(nobody(filled), (name === 'permitted' ? 1 : address(0)) as never)
      filled++
    }
  } catch (error) {
    if (codeOf(error) !== 'MAP_FULL') throw error
  }
  const empty = (): void => {
    using again = openMap(s.lab.bpffs, name)
    for (let n = 0; n < filled; n++) again.delete(nobody(n))
  }
  return { filled, [Symbol.dispose]: empty }
}

const address = (n: number): Endpoint => ({ ip: '192.0.2.1' as IpAddress, port: n })

/** Why variants cannot be compiled here; undefined = they can. */
export function noVariants(): string | undefined {
  return clangVersion() === undefined ? 'clang is not installed: the controls that change the C programs are left out' : undefined
}

/** Objects where one source was changed by `edit`, to see a check fail. The folder is removed by `done`. */
export function variant(
  object: ObjectName,
  edit: (source: string) => string,
  header?: (text: string) => string,
): { path: (name: ObjectName) => string; done(): void } {
  const folder = mkdtempSync('/tmp/weft-variant-')
  const include = join(folder, 'include')
  execFileSync('cp', ['-r', join(BPF_DIRECTORY, 'include'), include])
  const layout = join(include, 'layout.h')
  if (header !== undefined) writeFileSync(layout, header(readFileSync(layout, 'utf8')))
  const source = join(folder, `${object}.bpf.c`)
  writeFileSync(source, edit(readFileSync(join(BPF_DIRECTORY, 'src', `${object}.bpf.c`), 'utf8')))
  compileObject(source, join(folder, `${object}.bpf.o`), include)
  return {
    path: (name) => (name === object ? join(folder, `${object}.bpf.o`) : objectPath(name)),
    done: () => rmSync(folder, { recursive: true }),
  }
}
