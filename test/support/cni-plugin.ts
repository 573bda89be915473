// Executes the committed CNI plugin as a container runtime does: environment, network configuration on stdin, result on stdout.
import { spawn } from 'node:child_process'
import { type PluginArch, pluginBinary } from '../../cni/plugin/binary.ts'
import { systemClock } from '../../kit/clock.ts'
import type { AgentPod } from './agent-node.ts'

/** What came of it. */
export interface PluginRun {
  readonly code: number | null
  /** Parsed standard output; undefined = nothing was printed. */
  readonly output: Readonly<Record<string, unknown>> | undefined
  readonly tookMs: number
}

/** @param environment whole; @param stdin text. @param program another than the one of this machine */
export function runPlugin(
  environment: Readonly<Record<string, string>>,
  stdin: string,
  program = pluginBinary(process.arch as PluginArch),
): Promise<PluginRun> {
  const began = systemClock.monotonicMs()
  const child = spawn(program, [], { env: { ...environment }, stdio: ['pipe', 'pipe', 'inherit'] })
  child.stdin.on('error', () => undefined) // VERSION does not read
  child.stdin.end(stdin)
  const chunks: string[] = []
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => chunks.push(chunk))
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) => {
      const text = chunks.join('')
      resolve({
        code,
        output: text === '' ? undefined : (JSON.parse(text) as Record<string, unknown>),
        tookMs: systemClock.monotonicMs() - began,
      })
    })
  })
}

/** CNI_* as containerd sets them for a pod. */
export function pluginEnvironment(command: string, socket: string, pod: AgentPod, containerId = `c-${pod.uid}`): Record<string, string> {
  return {
    CNI_COMMAND: command,
    CNI_CONTAINERID: containerId,
    CNI_NETNS: pod.lab.path,
    CNI_IFNAME: 'eth0',
    CNI_PATH: '/opt/cni/bin',
    CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAMESPACE=${pod.namespace};K8S_POD_NAME=${pod.name};K8S_POD_INFRA_CONTAINER_ID=${containerId};K8S_POD_UID=${pod.uid}`,
    WEFT_CNI_SOCKET: socket,
  }
}

/** What the plugins before ours say of a pod, as `bridge` does. */
export function prevResult(pod: AgentPod): Record<string, unknown> {
  const { ip4, ip6, path } = pod.lab
  return {
    cniVersion: '1.0.0',
    interfaces: [
      { name: 'br0', mac: '02:00:00:00:00:01' },
      { name: `v${ip4.split('.')[3]}`, mac: '02:00:00:00:00:02' },
      { name: 'eth0', mac: '02:00:00:00:00:03', sandbox: path },
    ],
    ips: [
      { interface: 2, address: `${ip4}/24`, gateway: '10.77.0.1' },
      { interface: 2, address: `${ip6}/64`, gateway: 'fd77::1' },
    ],
    routes: [{ dst: '0.0.0.0/0' }],
    dns: {},
  }
}

/** stdin of the plugin: our entry of the conf list. */
export function pluginConfig(previous: unknown, more: object = {}): string {
  return JSON.stringify({
    cniVersion: '1.0.0',
    name: 'pods',
    type: 'weft-cni',
    ...(previous === undefined ? {} : { prevResult: previous }),
    ...more,
  })
}
