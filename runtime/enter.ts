// The command line that runs something inside a pod: in its cgroup (so that it is captured like the pod's own processes),
// its network, and, where a container runs, all namespaces of the container, with the container's capabilities.
import { join } from 'node:path'
import { quote } from './kubelet/launch.ts'
import { NETNS_DIR } from './layout.ts'

const JOIN = 'echo $$ > "$1/cgroup.procs" && shift && exec "$@"'

/** Into a running container, in the directory of its first process. `setpriv`: arguments that drop capabilities. */
export function enterContainer(options: {
  readonly pid: number
  readonly cgroup: string
  readonly setpriv: readonly string[]
  readonly env: Readonly<Record<string, string>>
  readonly command: readonly string[]
}): [program: string, args: string[]] {
  const { pid, cgroup, setpriv, env, command } = options
  const assignments = Object.entries(env).map(([name, value]) => `${name}=${value}`)
  const enter = ['nsenter', `--target=${pid}`, '--mount', '--uts', '--ipc', '--net', '--pid', '--cgroup', '--wd', '--']
  return ['/bin/sh', ['-c', JOIN, 'sh', cgroup, ...enter, 'setpriv', ...setpriv, '--', 'env', '-i', ...assignments, ...command]]
}

/** Into a pod without a running container: host file system, but the pod's network, cgroup and resolv.conf. */
export function enterSandbox(options: {
  readonly netns: string
  readonly cgroup: string
  readonly resolvConf: string
  readonly setpriv: readonly string[]
  readonly command: readonly string[]
}): [program: string, args: string[]] {
  const script = `mount -n --bind ${quote(options.resolvConf)} "$(readlink -m /etc/resolv.conf)"; exec setpriv ${[...options.setpriv, '--', ...options.command].map(quote).join(' ')}`
  const enter = [
    'nsenter',
    `--net=${join(NETNS_DIR, options.netns)}`,
    '--',
    'unshare',
    '--mount',
    '--propagation',
    'private',
    '--',
    '/bin/sh',
    '-ec',
    script,
  ]
  return ['/bin/sh', ['-c', JOIN, 'sh', options.cgroup, ...enter]]
}
