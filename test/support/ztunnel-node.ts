// A real ztunnel process on a lab's node, with the part of the agent played by the test: ZDS, the datapath, enrolment.
import type { ChildProcess } from 'node:child_process'
import { execFileSync, spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { NodeDatapath } from '../../bpf/datapath.ts'
import { cgroupId } from '../../linux/cgroup.ts'
import type { ZdsConnection } from '../../zds/server.ts'
import { ZdsServer } from '../../zds/server.ts'
import type { Lab, LabPod } from './netns-lab.ts'
import { silentLog } from './netns-lab.ts'
import type { TestCa } from './test-ca.ts'

/** One line of ztunnel's log. */
export type LogLine = Readonly<Record<string, unknown>>

/** A node with ztunnel. Begin with `start`, enrol pods, read `lines`. */
export class ZtunnelNode implements AsyncDisposable {
  readonly lines: LogLine[] = []
  readonly datapath: NodeDatapath
  readonly yaml: string
  readonly #lab: Lab
  readonly #zds: ZdsServer
  readonly #child: ChildProcess
  readonly #connections: ZdsConnection[] = []
  #connected = Promise.withResolvers<ZdsConnection>()

  private constructor(lab: Lab, ca: TestCa, yaml: string, env: Record<string, string>) {
    this.#lab = lab
    this.yaml = join(ca.directory, 'mesh.yaml')
    writeFileSync(this.yaml, yaml)
    const zdsPath = join(ca.directory, 'zds.sock')
    this.datapath = lab.datapath()
    this.datapath.addProxyCgroup(cgroupId(join(lab.cgroup, 'ztunnel')))
    this.#zds = ZdsServer.listen({
      path: zdsPath,
      log: silentLog,
      onConnection: (connection) => {
        this.#connections.push(connection)
        this.#connected.resolve(connection)
      },
    })
    const settings = {
      ...ca.settings,
      LOCAL_XDS_PATH: this.yaml,
      INPOD_UDS: zdsPath,
      WEFT_BPFFS_DIR: lab.bpffs,
      CONNECTION_TERMINATION_DEADLINE: '2s',
    }
    const main = new URL('../../ztunnel/main.ts', import.meta.url).pathname
    const command = `echo $$ > ${lab.cgroup}/ztunnel/cgroup.procs; exec nsenter --net=${lab.nodePath} ${process.execPath} ${main}`
    this.#child = spawn('sh', ['-c', command], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { PATH: process.env.PATH, WEFT_LOG: process.env.DEBUG_ZTUNNEL === undefined ? 'info' : 'debug', ...settings, ...env },
    })
    if (this.#child.stdout === null) throw new Error('no standard output')
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      if (process.env.DEBUG_ZTUNNEL !== undefined) process.stderr.write(`${line}\n`)
      this.lines.push(JSON.parse(line) as LogLine)
    })
  }

  /** Starts ztunnel on the lab's node. @param yaml the mesh, as LOCAL_XDS_PATH has it */
  static async start(lab: Lab, ca: TestCa, yaml: string, env: Record<string, string> = {}): Promise<ZtunnelNode> {
    const node = new ZtunnelNode(lab, ca, yaml, env)
    const connection = await node.#connected.promise
    await connection.send({ kind: 'snapshot-sent' })
    return node
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  /** Enrols a pod in the agent's order. */
  async enrol(pod: LabPod, serviceAccount = pod.name): Promise<void> {
    const connection = await this.#connected.promise
    await connection.send({ kind: 'add', uid: pod.uid, info: { name: pod.name, namespace: 'shop', serviceAccount } }, pod.netnsFd)
    this.#lab.inNode(() => {
      this.datapath.steerInbound(pod)
      this.datapath.captureOutbound(pod)
      this.datapath.guardOn(pod)
    })
  }

  /** Takes a pod out of the mesh. */
  async release(pod: LabPod): Promise<void> {
    this.#lab.inNode(() => {
      this.datapath.guardOff(pod)
      this.datapath.releaseOutbound(pod)
      this.datapath.unsteerInbound(pod)
    })
    await (await this.#connected.promise).send({ kind: 'del', uid: pod.uid })
  }

  /** Replaces the mesh's description and waits until it has been taken over. */
  async describe(yaml: string): Promise<void> {
    const from = this.lines.length
    writeFileSync(this.yaml, yaml)
    await this.line((line) => String(line.message).startsWith('the local file'), from)
  }

  /** Waits for a line of the log. */
  async line(test: (line: LogLine) => boolean, from = 0): Promise<LogLine> {
    for (let n = 0; n < 500; n++) {
      const found = this.lines.slice(from).find(test)
      if (found !== undefined) return found
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    throw new Error(
      `no such line in:\n${this.lines
        .slice(-20)
        .map((line) => JSON.stringify(line))
        .join('\n')}`,
    )
  }

  /** GET on ztunnel's admin or metrics port, in the node's namespace. */
  get(port: number, path: string, method = 'GET'): string {
    const script = `const r = await fetch('http://127.0.0.1:${port}${path}', { method: '${method}' }); process.stdout.write(await r.text())`
    const args = [`--net=${this.#lab.nodePath}`, process.execPath, '--input-type=module', '-e', script]
    return execFileSync('nsenter', args, { encoding: 'utf8' })
  }

  /** Sends a signal and waits for the end. @returns the exit code */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return this.#child.exitCode
    const gone = new Promise<number | null>((resolve) => this.#child.once('exit', resolve))
    this.#child.kill(signal)
    return gone
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop('SIGKILL')
    await this.#zds.close()
    this.datapath[Symbol.dispose]()
  }
}

/** An ordinary program in a pod: an ES module given as text, in the pod's namespace and cgroup. */
export class PodProgram {
  readonly child: ChildProcess
  #output = ''

  constructor(lab: Lab, pod: LabPod, script: string) {
    const command = `echo $$ > ${pod.cgroup}/cgroup.procs; exec nsenter --net=${pod.path} "$0" --input-type=module -e "$1"`
    this.child = spawn('sh', ['-c', command, process.execPath, script], { stdio: ['pipe', 'pipe', 'inherit'], cwd: lab.cgroup })
    this.child.stdout?.on('data', (data) => {
      this.#output += String(data)
    })
  }

  get output(): string {
    return this.#output
  }

  /** Waits until the program has printed something. */
  async says(text: string): Promise<void> {
    for (let n = 0; n < 500; n++) {
      if (this.#output.includes(text)) return
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    throw new Error(`the program said only: ${this.#output}`)
  }

  /** Waits for its end. @returns what it printed */
  async result(): Promise<string> {
    if (this.child.exitCode === null && this.child.signalCode === null) await new Promise((resolve) => this.child.once('close', resolve))
    return this.#output
  }

  async stop(): Promise<void> {
    this.child.kill('SIGKILL')
    await this.result()
  }
}
