// Brings a fresh checkout to where it can run: npm dependencies, Debian packages, the interpreter.
// Called by run.mjs before every target. Plain JavaScript without dependencies: it runs on any Node.js from 20 on.
import { spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync, readdirSync, readFileSync } from 'node:fs'
import { release } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Root of the checkout. */
export const ROOT = dirname(dirname(fileURLToPath(import.meta.url)))

/** The interpreter of everything but these scripts: Node 26, which runs .ts files as they are. */
export const INTERPRETER = join(ROOT, 'node_modules', '.bin', 'node')

const OLDEST_NODE = 20
const OLDEST_KERNEL = [5, 15]

/** Something that a target needs and one sentence that says how to get it. Printed without a stack. */
export class SetupError extends Error {}

/** Programs and libraries by the Debian package that has them. */
const PACKAGES = [
  { name: 'iproute2', isThere: () => hasProgram('ip') },
  { name: 'libbpf1', isThere: () => hasLibrary('libbpf.so.1') },
  { name: 'util-linux', isThere: () => hasProgram('unshare') && hasProgram('nsenter') },
  { name: 'mount', isThere: () => hasProgram('mount') && hasProgram('umount') },
  { name: 'procps', isThere: () => hasProgram('ps') },
]

/** What tests use besides; the compiler only in CI, because elsewhere its tests are skipped with that reason. */
const TEST_PACKAGES = [
  { name: 'bpftool', isThere: () => hasProgram('bpftool') },
  { name: 'curl', isThere: () => hasProgram('curl') },
  { name: 'openssl', isThere: () => hasProgram('openssl') },
  { name: 'nftables', isThere: () => hasProgram('nft') },
]
const CI_PACKAGES = [
  { name: 'clang', isThere: () => hasProgram('clang') },
  { name: 'lld', isThere: () => hasProgram('ld.lld') },
  { name: 'libbpf-dev', isThere: () => existsSync('/usr/include/bpf/bpf_helpers.h') },
  { name: 'linux-libc-dev', isThere: () => existsSync('/usr/include/linux/bpf.h') },
]
const BENCH_PACKAGES = [{ name: 'iperf3', isThere: () => hasProgram('iperf3') }]
const BENCH_HTTP_PACKAGES = [
  { name: 'haproxy', isThere: () => hasProgram('haproxy') },
  { name: 'nginx-light', isThere: () => hasProgram('nginx') },
  { name: 'wrk', isThere: () => hasProgram('wrk') },
]
/** For compiling runc and running kube-proxy on the test cluster. */
const KUBERNETES_PACKAGES = [
  ...TEST_PACKAGES,
  { name: 'gcc', isThere: () => hasProgram('gcc') },
  { name: 'libc6-dev', isThere: () => existsSync('/usr/include/stdio.h') },
  { name: 'pkg-config', isThere: () => hasProgram('pkg-config') },
  { name: 'libseccomp-dev', isThere: () => existsSync('/usr/include/seccomp.h') },
]
/** What the image is made of and with. */
const IMAGE_PACKAGES = [
  ...PACKAGES.filter((row) => row.name === 'libbpf1'),
  { name: 'binutils', isThere: () => hasProgram('strip') },
  { name: 'nftables', isThere: () => hasProgram('nft') },
]
/** Servers that stand behind a waypoint. */
const INTEROP_PACKAGES = [...TEST_PACKAGES, ...BENCH_HTTP_PACKAGES.filter((row) => row.name !== 'wrk')]

/**
 * Installs what tests or benchmarks use besides the machine's own part; call it after setUpMachine.
 * @param {'test' | 'interop' | 'kubernetes' | 'image' | 'bench' | 'bench:http'} purpose
 * @throws SetupError
 */
export function setUpTools(purpose) {
  const ofTests = process.env.CI === 'true' ? [...TEST_PACKAGES, ...CI_PACKAGES] : TEST_PACKAGES
  const tables = {
    test: ofTests,
    interop: INTEROP_PACKAGES,
    kubernetes: [...KUBERNETES_PACKAGES, ...IMAGE_PACKAGES],
    image: IMAGE_PACKAGES,
    bench: BENCH_PACKAGES,
    'bench:http': BENCH_HTTP_PACKAGES,
  }
  const rows = tables[purpose]
  const missing = rows.filter((row) => !row.isThere()).map((row) => row.name)
  if (missing.length > 0) installPackages(missing)
}

/**
 * npm's part: installs when node_modules is absent or differs from the lock file, then checks the interpreter.
 * @throws SetupError
 */
export function setUpDependencies() {
  if (Number(process.versions.node.split('.')[0]) < OLDEST_NODE) {
    throw new SetupError(`Node.js ${OLDEST_NODE} or newer is needed; this is ${process.version}`)
  }
  if (!isInstalled()) install()
  checkInterpreter()
}

/**
 * What the kernel parts need: Linux, root, the Debian packages.
 * @param {string} purpose what asks, for the sentence
 * @param {string} otherwise what can be run without, a sentence
 * @throws SetupError
 */
