// A node of the lab with the real node agent, the real object API and a stand-in ztunnel, each a process that a test can
// kill. The test's own process plays kubelet.
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { request } from 'node:http'
import net from 'node:net'
import { join } from 'node:path'
import { pause, systemClock } from '../../kit/clock.ts'
import { createLog } from '../../kit/log.ts'
import { makeCgroup } from '../../linux/cgroup.ts'
import { tcpConnect } from '../../linux/socket.ts'
import type { IpAddress } from '../../model/address.ts'
import type { MeshObject, Pod } from '../../model/object.ts'
import { ObjectClient } from '../../objects/client.ts'
import { ApiServer } from '../../runtime/api/server.ts'
import { ObjectStore } from '../../runtime/store.ts'
import { TokenIssuer } from '../../runtime/tokens.ts'
import { type Lab, type LabPod, lab } from './netns-lab.ts'

const ROOT = new URL('../..', import.meta.url).pathname
const MONITORING_PORT = 15_014

/** A pod of the lab that has an object; `uid` is the object's. */
export interface AgentPod {
  readonly lab: LabPod
  readonly uid: string
  readonly name: string
  readonly namespace: string
}

/** The node. */
export class AgentNode implements AsyncDisposable {
  readonly lab: Lab
  readonly directory: string
  readonly client: ObjectClient
  readonly #api: ApiServer
  readonly #processes = new Map<string, ChildProcess>()

  private constructor(node: Lab, directory: string, api: ApiServer) {
    this.lab = node
    this.directory = directory
    this.#api = api
    this.client = new ObjectClient({ socketPath: join(directory, 'api.sock') })
  }

  /** @param name short and unique on the machine */
  static async make(name: string): Promise<AgentNode> {
    const directory = mkdtempSync(`/tmp/${name}-agent-`)
    const store = new ObjectStore({ directory: join(directory, 'objects'), clock: systemClock })
    const tokens = new TokenIssuer({ keyFile: join(directory, 'keys', 'token.pem'), objects: store, clock: systemClock })
    const log = createLog({ process: 'api', levels: 'off' })
    const api = await ApiServer.listen({ socketPath: join(directory, 'api.sock'), store, tokens, log, extra: {} })
    return new AgentNode(lab(name), directory, api)
  }

