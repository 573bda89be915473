// Mocha's root hooks of the tiers that change the machine: after all tests nothing of theirs may be left.
// Names carry the test process's pid, so that several runs on one machine do not blame each other; CI blames more.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { runAtEnd } from './at-end.ts'

let before: ReadonlySet<string> = new Set()

/** Loaded by mocha's --require. */
export const mochaHooks = {
  beforeAll(): void {
    before = new Set(inventory())
  },
  async afterAll(): Promise<void> {
    await runAtEnd()
    const left = inventory().filter((name) => !before.has(name) && isOurs(name))
    assert.deepEqual(left, [], 'the tests left something on the machine')
  },
}

/** Whether something new is blamed on this run: it carries our pid, or, in CI, no other living process's. */
function isOurs(name: string): boolean {
  const numbers: readonly string[] = name.match(/\d{3,}/g) ?? []
  if (numbers.includes(String(process.pid))) return true
  return process.env.CI === 'true' && !numbers.some((number) => existsSync(`/proc/${Number(number)}`))
}

/** What tests make and must remove: namespaces, links, mounts, cgroups, mesh directories. */
function inventory(): string[] {
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