export function setUpMachine(purpose, otherwise) {
  if (process.platform !== 'linux') throw new SetupError(`${purpose} needs Linux; this is ${process.platform}. ${otherwise}`)
  const kernel = release().split('.').map(Number)
  const isOld = kernel[0] < OLDEST_KERNEL[0] || (kernel[0] === OLDEST_KERNEL[0] && kernel[1] < OLDEST_KERNEL[1])
  if (isOld) throw new SetupError(`${purpose} needs Linux ${OLDEST_KERNEL.join('.')} or newer; this is ${release()}. ${otherwise}`)
  if (process.getuid() !== 0) throw new SetupError(`${purpose} needs root (network namespaces, eBPF). ${otherwise}`)
  const missing = PACKAGES.filter((row) => !row.isThere()).map((row) => row.name)
  if (missing.length > 0) installPackages(missing)
}

/** Runs `work` with a line that says what takes the time, and how long it took. */
export function progress(what, work) {
  process.stderr.write(`set-up: ${what} … `)
  const begunMs = performance.now()
  try {
    const result = work()
    process.stderr.write(`${((performance.now() - begunMs) / 1000).toFixed(1)} s\n`)
    return result
  } catch (error) {
    process.stderr.write('failed\n')
    throw error
  }
}

/**
 * Runs a program quietly; its output is shown only when it fails.
 * @throws SetupError
 */
export function runQuietly(program, args, options = {}) {
  const done = spawnSync(program, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'], encoding: 'utf8', maxBuffer: 64 << 20, ...options })
  if (done.status === 0) return done.stdout
  const lines = `${done.stdout ?? ''}${done.stderr ?? ''}`.trim().split('\n')
  const output = (lines.length <= 40 ? lines : [...lines.slice(0, 25), '…', ...lines.slice(-15)]).join('\n')
  throw new SetupError(
    `${[program, ...args].join(' ')} failed (${done.error?.message ?? done.signal ?? `exit code ${done.status}`})\n${output}`,
  )
}

/** Whether a program of that name is in PATH, or where root's programs are. */
export function hasProgram(name) {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/local/sbin', '/usr/sbin', '/sbin']
  return folders.some((folder) => folder !== '' && isExecutable(join(folder, name)))
}

/** npm writes node_modules/.package-lock.json last, so that an install which was interrupted shows. */
function isInstalled() {
  const wanted = readLock(join(ROOT, 'package-lock.json'))
  const found = readLock(join(ROOT, 'node_modules', '.package-lock.json'))
  if (wanted === undefined) throw new SetupError('package-lock.json is missing or broken: restore it from the repository')
  if (found === undefined) return false
  return Object.entries(wanted).every(([path, entry]) => {
    if (path === '') return true
    const there = found[path]
    if (there === undefined) return entry.optional === true // other platforms' builds
    return there.version === entry.version && there.integrity === entry.integrity
  })
}

function readLock(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8')).packages
  } catch {
    return undefined // absent or half written: the caller installs or says so
  }
}

function install() {
  // Under `npm run` the same npm is used again; no install script of a dependency is run.
  const npm = process.env.npm_execpath
  const [program, first] = npm !== undefined && /\.[cm]?js$/.test(npm) ? [process.execPath, [npm]] : ['npm', []]
  const args = ['ci', '--ignore-scripts', '--include=dev', '--include=optional', '--no-audit', '--no-fund', '--loglevel=error']
  progress('dependencies (npm ci)', () => runQuietly(program, [...first, ...args]))
}

function checkInterpreter() {
  const build = `node-${process.platform}-${process.arch}`
  const wanted = Object.keys(JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')).optionalDependencies)
  if (!existsSync(INTERPRETER)) {
    const reason = wanted.includes(build)
      ? 'npm left it out (was it told --omit=optional?)'
      : `there is none for ${process.platform} on ${process.arch}`
    throw new SetupError(`node_modules/.bin/node (Node 26, package ${build}) is missing: ${reason}`)
  }
  const asked = spawnSync(INTERPRETER, ['--version'], { encoding: 'utf8' })
  if (asked.status === 0 && Number(/^v(\d+)/.exec(asked.stdout)?.[1]) >= 26) return
  const musl = isMusl() ? ' It needs glibc, and this system has musl: use Debian, Ubuntu, Fedora or the like.' : ''
  throw new SetupError(
    `node_modules/.bin/node does not run here (${asked.error?.message ?? (asked.stderr || asked.stdout).trim()}).${musl}`,
  )
}

/**
 * Installs Debian packages.
 * @throws SetupError with the command to run by hand
 */
export function installPackages(missing) {
  const command = `apt-get install -y ${missing.join(' ')}`
  if (!hasProgram('apt-get')) {
    throw new SetupError(`missing here: what Debian has in the packages ${missing.join(', ')}; install them with your package manager`)
  }
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  const apt = (...args) => runQuietly('apt-get', ['-qq', ...args], { env })
  progress(`Debian packages (${missing.join(', ')})`, () => {
    try {
      apt('update')
      apt('install', '-y', '--no-install-recommends', ...missing)
    } catch (error) {
      throw new SetupError(`${error.message}\nPlease run: ${command}`)
    }
  })
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

function hasLibrary(name) {
  const folders = ['/lib', '/lib64', '/usr/lib', '/usr/lib64', '/usr/local/lib']
  const tuples = folders.flatMap((folder) =>
    entries(folder)
      .filter((entry) => entry.endsWith('-linux-gnu'))
      .map((entry) => join(folder, entry)),
  )
  return [...folders, ...tuples].some((folder) => existsSync(join(folder, name)))
}

function isMusl() {
  return entries('/lib').some((entry) => entry.startsWith('ld-musl-'))
}

function entries(folder) {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}
