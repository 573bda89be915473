// The programs of a test cluster, compiled from Go modules (no registry, no checkout) into a cache outside the tree that is keyed
// by their versions; compiled once per machine. GO names the compiler (default go); WEFT_KUBERNETES_BIN a folder that has them already.
import { createHash } from 'node:crypto'
import { chmodSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { dirname, join } from 'node:path'
import { cacheDir } from './layout.ts'
import { run } from './processes.ts'

/** What is compiled, and from which module. */
export const VERSIONS = {
  kubernetes: 'v1.36.3',
  etcd: 'v3.6.8',
  containerd: 'v2.3.7',
  runc: 'v1.5.2',
  cniPlugins: 'v1.9.1',
  coredns: 'v1.14.6',
  helm: 'v4.3.1',
} as const

const KUBE_PROGRAMS = ['kube-apiserver', 'kube-controller-manager', 'kube-scheduler', 'kubectl', 'kubelet', 'kube-proxy'] as const
const CNI_PLUGINS = { bridge: 'main/bridge', loopback: 'main/loopback', 'host-local': 'ipam/host-local' } as const
const COREDNS_PLUGINS = ['cache', 'errors', 'forward', 'health', 'kubernetes', 'ready'] as const

/** Something that is compiled. */
export type Program =
  | (typeof KUBE_PROGRAMS)[number]
  | 'etcd'
  | 'containerd'
  | 'containerd-shim-runc-v2'
  | 'ctr'
  | 'runc'
  | 'cni'
  | 'coredns'
  | 'helm'
  | 'pause'

/** What every cluster runs. */
export const BASE_PROGRAMS: readonly Program[] = [
  ...KUBE_PROGRAMS,
  'etcd',
  'containerd',
  'containerd-shim-runc-v2',
  'ctr',
  'runc',
  'cni',
  'helm',
  'pause',
]

/** A folder of programs. */
export interface Binaries {
  readonly dir: string
  path(program: Program): string
}

/** How the compiler is called. */
interface Builder {
  readonly go: string
  readonly sources: string
  readonly dir: string
  tell(sentence: string): void
}

/**
 * Compiles what is missing.
 * @param wanted programs that will be called
 * @param tell is told what is compiled now
 * @throws Error with the compiler's words
 */
export async function makeBinaries(wanted: readonly Program[], tell: (sentence: string) => void): Promise<Binaries> {
  const given = process.env.WEFT_KUBERNETES_BIN
  const dir = given ?? join(cacheDir(), `kubernetes-${VERSIONS.kubernetes}-${fingerprint()}`)
  const binaries = { dir, path: (program: Program) => join(dir, program) }
  const missing = STEPS.filter((step) => step.makes.some((program) => wanted.includes(program) && !existsSync(binaries.path(program))))
  if (missing.length === 0) return binaries
  if (given !== undefined) throw new Error(`WEFT_KUBERNETES_BIN=${given}: no ${missing.flatMap((step) => step.makes).join(', ')} there`)
  const go = process.env.GO || 'go'
  mkdirSync(dir, { recursive: true })
  for (const step of missing) {
    const begunMs = performance.now()
    const sources = join(`${dir}.sources.${process.pid}`, step.makes[0] ?? '')
    mkdirSync(sources, { recursive: true })
    tell(`compiling ${step.makes.join(', ')}`)
    try {
      await step.make({ go, sources, dir, tell })
    } finally {
      rmSync(`${dir}.sources.${process.pid}`, { recursive: true, force: true })
    }
    tell(`compiled ${step.makes.join(', ')}: ${((performance.now() - begunMs) / 1000).toFixed(0)} s`)
  }
  return binaries
}

interface Step {
  readonly makes: readonly Program[]
  make(builder: Builder): Promise<void>
}

const STEPS: readonly Step[] = [
  { makes: [...KUBE_PROGRAMS, 'etcd', 'coredns', 'helm'], make: makeTogether },
  { makes: ['containerd', 'containerd-shim-runc-v2', 'ctr'], make: makeContainerd },
  { makes: ['runc'], make: makeRunc },
  { makes: ['cni'], make: makeCniPlugins },
  { makes: ['pause'], make: makePause },
]

function fingerprint(): string {
  const recipe = JSON.stringify([VERSIONS, CNI_PLUGINS, COREDNS_PLUGINS, STEPS.map(({ makes }) => makes), process.arch])
  return createHash('sha256').update(recipe).digest('hex').slice(0, 8)
}

/**
 * What shares Kubernetes' libraries is built in one module, so that they are compiled once. Kubernetes' staging modules are named one by
 * one: the `replace` lines of its go.mod count only there.
 */
async function makeTogether(builder: Builder): Promise<void> {
  const module = await moduleDir(builder, `k8s.io/kubernetes@${VERSIONS.kubernetes}`)
  const mentions = readFileSync(join(module, 'go.mod'), 'utf8').matchAll(/^\s*(k8s\.io\/[a-z0-9-]+) v0\.0\.0$/gm)
  const staging = [...new Set([...mentions].map(([, name]) => name))]
  const replaces = staging.map((name) => `replace ${name} => ${name} ${VERSIONS.kubernetes.replace('v1.', 'v0.')}`)
  const requires = [
    `k8s.io/kubernetes ${VERSIONS.kubernetes}`,
    `go.etcd.io/etcd/server/v3 ${VERSIONS.etcd}`,
    `github.com/coredns/coredns ${VERSIONS.coredns}`,
    `helm.sh/helm/v4 ${VERSIONS.helm}`,
  ]
  const packages = [...KUBE_PROGRAMS.map((name) => `k8s.io/kubernetes/cmd/${name}`), 'helm.sh/helm/v4/cmd/helm']
  const plugins = COREDNS_PLUGINS.map((name) => `_ "github.com/coredns/coredns/plugin/${name}"`)
  writeModule(builder, [...requires.map((line) => `require ${line}`), ...replaces].join('\n'), {
    'tools.go': `//go:build tools\n\n${goFile(
      'tools',
      packages.map((name) => `_ "${name}"`),
    )}`,
    'coredns/main.go': goFile('main', [...plugins, '"github.com/coredns/coredns/coremain"'], 'coremain.Run()'),
    'etcd/main.go': goFile('main', ['"os"', '"go.etcd.io/etcd/server/v3/etcdmain"'], 'etcdmain.Main(os.Args)'),
  })
  await go(builder, ['mod', 'tidy', '-e'])
  const [, minor] = VERSIONS.kubernetes.split('.')
  const values = { gitVersion: VERSIONS.kubernetes, gitMajor: '1', gitMinor: minor }
  const places = ['k8s.io/component-base/version', 'k8s.io/client-go/pkg/version']
  const flags = places.flatMap((place) => Object.entries(values).map(([key, value]) => `-X ${place}.${key}=${value}`))
  const ldflags = [...flags, `-X helm.sh/helm/v4/internal/version.version=${VERSIONS.helm}`].join(' ')
  await build(builder, [...packages, './coredns', './etcd'], { ldflags })
}

function goFile(name: string, imports: readonly string[], main = ''): string {
  const body = main === '' ? '' : `\nfunc main() { ${main} }\n`
  return `package ${name}\n\nimport (\n${imports.map((line) => `\t${line}`).join('\n')}\n)\n${body}`
}

async function makeContainerd(builder: Builder): Promise<void> {
  await copyModule(builder, `github.com/containerd/containerd/v2@${VERSIONS.containerd}`)
  const tags = 'no_btrfs no_devmapper no_zfs no_aufs'
  const ldflags = `-X github.com/containerd/containerd/v2/version.Version=${VERSIONS.containerd}`
  await build(builder, ['./cmd/containerd', './cmd/containerd-shim-runc-v2', './cmd/ctr'], { tags, ldflags })
}

/** In C it enters namespaces; without seccomp every sandbox is refused. */
async function makeRunc(builder: Builder): Promise<void> {
  await copyModule(builder, `github.com/opencontainers/runc@${VERSIONS.runc}`)
  const ldflags = `-extldflags -static -X main.version=${VERSIONS.runc.slice(1)}`
  await build(builder, ['.'], { tags: 'netgo osusergo seccomp', ldflags, hasC: true, output: 'runc' })
}

async function makeCniPlugins(builder: Builder): Promise<void> {
  await copyModule(builder, `github.com/containernetworking/plugins@${VERSIONS.cniPlugins}`)
  await build(
    builder,
    Object.values(CNI_PLUGINS).map((name) => `./plugins/${name}`),
    { output: 'cni/' },
  )
}

/** The first process of every sandbox: waits, reaps, ends when told. */
async function makePause(builder: Builder): Promise<void> {
  const body = `signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCHLD)
	for s := range signals {
		if s != syscall.SIGCHLD {
			os.Exit(0)
		}
		for {
			if pid, _ := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 {
				break
			}
		}
	}`
  const imports = ['os', 'os/signal', 'syscall'].map((name) => `\t"${name}"`).join('\n')
  writeModule(builder, '', { 'main.go': `package main\n\nimport (\n${imports}\n)\n\nfunc main() {\n\t${body}\n}\n` })
  await build(builder, ['.'], { output: 'pause' })
}

function writeModule({ sources }: Builder, requirements: string, files: Readonly<Record<string, string>>): void {
  writeFileSync(join(sources, 'go.mod'), `module built\n\ngo 1.26.0\n\n${requirements}\n`)
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(sources, name)), { recursive: true })
    writeFileSync(join(sources, name), text)
  }
}

