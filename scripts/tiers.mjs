// The test tiers and how mocha runs each: test files are test/TIER/**/*.test.ts, one after another in one process, or two and more
// side by side.
import { existsSync, readdirSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join, relative, resolve } from 'node:path'
import { runMocha, wasCancelled } from './mocha.mjs'
import { setUpPeers } from './peers.mjs'
import { INTERPRETER, ROOT, runQuietly, SetupError, setUpMachine, setUpTools } from './setup.mjs'

/**
 * `isSideBySide`: files may run beside others of their tier; what they make carries their process's number.
 * `timeoutS` ends one test that says nothing else, `deadlineS` the whole tier (a hang is a failure, not a wait).
 * `peers`: programs that are installed and named in the environment.
 */
export const TIERS = {
  unit: { needsRoot: false, isSideBySide: true, timeoutS: 30, deadlineS: 600 },
  netns: { needsRoot: true, isSideBySide: true, timeoutS: 120, deadlineS: 1500 },
  fuzz: { needsRoot: false, timeoutS: 600, deadlineS: 3600 },
  soak: { needsRoot: true, timeoutS: 280, deadlineS: 2400 },
  conformance: { needsRoot: true, timeoutS: 300, deadlineS: 1800, peers: ['GO'] },
  interop: { needsRoot: true, timeoutS: 300, deadlineS: 1800, peers: ['GO', 'ENVOY'] },
  kubernetes: { needsRoot: true, timeoutS: 900, deadlineS: 7200, peers: ['GO'] },
}

const NONE = { passed: 0, failed: 0, skipped: 0, notes: [] }
/** At least two: kernel tests wait more than they work. More than four would only be in each other's way. */
const JOBS = Math.min(Math.max(availableParallelism(), 2), 4)
/** Less is not worth the starts. */
const FEW_FILES = 6
/** More failures than these are no accident of timing. */
const MAX_RERUN_TESTS = 4

/**
 * Runs one tier; its output goes to the terminal. With CI=true the files of at most 4 failed tests are run once more by
 * themselves: what passes then counts as passed and is named in `notes`, so that a shared machine's hiccup is seen, not fatal.
 * @param {keyof typeof TIERS} name
 * @param {readonly string[]} args paths of test files or folders narrow the run; everything else goes to mocha
 * @returns {Promise<{ passed: number, failed: number, skipped: number, notes: string[], isOk: boolean }>} a note per failure
 * @throws SetupError when something is missing
 */
export async function runTier(name, args = []) {
  const first = await runOnce(name, args)
  const { failures = [], ...counts } = first
  const files = [...new Set(failures.map((failure) => failure.file).filter((file) => file !== undefined))]
  const mayRerun = process.env.CI === 'true' && !wasCancelled() && failures.length === counts.failed && failures.length <= MAX_RERUN_TESTS
  if (counts.isOk || !mayRerun || files.length === 0) return { ...counts, notes: failures.map((failure) => note('FAILED', name, failure)) }
  console.log(`   ${name}: ${counts.failed} failed; once more, by themselves: ${files.map((file) => relative(ROOT, file)).join(', ')}`)
  const second = await runOnce(name, files)
  const stillFailed = new Set((second.failures ?? []).map((failure) => failure.title))
  const isDead = !second.isOk && stillFailed.size === 0
  const notes = failures.map((failure) =>
    note(isDead || stillFailed.has(failure.title) ? 'FAILED TWICE' : 'PASSED ONLY ON THE SECOND RUN', name, failure),
  )
  for (const failure of second.failures ?? []) {
    if (!failures.some((before) => before.title === failure.title)) notes.push(note('FAILED ON THE SECOND RUN', name, failure))
  }
  const failed = isDead ? counts.failed : second.failed
  return { ...counts, passed: counts.passed + counts.failed - failed, failed, notes, isOk: failed === 0 }
}

function note(verdict, tier, failure) {
  return `${verdict}: ${tier}: ${failure.title}: ${failure.message}`
}

async function runOnce(name, args) {
  const tier = TIERS[name]
  const { files, others } = sort(name, args)
  if (files.length === 0) {
    if (args.some(isTestPath)) return { ...NONE, isOk: true }
    throw new SetupError(`no test file in test/${name}`)
  }
  if (tier.needsRoot) {
    setUpMachine(`the tier "${name}"`, '`npm run test:unit` needs no root.')
    setUpTools(name === 'interop' || name === 'kubernetes' ? name : 'test')
  }
  const env = { ...process.env, ...setUpPeers(tier.peers ?? []), PATH: `${process.env.PATH ?? ''}:/usr/sbin:/sbin` }
  const jobs = tier.isSideBySide === true && files.length >= FEW_FILES ? JOBS : 1
  const before = inventory(tier)
  const counts = await runMocha({ files, args: [...mochaArgs(tier), ...others], env, jobs, deadlineS: tier.deadlineS })
  const left = inventory(tier).filter((name) => !before.includes(name) && !isOfLiving(name))
  if (left.length > 0) {
    console.error(`   ${name}: left on the machine: ${left.join(', ')}`)
    counts.failed++
  }
  return { ...counts, isOk: counts.failed === 0 }
}

/**
 * What is on the machine that tests make and must remove. Asked in CI only, where nobody else makes such things: the tests' own
 * root hooks blame what carries their process's number, and this finds the rest.
 */
function inventory(tier) {
  if (!tier.needsRoot || process.env.CI !== 'true') return []
  const file = join(ROOT, 'test', 'support', 'inventory.ts')
  return JSON.parse(runQuietly(INTERPRETER, [file], { env: { ...process.env, PATH: `${process.env.PATH ?? ''}:/usr/sbin:/sbin` } }))
}

/** Whether it carries the number of a process that lives: then it is another run's. */
function isOfLiving(name) {
  return (name.match(/\d{3,}/g) ?? []).some((number) => existsSync(`/proc/${Number(number)}`))
}

/** Adds up the counts of tiers. */
export function addCounts(a, b) {
  return {
    passed: a.passed + b.passed,
    failed: a.failed + b.failed,
    skipped: a.skipped + b.skipped,
    notes: [...a.notes, ...b.notes],
    isOk: a.isOk && b.isOk,
  }
}

/** What mocha is told: how long a test may take, how it reports, and what looks for leftovers. */
function mochaArgs(tier) {
  const reporter = join(ROOT, 'scripts', 'reporter.mjs')
  const fixed = ['--extension', 'ts', '--timeout', `${tier.timeoutS}s`, '--reporter', reporter, '--forbid-only']
  const hooks = join(ROOT, 'test', 'support', 'root-hooks.ts')
  return tier.needsRoot && existsSync(hooks) ? [...fixed, '--require', hooks] : fixed
}

/** Splits arguments into test files of this tier and options for mocha. */
function sort(name, args) {
  const folder = join(ROOT, 'test', name)
  const given = args.filter(isTestPath).map((path) => resolve(ROOT, path))
  const chosen = testFiles(folder).filter(
    (file) => given.length === 0 || given.some((path) => file === path || file.startsWith(`${path}/`)),
  )
  return { files: chosen.map((file) => relative(ROOT, file)), others: args.filter((arg) => !isTestPath(arg)) }
}

function isTestPath(arg) {
  return !arg.startsWith('-') && existsSync(resolve(ROOT, arg))
}

function testFiles(folder) {
  if (!existsSync(folder)) return []
  return readdirSync(folder, { recursive: true })
    .filter((entry) => entry.endsWith('.test.ts'))
    .map((entry) => join(folder, entry))
    .sort()
}
