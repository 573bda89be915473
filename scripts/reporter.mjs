// Mocha reporter of every tier: mocha's `spec` output, then each skip with its reason, and the counts as JSON for run.mjs.
// A skip states its reason through test/support/skip.ts. With CI=true a skip that names no allowed absence is a failure.
import { writeFileSync } from 'node:fs'
import mocha from 'mocha'

const LEFT_OPEN_AFTER_MS = 10_000
/** The one tool that CI may lack. */
const MAY_BE_ABSENT = /^ZTUNNEL\b/

// biome-ignore lint/style/noDefaultExport: mocha loads a reporter by its default export
export default class Reporter extends mocha.reporters.Spec {
  #skips = []
  #counts

  constructor(runner, options) {
    super(runner, options)
    this.#counts = process.env.TEST_COUNTS_FILE
    runner.on('pending', (test) => this.#skips.push({ title: test.fullTitle(), reason: test.skipReason }))
    runner.once('end', () => this.#finish())
    process.on('SIGINT', () => runner.abort()) // mocha by itself would die of it and leave what `after` hooks remove
  }

  #finish() {
    const isForbidden = (skip) => process.env.CI === 'true' && !MAY_BE_ABSENT.test(skip.reason ?? '')
    if (this.#skips.length > 0) console.log('  Skipped:')
    for (const skip of this.#skips) {
      console.log(`    ${skip.title}: ${skip.reason ?? 'no reason given'}${isForbidden(skip) ? ' (a failure in CI)' : ''}`)
    }
    const { passes, failures } = this.stats
    const forbidden = this.#skips.filter(isForbidden).length
    const failed = this.failures.map((test) => ({ title: test.fullTitle(), file: test.file, message: firstLines(test.err) }))
    const counts = { passed: passes, failed: failures + forbidden, skipped: this.#skips.length - forbidden, failures: failed }
    if (this.#counts !== undefined) writeFileSync(this.#counts, JSON.stringify(counts))
    reportOpenHandles()
  }
}

/** What an error says, short enough for a summary. */
function firstLines(error) {
  return String(error?.message ?? error)
    .split('\n')
    .slice(0, 6)
    .join(' | ')
    .slice(0, 500)
}

/** Mocha lets the process end by itself; what keeps it from ending is named, and the run fails. */
function reportOpenHandles() {
  setTimeout(() => {
    console.error(`tests have ended, but the process has not: ${process.getActiveResourcesInfo().join(', ')}`)
    process.exit(70)
  }, LEFT_OPEN_AFTER_MS).unref()
}