async function moduleDir(builder: Builder, module: string): Promise<string> {
  builder.tell(`fetching ${module}`)
  return (JSON.parse(await go(builder, ['mod', 'download', '-json', module])) as { Dir: string }).Dir
}

/** A module's files, to be built in place: `replace` lines that lead out of its archive are dropped. */
async function copyModule(builder: Builder, module: string): Promise<void> {
  cpSync(await moduleDir(builder, module), builder.sources, { recursive: true })
  makeWritable(builder.sources)
  const file = join(builder.sources, 'go.mod')
  const lines = readFileSync(file, 'utf8').split('\n')
  writeFileSync(file, lines.filter((line) => !/=>\s*\.{1,2}\//.test(line)).join('\n'))
}

function makeWritable(path: string): void {
  chmodSync(path, 0o755)
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    if (entry.isDirectory()) makeWritable(join(path, entry.name))
    else chmodSync(join(path, entry.name), 0o644)
  }
}

interface BuildOptions {
  readonly tags?: string
  readonly ldflags?: string
  readonly hasC?: boolean
  /** A file of the folder, or `FOLDER/`; else one file per package, named by it. */
  readonly output?: string
}

/** Renamed when whole, so that an interrupted build leaves nothing that looks complete. */
async function build(builder: Builder, packages: readonly string[], options: BuildOptions): Promise<void> {
  const half = join(builder.sources, 'built')
  mkdirSync(half)
  const isOne = options.output !== undefined && !options.output.endsWith('/')
  const args = [
    ...['build', '-trimpath', '-buildvcs=false', '-ldflags', `-s -w ${options.ldflags ?? ''}`],
    ...(options.tags === undefined ? [] : ['-tags', options.tags]),
    ...['-o', isOne ? join(half, options.output ?? '') : `${half}/`, ...packages],
  ]
  await go(builder, args, { CGO_ENABLED: options.hasC === true ? '1' : '0' })
  if (options.output?.endsWith('/') === true) {
    rmSync(join(builder.dir, options.output), { recursive: true, force: true })
    renameSync(half, join(builder.dir, options.output))
  } else for (const name of readdirSync(half)) renameSync(join(half, name), join(builder.dir, name))
}

function go({ go, sources }: Builder, args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<string> {
  return run(go, args, { cwd: sources, env: { GOFLAGS: '', GOWORK: 'off', GOMAXPROCS: String(availableParallelism()), ...env } })
}
