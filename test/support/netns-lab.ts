// A node with pods made of namespaces: bridge and veths in a node namespace, one cgroup, one bpffs, peers as child
// processes. Everything has a name of its own and goes away with `await using`.
import type { ChildProcess } from 'node:child_process'
import { execFileSync, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmdirSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { CapturedPod, DatapathOptions } from '../../bpf/datapath.ts'
import { NodeDatapath } from '../../bpf/datapath.ts'
import { readLink } from '../../bpf/link.ts'
import { releaseNode } from '../../bpf/release.ts'
import { pins } from '../../bpf/spec.ts'
import type { Log } from '../../kit/log.ts'
import { cgroup2Root, killCgroup, makeCgroup, removeCgroup } from '../../linux/cgroup.ts'
import type { Netns } from '../../linux/netns.ts'
import { inNetns, netnsCookie, openNetns } from '../../linux/netns.ts'
import type { IpAddress } from '../../model/address.ts'
import { atEnd } from './at-end.ts'
import type { Operations } from './lab-peer.ts'

/** Says nothing. */
export const silentLog: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  isDebug: () => false,
  scope: () => silentLog,
}

/** A child process inside a namespace and cgroup. */
export class LabPeer {
  readonly child: ChildProcess
  readonly #waiting = new Map<number, { resolve: (value: never) => void; reject: (error: Error) => void }>()
  #last = 0

  constructor(child: ChildProcess) {
    this.child = child
    if (child.stdout === null) throw new Error('the peer has no standard output')
    createInterface({ input: child.stdout }).on('line', (line) => {
      const answer = JSON.parse(line) as { id: number; result: never; error?: string } | 'ready'
      if (answer === 'ready') return
      const waiting = this.#waiting.get(answer.id)
      this.#waiting.delete(answer.id)
      if (answer.error === undefined) waiting?.resolve(answer.result)
      else waiting?.reject(new Error(answer.error))
    })
    child.on('exit', () => {
      for (const { reject } of this.#waiting.values()) reject(new Error('the peer has died'))
    })
  }

  /** Runs one operation of lab-peer.ts there. */
  do<Op extends keyof Operations>(op: Op, args?: Parameters<Operations[Op]>[0]): Promise<Awaited<ReturnType<Operations[Op]>>> {
    const id = ++this.#last
    this.child.stdin?.write(`${JSON.stringify({ id, op, args: args ?? {} })}\n`)
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }))
  }

  async stop(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return
    const gone = new Promise((resolve) => this.child.once('exit', resolve))
    this.child.kill('SIGKILL')
    await gone
  }
}

/** A pod's namespace, its addresses and what NodeDatapath takes. */
export interface LabPod extends CapturedPod {
  readonly name: string
  readonly path: string
  readonly ip4: IpAddress
  readonly ip6: IpAddress
  readonly cgroup: string
}

/** The node. */
export class Lab implements AsyncDisposable {
  readonly name: string
  readonly bpffs: string
  readonly cgroup: string
  readonly node: Netns
  readonly nodePath: string
  readonly ip4 = '10.77.0.1' as IpAddress
  readonly ip6 = 'fd77::1' as IpAddress
  readonly #mount: string
  readonly #peers: LabPeer[] = []
  readonly #namespaces: string[] = []
  readonly #opened: Disposable[] = []
  #pods = 0
  #ended: Promise<void> | undefined

