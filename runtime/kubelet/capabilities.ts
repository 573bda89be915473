// Linux capabilities of containers: containerd's default set, changed by securityContext, minus those that would let a pod
// out of its sandbox or into the mesh's programs. Turned into arguments of setpriv.
import type { SecurityContext } from '../../model/container.ts'
import { runtimeFailure } from '../errors.ts'

/** containerd's default, pkg/oci defaultUnixCaps. */
export const DEFAULT_CAPABILITIES: readonly string[] = [
  'chown',
  'dac_override',
  'fsetid',
  'fowner',
  'mknod',
  'net_raw',
  'setgid',
  'setuid',
  'setfcap',
  'setpcap',
  'net_bind_service',
  'sys_chroot',
  'kill',
  'audit_write',
]

/** May be added on request. */
const ADDABLE: ReadonlySet<string> = new Set([
  ...DEFAULT_CAPABILITIES,
  'audit_control',
  'ipc_lock',
  'ipc_owner',
  'lease',
  'linux_immutable',
  'net_admin',
  'net_broadcast',
  'sys_nice',
  'sys_pacct',
  'sys_resource',
  'sys_tty_config',
])

/**
 * @returns lower-case names without `cap_`, sorted
 * @throws MeshError CAPABILITY_REFUSED: SYS_ADMIN, SYS_PTRACE, BPF and others that lead out of the sandbox, or an unknown name
 */
export function capabilitiesOf(context: SecurityContext | undefined): string[] {
  const drop = (context?.capabilities?.drop ?? []).map(normalise)
  const add = (context?.capabilities?.add ?? []).map(normalise)
  const result = new Set(drop.includes('all') ? [] : DEFAULT_CAPABILITIES)
  for (const name of drop) result.delete(name)
  for (const name of add) {
    if (name !== 'all' && !ADDABLE.has(name)) throw runtimeFailure('CAPABILITY_REFUSED', { capability: name.toUpperCase() })
    for (const one of name === 'all' ? ADDABLE : [name]) result.add(one)
  }
  return [...result].sort()
}

/** Arguments of setpriv that leave exactly these capabilities, and the user and group of the container. */
export function setprivArgs(context: SecurityContext | undefined, pod: { runAsUser?: number; runAsGroup?: number } | undefined): string[] {
  const uid = context?.runAsUser ?? pod?.runAsUser
  const gid = context?.runAsGroup ?? pod?.runAsGroup ?? (uid === undefined ? undefined : 0)
  const bounding = ['-all', ...capabilitiesOf(context).map((name) => `+${name}`)].join(',')
  return [
    `--bounding-set=${bounding}`,
    '--inh-caps=-all',
    ...(context?.allowPrivilegeEscalation === false ? ['--nnp'] : []),
    ...(uid === undefined ? [] : [`--reuid=${uid}`]),
    ...(gid === undefined ? [] : [`--regid=${gid}`]),
    '--clear-groups',
  ]
}

function normalise(name: string): string {
  return name.toLowerCase().replace(/^cap_/, '')
}
