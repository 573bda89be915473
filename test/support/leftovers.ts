// What a mesh of a name has on this machine: namespaces, links, mounts, cgroups, files, processes, and objects of the kernel
// behind its pins. Tests ask before and after.
import { execFileSync } from 'node:child_process'
import { closeSync, existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { openPin } from '../../bpf/map.ts'
import { libbpf } from '../../bpf/libbpf.ts'
import { library } from '../../linux/ffi.ts'
import { meshLayout, NETNS_DIR, RUN_DIR } from '../../runtime/layout.ts'

/** A program, map or link by the kernel's number. */
export interface KernelObject {
  readonly kind: 'program' | 'map' | 'link'
  readonly id: number
}

/** Everything of a mesh that can be seen by its name; empty = nothing is left. */
export function leftovers(name: string): string[] {
  const mesh = meshLayout(name)
  const links: { ifname: string }[] = JSON.parse(execFileSync('ip', ['-j', 'link'], { encoding: 'utf8' }))
  const ownLinks = new Set([mesh.bridge, mesh.controlLink])
  const isOwnLink = (link: string): boolean => ownLinks.has(link) || link.startsWith(mesh.controlLink.slice(0, -1))
  const mounts = readFileSync('/proc/self/mounts', 'utf8').split('\n')
  return [
    ...list(NETNS_DIR)
      .filter((netns) => netns.startsWith(`weft-${name}-`))
      .map((netns) => `namespace ${netns}`),
    ...links.filter(({ ifname }) => isOwnLink(ifname)).map(({ ifname }) => `link ${ifname}`),
    ...mounts.filter((mount) => mount.includes(`${RUN_DIR}/${name}`)).map((mount) => `mount ${mount}`),
    ...[mesh.cgroup, mesh.dir].filter((path) => existsSync(path)),
    ...processesOf(name).map((text) => `process ${text}`),
  ]
}

/** Programs, maps and links that are pinned below a node's directory, with the links' programs. */
export function pinnedObjects(bpfDir: string): KernelObject[] {
  return readdirSync(bpfDir).flatMap((pin): KernelObject[] => {
    const fd = openPin(join(bpfDir, pin))
    try {
      const info = Buffer.alloc(64) // both structs: type, id; a link's program comes third
      if (libbpf().info(fd, info, [info.length]) < 0) throw new Error(`${pin} says nothing about itself`)
      const id = info.readUInt32LE(4)
      if (pin.startsWith('map_')) return [{ kind: 'map', id }]
      return [
        { kind: 'link', id },
        { kind: 'program', id: info.readUInt32LE(8) },
      ]
    } finally {
      closeSync(fd)
    }
  })
}

/** Whether the kernel still has the object. */
export function isAlive({ kind, id }: KernelObject): boolean {
  const fd = BY_ID[kind](id)
  if (fd >= 0) closeSync(fd)
  return fd >= 0
}

const lib = library('libbpf.so.1')
const BY_ID: Readonly<Record<KernelObject['kind'], (id: number) => number>> = {
  program: lib.func('int bpf_prog_get_fd_by_id(uint32_t id)'),
  map: lib.func('int bpf_map_get_fd_by_id(uint32_t id)'),
  link: lib.func('int bpf_link_get_fd_by_id(uint32_t id)'),
}

function processesOf(name: string): string[] {
  return list('/proc')
    .filter((pid) => /^\d+$/.test(pid) && Number(pid) !== process.pid)
    .flatMap((pid) => {
      const command = text(`/proc/${pid}/cmdline`).replaceAll('\0', ' ').trim()
      const isOwn = text(`/proc/${pid}/cgroup`).includes(`/weft/${name}/`) || command.includes(`${RUN_DIR}/${name}/`)
      const isZombie = text(`/proc/${pid}/stat`).includes(') Z ')
      return isOwn && !isZombie ? [`${pid} ${command}`] : []
    })
}

function list(path: string): string[] {
  return existsSync(path) ? readdirSync(path) : []
}

function text(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return '' // it has ended meanwhile
  }
}
