// The helm program: found in PATH, run with the chart that came with this weft. Its complaints become one sentence.
import { spawn } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { messageOf } from '../../kit/error.ts'
import type { Patiently } from '../cluster/access.ts'
import { installFailure } from './errors.ts'
import { readRefusal } from './values.ts'

/** Where everything goes. */
export const NAMESPACE = 'weft-system'
/** Name of the release. */
export const RELEASE = 'weft'
/** The chart beside this command. */
export const CHART = join(import.meta.dirname, '..', '..', 'deploy', 'chart')

const OLDEST: readonly [major: number, minor: number] = [3, 14] // --reset-then-reuse-values
const MAX_OUTPUT_BYTES = 64 * 1024 * 1024

/** Values as they were typed, in helm's own forms. */
export interface ValueFlags {
  /** `a.b=c`, as for `helm --set`. */
  readonly set?: readonly string[]
  /** Files. */
  readonly values?: readonly string[]
  readonly image?: string
}

/** Which cluster; `kubeconfig` empty = the pod's own account. */
export interface HelmCluster {
  readonly kubeconfig: string
  readonly context: string | undefined
  /** Runs what may be done again. */
  readonly patiently: Patiently
}

/** State of a release, e.g. `deployed`, and its version. */
export interface ReleaseState {
  readonly state: string
  readonly version: string
}

/** What helm, or the API server through it, says of a failure that passes by itself. */
const PASSING =
  /cluster unreachable|name resolution|server misbehaving|i\/o timeout|connection (refused|reset|lost)|no route to host|network is unreachable|TLS handshake timeout|unexpected EOF|: EOF$|etcdserver: |currently unable to handle|too many requests|context deadline exceeded|did not complete within|CustomResourceDefinition\/\S* not ready/i

/** How a program ended. */
interface Ended {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs helm. Every method rejects with HELM_FAILED or a code that says more. */
export class Helm {
  readonly #program: string
  readonly #cluster: readonly string[]
  readonly #patiently: Patiently

  private constructor(program: string, cluster: HelmCluster) {
    this.#program = program
    this.#patiently = cluster.patiently
    this.#cluster = [
      ...(cluster.kubeconfig === '' ? [] : ['--kubeconfig', cluster.kubeconfig]),
      ...(cluster.context === undefined ? [] : ['--kube-context', cluster.context]),
    ]
  }

