// What every npm script calls: `node scripts/run.mjs TARGET [ARGS]`. Sets up what is missing, then runs the target.
// Plain JavaScript without dependencies, so that it runs on any Node.js from 20 on; the rest runs on node_modules/.bin/node.
import { spawn } from 'node:child_process'
import { appendFileSync, existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { wasCancelled } from './mocha.mjs'
import { setUpPeers } from './peers.mjs'
import { INTERPRETER, ROOT, SetupError, setUpDependencies, setUpMachine, setUpTools } from './setup.mjs'
import { addCounts, runTier, TIERS } from './tiers.mjs'

const NO_COUNTS = { passed: 0, failed: 0, skipped: 0, notes: [], isOk: true }

const TARGETS = {
  demo: (args) => {
    setUpMachine('the demo', '`npm run test:unit` needs neither.')
    return node('cli/main.ts', ['demo', ...args])
  },
  test: async (args) => {
    setUpMachine('`npm test` runs against the real kernel and', '`npm run test:unit` needs no root.')
    setUpTools('test') // before the unit tests: some compile or ask openssl for a second opinion
    return tiers(['unit', 'netns'], args)
  },
  fuzz: (args) => tiers(['fuzz'], args),
  bench: (args) => {
    setUpMachine('the benchmark', '`npm run test:unit` needs no root.')
    setUpTools('bench')
    return node('bench/main.ts', args, setUpPeers(['ENVOY']))
  },
  'bench:http': (args) => {
    setUpMachine('the HTTP benchmark', '`npm run test:unit` needs no root.')
    setUpTools('bench:http')
    const path = `${process.env.PATH ?? ''}:/usr/sbin:/sbin`
    return node('bench/http.ts', args, { ...setUpPeers(['ENVOY']), PATH: path })
  },
  'bench:scale': (args) => node('bench/scale.ts', args),
  cluster: (args) => {
    setUpMachine('a Kubernetes cluster', '`./weft up` starts a mesh on one machine without one.')
    setUpTools('kubernetes')
    return node('test/kubernetes/cluster/main.ts', args, ['up', 'mesh'].includes(args[0]) ? setUpPeers(['GO']) : {})
  },
  check: () => check(),
  docs: () => node('scripts/docs.ts', []),
  stage: (args) => node('scripts/stage.ts', args, { NODE_NO_WARNINGS: '1' }), // stripping types is called experimental
  'build:image': (args) => {
    setUpTools('image')
    return node('scripts/image.ts', args, { NODE_NO_WARNINGS: '1' })
  },
  'build:bpf': (args) => node('bpf/build.ts', args),
  'build:cni': (args) => node('cni/plugin/build.ts', args),
  'build:proto': (args) => node('proto/build.ts', args),
  ...Object.fromEntries(Object.keys(TIERS).map((name) => [`test:${name}`, (args) => tiers([name], args)])),
}

try {
  const [target, ...args] = process.argv.slice(2)
  const run = TARGETS[target]
  if (run === undefined) throw new SetupError(`usage: node scripts/run.mjs TARGET [ARGS]; targets: ${Object.keys(TARGETS).join(', ')}`)
  setUpDependencies()
  process.exitCode = await run(args)
} catch (error) {
  if (!(error instanceof SetupError)) throw error
  console.error(error.message)
  process.exitCode = 1
}

/** Runs a .ts file of the tree on the interpreter; the terminal and the signals are its own. */
function node(file, args, env = {}) {
  if (!existsSync(join(ROOT, file))) throw new SetupError(`${file} is not in this checkout`)
  return run(INTERPRETER, [file, ...args], env)
}

/** @returns {Promise<number>} exit code */
function run(program, args, env = {}) {
  const child = spawn(program, args, { cwd: ROOT, stdio: 'inherit', env: { ...process.env, ...env } })
  // Ctrl-C reaches the child through the terminal; this process waits while it cleans up. SIGTERM comes to us alone.
  const handlers = { SIGINT: () => undefined, SIGTERM: () => child.kill('SIGTERM'), SIGHUP: () => child.kill('SIGHUP') }
  for (const [signal, handle] of Object.entries(handlers)) process.on(signal, handle)
  return new Promise((done, fail) => {
    child.on('error', (error) => fail(new SetupError(`${program}: ${error.message}`)))
    child.on('close', (code) => {
      for (const [signal, handle] of Object.entries(handlers)) process.off(signal, handle)
      done(code ?? 1)
    })
  })
}

/** Runs tiers one after another, all of them also when one fails. WEFT_TIER_COUNTS names a file for the sums, FILE.notes gets a line per failure. */
async function tiers(names, args) {
  const countsFile = process.env.WEFT_TIER_COUNTS
  delete process.env.WEFT_TIER_COUNTS // what the tests start refuses names of ours that it does not know
  let sum = NO_COUNTS
  for (const name of names) {
    if (wasCancelled()) break
    console.log(`\n── ${name}`)
    const counts = await runTier(name, args)
    console.log(`   ${name}: ${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`)
    sum = addCounts(sum, counts)
  }
  if (countsFile !== undefined) {
    writeFileSync(countsFile, `${sum.passed} ${sum.failed} ${sum.skipped}\n`)
    for (const note of sum.notes) appendFileSync(`${countsFile}.notes`, `${note}\n`)
  }
  return sum.isOk ? 0 : 1
}

/** Types, style, and the rules of the house. All of them run, so that one round shows every fault. */
async function check() {
  const bin = (name) => join(ROOT, 'node_modules', '.bin', name)
  const steps = [
    ['types (tsc)', () => run(bin('tsc'), ['--noEmit'])],
    ['style (biome)', () => run(bin('biome'), ['check', '--diagnostic-level=warn', '--error-on-warnings', '.'])],
    ['house rules', async () => ((await runTier('unit', ['test/unit/house.test.ts', 'test/unit/layers.test.ts'])).isOk ? 0 : 1)],
  ]
  let code = 0
  for (const [name, step] of steps) {
    console.log(`\n── ${name}`)
    if ((await step()) !== 0) code = 1
  }
  return code
}
