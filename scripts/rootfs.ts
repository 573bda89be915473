// Puts programs of this machine with the shared libraries that they need into a folder that becomes the root of an image.
import { spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, lstatSync, mkdirSync, readlinkSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'

/** An empty root with the files that every program expects. */
export function makeRoot(root: string): void {
  for (const folder of ['bin', 'usr/bin', 'etc', 'tmp', 'proc', 'sys', 'dev', 'root', 'var', 'run'])
    mkdirSync(join(root, folder), { recursive: true })
  writeFileSync(join(root, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n')
  writeFileSync(join(root, 'etc/group'), 'root:x:0:\nnogroup:x:65534:\n')
  writeFileSync(join(root, 'etc/nsswitch.conf'), 'hosts: files dns\n')
}

/**
 * Copies a program or library to `target` (default: where it is here), and every library that it is linked with.
 * @throws Error when it is missing or cannot be read by ldd
 */
export function putFile(root: string, path: string, target: string = realpathSync(path)): void {
  const real = realpathSync(path)
  copy(root, real, target)
  const asked = spawnSync('ldd', [real], { encoding: 'utf8' })
  if (asked.error !== undefined) throw new Error(`ldd: ${asked.error.message}`)
  for (const [, library] of asked.stdout.matchAll(/(?:=> |^\s+)(\/\S+) \(0x/gm)) putLibrary(root, library ?? '')
  if (/not found/.test(asked.stdout)) throw new Error(`${real}: ${asked.stdout.trim()}`)
}

/** Copies a program from PATH to /usr/bin, under its own name and as it is called. @throws Error when there is none */
export function putProgram(root: string, name: string): void {
  const folders = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin']
  const path = folders.map((folder) => join(folder, name)).find((candidate) => existsSync(candidate))
  if (path === undefined) throw new Error(`there is no ${name} on this machine`)
  const real = realpathSync(path)
  putFile(root, real)
  for (const link of [join(root, 'bin', name), join(root, 'usr/bin', name)]) {
    if (link !== join(root, real) && !existsSync(link)) symlinkSync(real, link)
  }
}

/** A library is looked for under its soname, which may be a link: both names are there. */
export function putLibrary(root: string, path: string): void {
  const real = realpathSync(path)
  copy(root, real, real)
  if (path === real) return
  const alias = join(root, path)
  if (existsSync(alias)) return
  mkdirSync(dirname(alias), { recursive: true })
  // The folder may be a link here (/lib -> usr/lib); in the image both folders are real.
  if (lstatSync(path).isSymbolicLink() && basename(readlinkSync(path)) === readlinkSync(path) && dirname(real) === dirname(path)) {
    symlinkSync(readlinkSync(path), alias)
  } else copyFileSync(real, alias)
}

function copy(root: string, source: string, target: string): void {
  const path = join(root, target)
  if (existsSync(path)) return
  mkdirSync(dirname(path), { recursive: true })
  copyFileSync(source, path)
}
