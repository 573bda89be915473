// The test tiers and how mocha runs each: test files are test/TIER/**/*.test.ts, one process per tier, files one after another.
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative, resolve } from 'node:path'
import { setUpPeers } from './peers.mjs'
import { INTERPRETER, ROOT, SetupError, setUpMachine, setUpTools } from './setup.mjs'

/**
 * `timeoutS` ends one test that says nothing else, `deadlineS` the whole tier (a hang is a failure, not a wait).
 * `mayBeEmpty`: no test file is no fault. `peers`: programs that are installed and named in the environment.
 */
export const TIERS = {
  unit: { needsRoot: false, timeoutS: 10, deadlineS: 180, mayBeEmpty: false },
  netns: { needsRoot: true, timeoutS: 60, deadlineS: 900, mayBeEmpty: false },
  fuzz: { needsRoot: false, timeoutS: 600, deadlineS: 3600, mayBeEmpty: true },
  soak: { needsRoot: true, timeoutS: 280, deadlineS: 2400, mayBeEmpty: false },
  budget: { needsRoot: true, timeoutS: 300, deadlineS: 1800, mayBeEmpty: true },
  conformance: { needsRoot: true, timeoutS: 300, deadlineS: 1800, mayBeEmpty: false, peers: ['GO'] },
  interop: { needsRoot: true, timeoutS: 300, deadlineS: 1800, mayBeEmpty: true, peers: ['GO', 'ENVOY'] },
  kubernetes: { needsRoot: true, timeoutS: 900, deadlineS: 3600, mayBeEmpty: true, peers: ['GO'] },
}

const NONE = { passed: 0, failed: 0, skipped: 0, notes: [] }
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
  const mayRerun = process.env.CI === 'true' && failures.length === counts.failed && failures.length <= MAX_RERUN_TESTS
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
    if (tier.mayBeEmpty || args.some(isTestPath)) return { ...NONE, isOk: true }
    throw new SetupError(`no test file in test/${name}`)
  }
  if (tier.needsRoot) {
    setUpMachine(`the tier "${name}"`, '`npm run test:unit` needs no root.')
    setUpTools(name === 'interop' || name === 'kubernetes' ? name : 'test')
  }
  const scratch = mkdtempSync(join(tmpdir(), 'weft-test-'))
  try {
    const countsFile = join(scratch, 'counts.json')
    const code = await mocha(tier, [...others, ...files], countsFile)
    if (!existsSync(countsFile)) return { ...NONE, failed: 1, isOk: false } // died before the end
    const counts = JSON.parse(readFileSync(countsFile, 'utf8'))
    if (code !== 0 && counts.failed === 0) counts.failed = 1
    return { ...counts, isOk: counts.failed === 0 }
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
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

function mocha(tier, args, countsFile) {
  const fixed = [
    '--extension',
    'ts',
    '--timeout',
    `${tier.timeoutS}s`,
    '--reporter',
    join(ROOT, 'scripts', 'reporter.mjs'),
    '--forbid-only',
  ]
  const hooks = join(ROOT, 'test', 'support', 'root-hooks.ts')
  if (tier.needsRoot && existsSync(hooks)) fixed.push('--require', hooks)
  const child = spawn(INTERPRETER, [join(ROOT, 'node_modules', 'mocha', 'bin', 'mocha.js'), ...fixed, ...args], {
    cwd: ROOT,
    stdio: ['ignore', 'inherit', 'inherit'],
    env: {
      ...process.env,
      ...setUpPeers(tier.peers ?? []),
      TEST_COUNTS_FILE: countsFile,
      PATH: `${process.env.PATH ?? ''}:/usr/sbin:/sbin`,
    },
    detached: true, // its own process group, so that the deadline ends its children too
  })
  const end = (signal) => {
    try {
      process.kill(-child.pid, signal)
    } catch (error) {
      if (error.code !== 'ESRCH') throw error
    }
  }
  const deadline = setTimeout(() => {
    console.error(`the tier has not ended after ${tier.deadlineS} s: killed`)
    end('SIGTERM')
    setTimeout(() => end('SIGKILL'), 5000).unref()
  }, tier.deadlineS * 1000)
  const interrupt = () => end('SIGINT')
  process.on('SIGINT', interrupt).on('SIGTERM', interrupt)
  return new Promise((done, fail) => {
    child.on('error', fail)
    child.on('close', (code) => {
      clearTimeout(deadline)
      process.off('SIGINT', interrupt).off('SIGTERM', interrupt)
      done(code ?? 1)
    })
  })
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