  /** Makes a namespace object, with or without the ambient label. */
  async namespace(name: string, isAmbient: boolean): Promise<void> {
    await this.client.apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } })
    await this.label(name, isAmbient)
  }

  async label(name: string, isAmbient: boolean): Promise<void> {
    await this.client.patch('namespaces', undefined, name, {
      metadata: { labels: { 'istio.io/dataplane-mode': isAmbient ? 'ambient' : null } },
    })
  }

  /** A network namespace and a pod object; the agent is not told. */
  async pod(namespace: string, name: string, annotations: Record<string, string> = {}): Promise<AgentPod> {
    const labPod = this.lab.pod(name)
    const spec = { nodeName: 'node-1', containers: [{ name: 'app', image: 'app' }] }
    const object = await this.client.apply({ apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace, annotations }, spec })
    return { lab: labPod, uid: object.metadata.uid ?? '', name, namespace }
  }

  /** What the kubelet asks; resolves with the answer's status and text. */
  ask(path: '/cmdadd' | '/cmddel', pod: AgentPod, change: object = {}): Promise<{ status: number; text: string }> {
    const { ip4, ip6 } = pod.lab
    const body = JSON.stringify({
      Netns: pod.lab.path,
      PodName: pod.name,
      PodNamespace: pod.namespace,
      PodUID: pod.uid,
      IPs: [{ Address: `${ip4}/24` }, { Address: `${ip6}/64` }],
      HostInterface: `v${ip4.split('.')[3]}`,
      ...change,
    })
    return this.post(path, body)
  }

  post(path: string, body: string): Promise<{ status: number; text: string }> {
    return new Promise((resolve, reject) => {
      const outgoing = request({ socketPath: join(this.directory, 'cni.sock'), path, method: 'POST' }, (answer) => {
        answer
          .setEncoding('utf8')
          .toArray()
          .then((chunks) => resolve({ status: answer.statusCode ?? 0, text: chunks.join('') }), reject)
      })
      outgoing.on('error', reject)
      outgoing.end(body)
    })
  }

  async startAgent(args: readonly string[] = []): Promise<void> {
    const all = [
      ['--node', 'node-1', '--cgroup', this.lab.cgroup, '--bpffs-dir', this.lab.bpffs, '--api-socket', join(this.directory, 'api.sock')],
      [
        '--zds',
        join(this.directory, 'zds.sock'),
        '--cni-socket',
        join(this.directory, 'cni.sock'),
        '--state-dir',
        join(this.directory, 'cni'),
      ],
      ['--reconcile-interval', '300ms', '--release-wait', '400ms', ...args],
    ].flat()
    this.#spawn('agent', 'agent', join(ROOT, 'cni/main.ts'), all)
    await this.until(async () => (await this.monitor('/readyz')) !== undefined, 'the agent answers')
  }

  startZtunnel(cgroup = 'ztunnel'): void {
    this.#spawn('ztunnel', cgroup, join(ROOT, 'test/support/zds-standin.ts'), [join(this.directory, 'zds.sock'), this.lab.bpffs])
  }

  /** An app of a pod that keeps one connection open; `say` resolves with what comes next. */
  hold(pod: AgentPod, ip: string, port: number): { say(text: string): Promise<string>; stop(): Promise<void> } {
    const script = `const s = require('net').connect(${port}, '${ip}'); s.pipe(process.stdout); process.stdin.pipe(s)`
    const command = `echo $$ > ${pod.lab.cgroup}/cgroup.procs; exec nsenter --net=${pod.lab.path} ${process.execPath} -e "${script}"`
    const child = spawn('sh', ['-c', command], { stdio: ['pipe', 'pipe', 'inherit'] })
    return {
      say: (text) =>
        new Promise((resolve) => {
          child.stdout?.once('data', (data) => resolve(String(data)))
          if (text !== '') child.stdin?.write(text)
        }),
      stop: async () => {
        const gone = new Promise((resolve) => child.once('exit', resolve))
        child.kill('SIGKILL')
        await gone
      },
    }
  }

  /** Of a process that runs. */
  pid(process: 'agent' | 'ztunnel'): number {
    return this.#processes.get(process)?.pid ?? 0
  }

  /** kill -9, and waits for the end. */
  async kill(process: 'agent' | 'ztunnel', signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const child = this.#processes.get(process)
    this.#processes.delete(process)
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const gone = new Promise((resolve) => child.once('exit', resolve))
    child.kill(signal)
    await gone
  }

  /** Body of a GET on the agent's monitoring port, status first; undefined = nobody answers. */
  async monitor(path: string): Promise<string | undefined> {
    let fd: number
    try {
      fd = tcpConnect({ netnsFd: this.lab.node.fd, to: { ip: '127.0.0.1' as IpAddress, port: MONITORING_PORT } })
    } catch {
      return undefined
    }
    const socket = new net.Socket({ fd })
    try {
      socket.write(`GET ${path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`)
      return (await socket.setEncoding('utf8').toArray()).join('')
    } catch {
      return undefined
    }
  }

  /** Value of a metric; 0 when it is not there. */
  async metric(line: string): Promise<number> {
    const text = (await this.monitor('/metrics')) ?? ''
    const found = text.split('\n').find((each) => each.startsWith(`${line} `))
    return Number(found?.split(' ').at(-1) ?? 0)
  }

  async redirection(pod: AgentPod): Promise<string | undefined> {
    const object = (await this.client.get('pods', pod.namespace, pod.name)) as Pod
    return object.metadata.annotations?.['ambient.istio.io/redirection']
  }

  async events(): Promise<readonly MeshObject[]> {
    return (await this.client.list('events')).items
  }

  /** Polls; @throws when it is not so after `limitMs` */
  async until(test: () => Promise<boolean> | boolean, what: string, limitMs = 8000): Promise<void> {
    const end = systemClock.monotonicMs() + limitMs
    while (!(await test())) {
      if (systemClock.monotonicMs() > end) throw new Error(`not within ${limitMs} ms: ${what}`)
      await pause(systemClock, 20)
    }
  }

  stateFile(pod: AgentPod): { stage?: string; wanted?: string } {
    return JSON.parse(readFileSync(join(this.directory, 'cni', `${pod.uid}.json`), 'utf8')) as { stage: string }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill('ztunnel')
    await this.kill('agent')
    this.client[Symbol.dispose]()
    await this.#api[Symbol.asyncDispose]()
    await this.lab[Symbol.asyncDispose]()
    rmSync(this.directory, { recursive: true })
  }

  #spawn(name: string, cgroup: string, file: string, args: readonly string[]): void {
    makeCgroup(join(this.lab.cgroup, cgroup))
    const command = `echo $$ > ${this.lab.cgroup}/${cgroup}/cgroup.procs; exec nsenter --net=${this.lab.nodePath} ${process.execPath} ${file} ${args.join(' ')}`
    const isShown = process.env.SHOW_LOGS !== undefined
    this.#processes.set(name, spawn('sh', ['-c', command], { stdio: ['ignore', isShown ? 'inherit' : 'ignore', 'inherit'] }))
  }
}
