// Where a command talks to: a mesh of this machine (--name) or a cluster (--kubeconfig, --context). The one place that decides;
// without a flag it is the local mesh `weft` when that runs, else the cluster of the kubeconfig's current context.
import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { delimiter, join } from 'node:path'
import type { Command } from 'commander'
import { type ObjectApi, openObjects } from '../objects/api.ts'
import { ObjectClient } from '../objects/client.ts'
import { runtimeFailure } from '../runtime/errors.ts'
import { isMeshName, meshLayout } from '../runtime/layout.ts'
import { ClusterAccess, type Patiently } from './cluster/access.ts'
import { cliFailure } from './errors.ts'
import { parseMeshName } from './options.ts'
import { printNote } from './output.ts'

/** Name of a mesh when --name is not given. */
export const DEFAULT_NAME = 'weft'

/** The flags of every command that talks to a mesh. */
export interface TargetFlags {
  readonly name?: string
  readonly kubeconfig?: string
  readonly context?: string
}

/** A mesh of this machine, or a cluster; `kubeconfig` empty = the account of the pod that we run in. */
export type Target = LocalTarget | ClusterTarget

/** A mesh of this machine. */
export interface LocalTarget {
  readonly kind: 'local'
  readonly name: string
}

/** A cluster. */
export interface ClusterTarget {
  readonly kind: 'cluster'
  readonly kubeconfig: string
  readonly context: string | undefined
}

/** What the machine offers. */
export interface Surroundings {
  /** Whether a mesh of the default name seems to run here. */
  readonly hasLocalMesh: boolean
  /** Files of the default kubeconfig that exist, first one first. */
  readonly kubeconfigs: readonly string[]
  /** What $KUBECONFIG names, when none of it exists. */
  readonly missing?: string | undefined
  /** We run in a pod with an account. */
  readonly isInCluster: boolean
}

/** A chosen target; `isGuess`: several were possible and nobody said which. */
export interface Choice {
  readonly target: Target
  readonly isGuess: boolean
}

const TOKEN_FILE = '/var/run/secrets/kubernetes.io/serviceaccount/token'

/** Adds the flags. */
export function withTarget(command: Command): Command {
  return command
    .option('--name <NAME>', `a mesh of this machine (default: ${DEFAULT_NAME} if it runs, else the kubeconfig's cluster)`, parseMeshName)
    .option('--kubeconfig <FILE>', 'a cluster, by its kubeconfig (default: $KUBECONFIG, ~/.kube/config)')
    .option('--context <NAME>', 'a cluster, by a context of the kubeconfig')
}

/** The rule. Pure. @throws MeshError TARGET_UNCLEAR | TARGET_MISSING */
export function chooseTarget(flags: TargetFlags, around: Surroundings): Choice {
  const { name, kubeconfig, context } = flags
  const isCluster = kubeconfig !== undefined || context !== undefined
  if (name !== undefined && isCluster) throw cliFailure('TARGET_UNCLEAR')
  if (name !== undefined) return { target: { kind: 'local', name }, isGuess: false }
  const [found] = around.kubeconfigs
  if (isCluster) {
    const path = kubeconfig ?? found
    if (path === undefined)
      throw around.missing === undefined
        ? cliFailure('TARGET_MISSING', { what: `there is no kubeconfig with a context ${context}` })
        : missingFile(around.missing)
    return { target: { kind: 'cluster', kubeconfig: path, context }, isGuess: false }
  }
  if (around.hasLocalMesh) return { target: { kind: 'local', name: DEFAULT_NAME }, isGuess: found !== undefined }
  if (found !== undefined) return { target: { kind: 'cluster', kubeconfig: found, context: undefined }, isGuess: false }
  if (around.missing !== undefined) throw missingFile(around.missing)
  if (around.isInCluster) return { target: { kind: 'cluster', kubeconfig: '', context: undefined }, isGuess: false }
  throw cliFailure('TARGET_MISSING')
}

/** Whoever sets the variable means that file: nothing else is taken in its place. */
function missingFile(file: string): Error {
  return cliFailure('TARGET_MISSING', { what: `$KUBECONFIG names ${file}, which does not exist` })
}

/**
 * Decides, and says on standard error what a changing command will change, and what was chosen where both were possible.
 * @param only `cluster`: a local mesh is not thought of
 * @throws MeshError TARGET_UNCLEAR | TARGET_MISSING
 */
