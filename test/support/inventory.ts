// What tests make and must remove, as it is on the machine now: root hooks compare two of these, and in CI, as a program that
// prints JSON, scripts/tiers.mjs.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Namespaces, links, mounts, cgroups, mesh directories. */
export function inventory(): string[] {
  const links: { ifname: string }[] = JSON.parse(execFileSync('ip', ['-j', 'link'], { encoding: 'utf8' }))
  const mounts = readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' '))
  const cgroup2 = mounts.find(([, , type]) => type === 'cgroup2')?.[1]
  return [
    ...entries('/run/netns').map((name) => `namespace ${name}`),
    ...links.map((link) => `link ${link.ifname}`),
    ...mounts.map(([, path]) => `mount ${path}`),
    ...(cgroup2 === undefined
      ? []
      : [...entries(cgroup2), ...entries(join(cgroup2, 'weft')).map((name) => `weft/${name}`)].map((name) => `cgroup ${name}`)),
    ...entries('/run/weft').map((name) => `mesh ${name}`),
  ]
}

function entries(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch (error) {
    assert.equal((error as NodeJS.ErrnoException).code, 'ENOENT')
    return []
  }
}

if (import.meta.main) process.stdout.write(JSON.stringify(inventory()))