  constructor(name: string) {
    this.name = name
    this.#mount = mkdtempSync(`/tmp/${name}-`)
    execFileSync('mount', ['-t', 'bpf', 'bpf', this.#mount])
    this.bpffs = join(this.#mount, 'node')
    this.cgroup = join(cgroup2Root(), name)
    for (const group of ['ztunnel', 'kubelet', 'pods']) makeCgroup(join(this.cgroup, group))
    this.nodePath = this.#netns('node')
    this.node = this.#keep(openNetns(this.nodePath))
    this.#ip(`-n ${name}-node link add br0 type bridge`, `-n ${name}-node link set br0 up`)
    this.#ip(`-n ${name}-node addr add ${this.ip4}/24 dev br0`, `-n ${name}-node addr add ${this.ip6}/64 dev br0 nodad`)
  }

  pod(name: string): LabPod {
    const n = ++this.#pods + 1
    const [ip4, ip6] = [`10.77.0.${n}` as IpAddress, `fd77::${n}` as IpAddress]
    const path = this.#netns(name)
    const node = `${this.name}-node`
    const ns = `${this.name}-${name}`
    this.#ip(`-n ${node} link add v${n} type veth peer name eth0 netns ${ns}`, `-n ${node} link set v${n} master br0 up`)
    this.#ip(`-n ${ns} link set eth0 up`, `-n ${ns} addr add ${ip4}/24 dev eth0`, `-n ${ns} addr add ${ip6}/64 dev eth0 nodad`)
    this.#ip(`-n ${ns} route add default via ${this.ip4}`, `-n ${ns} -6 route add default via ${this.ip6}`)
    const netns = this.#keep(openNetns(path))
    const cgroup = join(this.cgroup, 'pods', name)
    makeCgroup(cgroup)
    const hostIfindex = Number(inNetns(this.node.fd, () => ifindexOf(`v${n}`)))
    return { name, uid: name, path, ip4, ip6, ips: [ip4, ip6], cgroup, netnsFd: netns.fd, cookie: netnsCookie(netns.fd), hostIfindex }
  }

  /** Starts a peer; `cgroup` below the node's, or undefined = outside it. */
  async peer(netnsPath: string, cgroup: string | undefined): Promise<LabPeer> {
    const join2 = cgroup === undefined ? '' : `echo $$ > ${this.cgroup}/${cgroup}/cgroup.procs; `
    const script = new URL('./lab-peer.ts', import.meta.url).pathname
    const command = `${join2}exec nsenter --net=${netnsPath} ${process.execPath} ${script}`
    const child = spawn('sh', ['-c', command], { stdio: ['pipe', 'pipe', 'inherit'] })
    const peer = new LabPeer(child)
    this.#peers.push(peer)
    await new Promise((resolve) => child.stdout?.once('data', resolve))
    return peer
  }

  /** Opens the datapath in the node's namespace. */
  datapath(options: Partial<DatapathOptions> = {}): NodeDatapath {
    return this.inNode(() => NodeDatapath.open({ bpffsDir: this.bpffs, cgroupPath: this.cgroup, log: silentLog, ...options }))
  }

  /** Runs synchronous work in the node's namespace (devices are named by ifindex there). */
  inNode<T>(work: () => T): T {
    return inNetns(this.node.fd, work)
  }

  /** Makes a pod believe that an address is at another pod's device (which does not have it). */
  addNeighbour(pod: LabPod, ip: string, at: LabPod): void {
    const link = execFileSync('ip', ['-n', `${this.name}-${at.name}`, '-o', 'link', 'show', 'eth0'], { encoding: 'utf8' })
    const mac = /link\/ether (\S+)/.exec(link)?.[1] ?? ''
    this.#ip(`-n ${this.name}-${pod.name} neigh replace ${ip} lladdr ${mac} dev eth0`)
  }

  deleteNamespace(pod: LabPod): void {
    execFileSync('ip', ['netns', 'del', `${this.name}-${pod.name}`])
    this.#namespaces.splice(this.#namespaces.indexOf(`${this.name}-${pod.name}`), 1)
  }

  /** Closes the lab's own fd of a deleted namespace and waits until the kernel has taken it down. */
  async closeNamespace(pod: LabPod): Promise<void> {
    for (const item of this.#opened) if ('fd' in item && item.fd === pod.netnsFd) item[Symbol.dispose]()
    for (let n = 0; n < 100; n++) {
      if (readLink(pins.steer(this.bpffs, pod.cookie))?.target === 0n) return
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    throw new Error('the namespace still lives')
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#ended ??= this.#end()
    return this.#ended
  }

  async #end(): Promise<void> {
    for (const peer of this.#peers) await peer.stop()
    releaseNode(this.bpffs)
    await killCgroup(this.cgroup)
    removeCgroup(this.cgroup)
    for (const item of this.#opened) item[Symbol.dispose]()
    for (const name of this.#namespaces) execFileSync('ip', ['netns', 'del', name])
    execFileSync('umount', [this.#mount])
    rmdirSync(this.#mount)
  }

  #keep<T extends Disposable>(item: T): T {
    this.#opened.push(item)
    return item
  }

  #netns(name: string): string {
    const full = `${this.name}-${name}`
    this.#ip(`netns add ${full}`, `-n ${full} link set lo up`)
    this.#namespaces.push(full)
    return `/run/netns/${full}`
  }

  #ip(...commands: string[]): void {
    for (const command of commands) execFileSync('ip', command.split(' '))
  }
}

/** @param name short and unique on the machine, e.g. `wbc${process.pid}` */
export function lab(name: string): Lab {
  mkdirSync('/run/netns', { recursive: true })
  const made = new Lab(name)
  atEnd(() => made[Symbol.asyncDispose]()) // also when a `before` hook has given up before anybody held it
  return made
}

function ifindexOf(name: string): string {
  const line = readFileSync(`/proc/thread-self/net/dev_snmp6/${name}`, 'utf8').split('\n')[0] ?? ''
  return line.split(/\s+/)[1] ?? ''
}
