// Puts programs of this machine with the shared libraries that they need into a folder that becomes the root of an image.
import { spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'

/** An empty root with the files that every program expects; /bin, /sbin, /lib and /lib64 are those of /usr. */
export function makeRoot(root: string): void {
  for (const folder of ['etc', 'tmp', 'proc', 'sys', 'dev', 'root', 'var', 'run']) mkdirSync(join(root, folder), { recursive: true })
  for (const folder of ['bin', 'sbin', 'lib', 'lib64']) {
    mkdirSync(join(root, 'usr', folder), { recursive: true })
    symlinkSync(`usr/${folder}`, join(root, folder))
  }
  writeFileSync(join(root, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n')
  writeFileSync(join(root, 'etc/group'), 'root:x:0:\nnogroup:x:65534:\n')
  writeFileSync(join(root, 'etc/nsswitch.conf'), 'hosts: files dns\n')
}

/** Copies a program from PATH to where it is found here, and as it is called to /usr/bin. @throws Error when there is none */
export function putProgram(root: string, name: string): void {
  const folders = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin']
  const path = folders.map((folder) => join(folder, name)).find((candidate) => existsSync(candidate))
  if (path === undefined) throw new Error(`there is no ${name} on this machine`)
  const real = realpathSync(path)
  putFile(root, real)
  const alias = join(root, 'usr/bin', name)
  if (!existsSync(alias)) symlinkSync(relative('/usr/bin', real), alias)
}

/** Copies a library under its name and the one that it is looked for, with what it is linked with. */
export function putLibrary(root: string, path: string): void {
  const real = realpathSync(path)
  putFile(root, real)
  const place = /^\/(bin|sbin|lib|lib64)\//.test(path) ? join('/usr', path) : path
  const alias = join(root, place)
  if (existsSync(alias)) return
  mkdirSync(dirname(alias), { recursive: true })
  symlinkSync(relative(dirname(place), real), alias)
}

/**
 * Copies a program or library to `target` (default: where it is here), and every library that it is linked with.
 * @throws Error when it is missing or a library is
 */
export function putFile(root: string, path: string, target: string = realpathSync(path)): void {
  const real = realpathSync(path)
  if (existsSync(join(root, target))) return
  mkdirSync(dirname(join(root, target)), { recursive: true })
  copyFileSync(real, join(root, target))
  const asked = spawnSync('ldd', [real], { encoding: 'utf8' })
  if (asked.error !== undefined) throw new Error(`ldd: ${asked.error.message}`)
  if (/not found/.test(asked.stdout)) throw new Error(`${real}: ${asked.stdout.trim()}`)
  for (const [, library] of asked.stdout.matchAll(/(?:=> |^\s+)(\/\S+) \(0x/gm)) putLibrary(root, library ?? '')
}