export function findTarget(flags: TargetFlags, does: 'read' | 'change'): Target
/** The same where only a cluster will do. */
export function findTarget(flags: TargetFlags, does: 'read' | 'change', only: 'cluster'): ClusterTarget
/** The rule is `chooseTarget`'s. */
export function findTarget(flags: TargetFlags, does: 'read' | 'change', only?: 'cluster'): Target {
  const around = surroundings()
  const { target, isGuess } = chooseTarget(flags, only === undefined ? around : { ...around, hasLocalMesh: false })
  if (isGuess) printNote(`weft: talking to the local mesh ${DEFAULT_NAME}; for the cluster of the kubeconfig say --context NAME`)
  else if (does === 'change' && target.kind === 'cluster') tellCluster(target)
  return target
}

/** The cluster that flags without a name would lead to; undefined = there is none. */
export function findCluster(): ClusterTarget | undefined {
  const { kubeconfigs, isInCluster, missing } = surroundings()
  const [kubeconfig] = kubeconfigs
  if (kubeconfig !== undefined) return { kind: 'cluster', kubeconfig, context: undefined }
  return isInCluster && missing === undefined ? { kind: 'cluster', kubeconfig: '', context: undefined } : undefined
}

/** Says which cluster is about to be changed. */
export function tellCluster(target: ClusterTarget): void {
  printNote(`weft: talking to ${describeCluster(target)}`)
}

/** The object API of a target. The caller disposes it. @throws MeshError BAD_NAME | NOT_ROOT | MESH_MISSING | KUBECONFIG_INVALID */
export function openApi(target: Target): ObjectApi {
  if (target.kind === 'local') return connectMesh(target.name)
  const { kubeconfig, context } = target
  return openObjects({ source: 'kubernetes', kubeconfig, ...(context === undefined ? {} : { context }) })
}

/** The API of a local mesh with what only it has. @throws MeshError BAD_NAME | NOT_ROOT | MESH_MISSING */
export function connectMesh(name: string): ObjectClient {
  if (!isMeshName(name)) throw runtimeFailure('BAD_NAME', { name })
  if (process.getuid?.() !== 0) throw runtimeFailure('NOT_ROOT')
  const { apiSocket } = meshLayout(name)
  if (!existsSync(apiSocket)) throw runtimeFailure('MESH_MISSING', { name })
  return new ObjectClient({ socketPath: apiSocket })
}

/** What a cluster's API server gives beyond objects. The caller disposes it. @throws MeshError KUBECONFIG_INVALID */
export function openAccess({ kubeconfig, context }: ClusterTarget, patiently?: Patiently): ClusterAccess {
  return new ClusterAccess({ kubeconfig, ...(context === undefined ? {} : { context }) }, patiently)
}

/** The flags that lead there again, with a space before, for commands that are shown; empty = none are needed. */
export function targetWords(target: Target): string {
  if (target.kind === 'local') return target.name === DEFAULT_NAME ? '' : ` --name ${target.name}`
  const { kubeconfig, context } = target
  return `${kubeconfig === '' ? '' : ` --kubeconfig ${kubeconfig}`}${context === undefined ? '' : ` --context ${context}`}`
}

/** `NAMESPACE/NAME`; without a namespace `default`. */
export function parseTarget(text: string): { namespace: string; name: string } {
  const [first = '', second] = text.split('/')
  return second === undefined ? { namespace: 'default', name: first } : { namespace: first, name: second }
}

/** `the cluster of context c in /k`. */
export function describeCluster({ kubeconfig, context }: ClusterTarget): string {
  if (kubeconfig === '') return 'the cluster of this pod'
  return `the cluster of ${context === undefined ? 'the current context' : `context ${context}`} in ${kubeconfig}`
}

function surroundings(): Surroundings {
  const { apiSocket, dir } = meshLayout(DEFAULT_NAME)
  const given = (process.env.KUBECONFIG ?? '').split(delimiter).filter((path) => path !== '')
  const kubeconfigs = (given.length > 0 ? given : [join(homedir(), '.kube', 'config')]).filter((path) => existsSync(path))
  return {
    // Without root the socket may be out of sight: then the directory counts, and the command says that root is needed.
    hasLocalMesh: existsSync(apiSocket) || (process.getuid?.() !== 0 && existsSync(dir)),
    kubeconfigs,
    missing: kubeconfigs.length === 0 ? given[0] : undefined,
    isInCluster: (process.env.KUBERNETES_SERVICE_HOST ?? '') !== '' && existsSync(TOKEN_FILE),
  }
}
