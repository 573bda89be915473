// Runs test files under mocha: one process, or several side by side, each with a part of the files. A run that is cancelled
// (SIGINT, SIGTERM) lets the tests that are under way remove what they made, and begins no more.
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { INTERPRETER, ROOT } from './setup.mjs'

const NONE = { passed: 0, failed: 0, skipped: 0, failures: [] }
/** Parts per process that runs at a time: with several, the processes end at nearly the same time. */
const PARTS_PER_JOB = 4
/** How long a cancelled run may take to remove what it made. */
const CANCEL_LIMIT_MS = 60_000

let isCancelled = false

/** Whether somebody has asked this process to end: nothing new is begun then. */
export function wasCancelled() {
  return isCancelled
}

/**
 * @param {{ files: string[], args: string[], env: object, jobs: number, deadlineS: number }} run `jobs` processes at a time
 * @returns {Promise<{ passed: number, failed: number, skipped: number, failures: object[] }>} a process that died is one failure
 */
export async function runMocha({ files, args, env, jobs, deadlineS }) {
  const scratch = mkdtempSync(join(tmpdir(), 'weft-test-'))
  const deadlineMs = performance.now() + deadlineS * 1000
  const parts = jobs === 1 ? [files] : deal(files, Math.min(jobs * PARTS_PER_JOB, files.length))
  const queue = parts.map((part, index) => ({ part, counts: join(scratch, `${index}.json`) }))
  let sum = NONE
  const work = async () => {
    for (let next = queue.shift(); next !== undefined && !isCancelled; next = queue.shift()) {
      const code = await runPart([...args, ...next.part], { ...env, TEST_COUNTS_FILE: next.counts }, jobs > 1, deadlineMs)
      sum = add(sum, countsOf(next.counts, code))
    }
  }
  try {
    await Promise.all(Array.from({ length: jobs }, work))
    return isCancelled ? add(sum, { ...NONE, failed: 1 }) : sum
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}

/** Like cards: neighbours are often of one kind and equally slow. */
function deal(files, number) {
  return Array.from({ length: number }, (_, part) => files.filter((_, index) => index % number === part))
}

function countsOf(path, code) {
  if (!existsSync(path)) return { ...NONE, failed: 1 } // died before the end
  const counts = JSON.parse(readFileSync(path, 'utf8'))
  return code !== 0 && counts.failed === 0 ? { ...counts, failed: 1 } : counts
}

function add(a, b) {
  return {
    passed: a.passed + b.passed,
    failed: a.failed + b.failed,
    skipped: a.skipped + b.skipped,
    failures: [...a.failures, ...b.failures],
  }
}

/** Of one of several the output is shown when it has ended. */
function runPart(args, env, isOneOfSeveral, deadlineMs) {
  const output = isOneOfSeveral ? 'pipe' : 'inherit'
  const child = spawn(INTERPRETER, [join(ROOT, 'node_modules', 'mocha', 'bin', 'mocha.js'), ...args], {
    cwd: ROOT,
    stdio: ['ignore', output, output],
    env,
    detached: true, // its own process group, so that the deadline ends its children too
  })
  const said = []
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk) => said.push(chunk))
  const kill = (pid, signal) => {
    try {
      process.kill(pid, signal)
    } catch (error) {
      if (error.code !== 'ESRCH') throw error
    }
  }
  const end = () => {
    kill(child.pid, 'SIGINT') // mocha ends the test that is under way and runs what cleans up
    limit ??= setTimeout(() => kill(-child.pid, 'SIGKILL'), CANCEL_LIMIT_MS)
  }
  let limit
  const deadline = setTimeout(() => {
    said.push(Buffer.from('the tier has not ended in time: killed\n'))
    end()
  }, deadlineMs - performance.now())
  const cancel = () => {
    isCancelled = true
    end()
  }
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP']
  for (const signal of signals) process.on(signal, cancel)
  return new Promise((done, fail) => {
    child.on('error', fail)
    child.on('close', (code) => {
      for (const signal of signals) process.off(signal, cancel)
      clearTimeout(deadline)
      clearTimeout(limit)
      process.stdout.write(Buffer.concat(said))
      done(code ?? 1)
    })
  })
}