  /** @param path PATH of the environment @throws HELM_MISSING | HELM_TOO_OLD */
  static async find(path: string, cluster: HelmCluster): Promise<Helm> {
    const program = path
      .split(delimiter)
      .filter((folder) => folder !== '')
      .map((folder) => join(folder, 'helm'))
      .find(isProgram)
    if (program === undefined) throw installFailure('HELM_MISSING')
    const helm = new Helm(program, cluster)
    const text = (await helm.#run(['version', '--template', '{{.Version}}'])).trim()
    const [, major = '0', minor = '0'] = /^v?(\d+)\.(\d+)/.exec(text) ?? []
    const [oldMajor, oldMinor] = OLDEST
    if (Number(major) < oldMajor || (Number(major) === oldMajor && Number(minor) < oldMinor))
      throw installFailure('HELM_TOO_OLD', { what: `${program} is ${text.slice(0, 40)}` })
    return helm
  }

  /** What would be installed, as YAML; no cluster is asked. @throws VALUES_INVALID */
  template(values: ValueFlags): Promise<string> {
    return this.#run(['template', RELEASE, CHART, '--namespace', NAMESPACE, '--include-crds', '--no-hooks', ...valueArgs(values)])
  }

  /** What an upgrade would send, as YAML; the cluster tells the values of earlier calls. */
  async preview(values: ValueFlags): Promise<string> {
    const dry = ['--dry-run=server', '--output', 'json', '--reset-then-reuse-values', ...valueArgs(values)]
    const text = await this.#patiently(() => this.#onRelease('upgrade', CHART, ...dry))
    return (JSON.parse(text) as { manifest?: string }).manifest ?? ''
  }

  /** What the release consists of, as YAML. */
  manifest(): Promise<string> {
    return this.#patiently(() => this.#run(['get', 'manifest', RELEASE, '--namespace', NAMESPACE, ...this.#cluster]))
  }

  /** Undefined = there is no release. */
  status(): Promise<ReleaseState | undefined> {
    return this.#patiently(() => this.#state())
  }

  /** Installs. The namespace must be there. What broke off on the way is taken back and done again. */
  async install(values: ValueFlags): Promise<void> {
    await this.#again(async (old) => {
      if (old?.state === 'deployed') return // only the answer was lost
      if (old !== undefined) await this.#onRelease('uninstall', '--no-hooks')
      await this.#onRelease('install', CHART, ...valueArgs(values))
    })
  }

  /** Upgrades: values of earlier calls stay, defaults are the chart's. */
  async upgrade(values: ValueFlags): Promise<void> {
    await this.#again(async (old) => {
      // helm begins nothing while something is under way, which it is for ever when its end could not be written down
      if (old?.state.startsWith('pending') === true) await this.#onRelease('rollback', '--no-hooks')
      await this.#onRelease('upgrade', CHART, '--reset-then-reuse-values', ...valueArgs(values))
    })
  }

  /** Removes what the chart made; hooks are not run, the caller has done their work. */
  async uninstall(): Promise<void> {
    let isFirst = true
    await this.#again(async (old) => {
      if (isFirst || old !== undefined) {
        isFirst = false
        await this.#onRelease('uninstall', '--no-hooks', '--wait')
      }
    })
  }

  /** @param work gets what an earlier try has left; undefined at the first */
  #again(work: (old: ReleaseState | undefined) => Promise<void>): Promise<void> {
    let isAgain = false
    return this.#patiently(async () => {
      const old = isAgain ? await this.#state() : undefined
      isAgain = true
      await work(old)
    })
  }

  async #state(): Promise<ReleaseState | undefined> {
    const args = ['get', 'metadata', RELEASE, '--namespace', NAMESPACE, '--output', 'json', ...this.#cluster]
    const { status, stdout, stderr } = await execute(this.#program, args)
    if (status !== 0 && /release: not found/.test(stderr)) return undefined
    if (status !== 0) throw failureOf(stderr || stdout)
    const { status: state = '', appVersion: version = '' } = JSON.parse(stdout) as { status?: string; appVersion?: string }
    return { state, version }
  }

  #onRelease(action: 'install' | 'upgrade' | 'rollback' | 'uninstall', ...args: readonly string[]): Promise<string> {
    const [chart, flags] = args[0] === CHART ? [[CHART], args.slice(1)] : [[], args]
    return this.#run([action, RELEASE, ...chart, '--namespace', NAMESPACE, ...flags, ...this.#cluster])
  }

  async #run(args: readonly string[]): Promise<string> {
    const { status, stdout, stderr } = await execute(this.#program, args)
    if (status === 0) return stdout
    throw failureOf(stderr || stdout)
  }
}

/** `--set`, `-f` and `--image` as helm takes them; `--image` is the most exact. */
export function valueArgs({ set = [], values = [], image }: ValueFlags): string[] {
  return [
    ...values.flatMap((file) => ['--values', file]),
    ...set.flatMap((one) => ['--set', one]),
    ...(image === undefined ? [] : ['--set-string', `image.name=${image.replaceAll(',', '\\,')}`]),
  ]
}

/** @param text what helm wrote @returns VALUES_INVALID with every refused value, else CLUSTER_UNREACHABLE or HELM_FAILED with its last word */
export function failureOf(text: string): Error {
  const lines = text.split('\n').map((line) => line.trim())
  if (/don't meet the specifications of the schema/.test(text)) {
    const faults = lines.filter((line) => line.startsWith('- ')).map((line) => readRefusal(line.slice(2), CHART))
    return installFailure('VALUES_INVALID', { what: `the chart refuses these values: ${faults.join(' · ')}` })
  }
  const told = lines.filter((line) => line.startsWith('Error: ')).at(-1) ?? lines.filter((line) => line !== '').at(-1) ?? 'no reason given'
  const what = `helm: ${told.replace(/^Error: /, '').slice(0, 600)}`
  return installFailure(PASSING.test(told) ? 'CLUSTER_UNREACHABLE' : 'HELM_FAILED', { what })
}

function execute(program: string, args: readonly string[]): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    const out: Buffer[] = []
    const err: Buffer[] = []
    let length = 0
    const keep = (kept: Buffer[]) => (chunk: Buffer) => {
      length += chunk.length
      if (length <= MAX_OUTPUT_BYTES) kept.push(chunk)
    }
    child.stdout.on('data', keep(out))
    child.stderr.on('data', keep(err))
    child.on('error', (cause) => reject(installFailure('HELM_FAILED', { what: `${program} cannot be run: ${messageOf(cause)}` }, cause)))
    child.on('close', (code) =>
      resolve({ status: code ?? 1, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() }),
    )
  })
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false // not here: the next folder is tried
  }
}
