// How a container starts: a shell script that joins the pod's cgroup and network, makes own mount, pid, uts, ipc and cgroup
// namespaces, builds a read-only copy-on-write view of the host's root without /run, cgroup and bpf mounts, then drops
// capabilities and becomes the container's command. The container's own environment is set only after the drop.
import { dirname, join } from 'node:path'

/** A file or directory of the host that shows up in the container. */
export interface Bind {
  readonly from: string
  readonly to: string
  readonly isReadOnly: boolean
}

/** What to start. Paths are absolute; `binds` are made in order. */
export interface LaunchSpec {
  readonly cgroup: string
  readonly netnsPath: string
  /** Empty directory for the container's private writes; on tmpfs. */
  readonly scratchDir: string
  readonly hostname: string
  /** Mounts of real file systems below /, from hostMounts(). */
  readonly hostMounts: readonly string[]
  readonly binds: readonly Bind[]
  readonly workingDir: string
  readonly setpriv: readonly string[]
  readonly env: Readonly<Record<string, string>>
  readonly command: readonly string[]
}

/** File descriptor on which the script says `ok` just before it becomes the command. */
export const STARTED_FD = 3

const JOIN = 'echo $$ > "$1/cgroup.procs" && shift && exec "$@"'
const REAL_FILE_SYSTEMS = /^(ext[234]|xfs|btrfs|zfs|f2fs|bcachefs|overlay|nfs4?|virtiofs|9p|fuse\..*|fuseblk|vfat|squashfs|erofs)$/
const HIDDEN = ['/run', '/var/run', '/tmp', '/proc', '/sys', '/dev', '/boot', '/etc/resolv.conf', '/etc/hosts', '/etc/hostname']

/** Program and arguments that start the container; the process that is started ends when the container ends. */
export function launchCommand(spec: LaunchSpec): [program: string, args: string[]] {
  const namespaces = ['--mount', '--uts', '--ipc', '--pid', '--cgroup', '--fork', '--kill-child=SIGKILL', '--propagation', 'private']
  const enter = ['nsenter', `--net=${spec.netnsPath}`, '--', 'unshare', ...namespaces, '--', '/bin/sh', '-ec', launchScript(spec)]
  return ['/bin/sh', ['-c', JOIN, 'sh', spec.cgroup, ...enter]]
}

/** The script that runs as PID 1 of the container until it becomes the command. */
export function launchScript(spec: LaunchSpec): string {
  const { scratchDir: scratch } = spec
  const assignments = Object.entries(spec.env).map(([name, value]) => `${name}=${value}`)
  return [
    `mkdir -p ${quote(join(scratch, 'up'))} ${quote(join(scratch, 'work'))} ${quote(join(scratch, 'root'))}`,
    `mount -n -t overlay -o ${quote(`nodev,nosuid,lowerdir=/,upperdir=${join(scratch, 'up')},workdir=${join(scratch, 'work')}`)} overlay ${quote(join(scratch, 'root'))}`,
    `cd ${quote(join(scratch, 'root'))}`,
    ...spec.hostMounts.map((path) => {
      const to = quote(path.slice(1))
      return `if [ -d ${quote(path)} ]; then mount -n --bind ${quote(path)} ${to}; mount -n -o remount,bind,ro,nosuid,nodev ${to}; fi`
    }),
    ...KERNEL_MOUNTS,
    'mkdir run/.old',
    'pivot_root . run/.old',
    'cd /',
    ...spec.binds.flatMap(bindLines),
    'umount -n -l /run/.old',
    'rmdir /run/.old',
    'mount -n -o remount,ro /',
    `hostname ${quote(spec.hostname)}`,
    `cd ${quote(spec.workingDir)}`,
    `echo ok >&${STARTED_FD}`,
    `exec ${STARTED_FD}>&-`,
    `exec setpriv ${[...spec.setpriv, '--', 'env', '-i', ...assignments, ...spec.command].map(quote).join(' ')}`,
  ].join('\n')
}

/**
 * Mount points of the host that containers see, read-only: real file systems, not those that hold state of running things.
 * @param mountinfo text of /proc/self/mountinfo
 */
export function hostMounts(mountinfo: string): string[] {
  const result = new Set<string>()
  for (const line of mountinfo.split('\n')) {
    const [left = '', right = ''] = line.split(' - ')
    const path = left.split(' ')[4]?.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)))
    const type = right.split(' ')[0] ?? ''
    if (path === undefined || path === '/' || !REAL_FILE_SYSTEMS.test(type)) continue
    if (!HIDDEN.some((hidden) => path === hidden || path.startsWith(`${hidden}/`))) result.add(path)
  }
  return [...result].sort()
}

/** Quotes one word for /bin/sh. */
export function quote(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`
}

function bindLines(bind: Bind): string[] {
  const from = quote(join('/run/.old', bind.from))
  const to = quote(bind.to)
  // Symbolic links (/var/run, a resolv.conf of systemd) are followed inside the new root, where they can do no harm.
  return [
    `f=${from}; t=$(readlink -m ${to})`,
    `if [ -d "$f" ]; then mkdir -p "$t"; else mkdir -p "$(dirname "$t")"; [ -e "$t" ] || : > "$t"; fi`,
    'mount -n --bind "$f" "$t"',
    ...(bind.isReadOnly ? ['mount -n -o remount,bind,ro,nosuid,nodev "$t"'] : ['mount -n -o remount,bind,nosuid,nodev "$t"']),
  ]
}

/** Where an interpreter or an image lies in a hidden place (/tmp), it must be bound again. */
export function isHidden(path: string): boolean {
  return ['/run', '/tmp'].some((hidden) => path === hidden || path.startsWith(`${hidden}/`))
}

/** Directory of an executable. */
export function directoryOf(path: string): string {
  return dirname(path)
}

// Relative to the new root. What containerd masks or makes read-only in /proc is masked here, too: uid 0 alone may write there.
const KERNEL_MOUNTS: readonly string[] = [
  'mount -n -t tmpfs -o nosuid,nodev,mode=755,size=16m tmpfs run',
  'mount -n -t tmpfs -o nosuid,nodev,mode=1777,size=256m tmpfs tmp',
  'mount -n -t proc -o nosuid,nodev,noexec proc proc',
  'mount -n -t sysfs -o ro,nosuid,nodev,noexec sysfs sys',
  'mount -n -t tmpfs -o nosuid,nodev,mode=755,size=64k tmpfs dev', // devices come as binds: none of the container's making
  'for d in null zero full random urandom tty; do : > dev/$d; mount -n --bind /dev/$d dev/$d; done',
  'mkdir dev/shm dev/pts',
  'mount -n -t tmpfs -o nosuid,nodev,noexec,mode=1777,size=64m tmpfs dev/shm',
  'mount -n -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts',
  'ln -s pts/ptmx dev/ptmx; ln -s /proc/self/fd dev/fd',
  'ln -s /proc/self/fd/0 dev/stdin; ln -s /proc/self/fd/1 dev/stdout; ln -s /proc/self/fd/2 dev/stderr',
  'for p in sys sysrq-trigger irq bus fs; do if [ -e proc/$p ]; then mount -n --bind proc/$p proc/$p; mount -n -o remount,bind,ro proc/$p; fi; done',
  'for p in kcore keys latency_stats timer_list sched_debug; do if [ -e proc/$p ]; then mount -n --bind /dev/null proc/$p; fi; done',
  'for p in acpi scsi asound; do if [ -d proc/$p ]; then mount -n -t tmpfs -o ro,size=0 tmpfs proc/$p; fi; done',
]
