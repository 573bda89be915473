// Mocha's root hooks of the tiers that change the machine: after all tests nothing of theirs may be left.
// Names carry the test process's pid, so that several runs on one machine do not blame each other; in CI scripts/tiers.mjs finds
// the rest.
import assert from 'node:assert/strict'
import { runAtEnd } from './at-end.ts'
import { inventory } from './inventory.ts'

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

/** Whether something new is blamed on this run: it carries our pid. */
function isOurs(name: string): boolean {
  const numbers: readonly string[] = name.match(/\d{3,}/g) ?? []
  return numbers.includes(String(process.pid))
}
