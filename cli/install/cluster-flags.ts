// Which cluster an install command means: its flags, else what kubectl would take, else the account of the pod that it runs in.
import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { delimiter, join } from 'node:path'
import type { ClusterFlags } from './helm.ts'

/** Flags of the commands. */
export interface WhereFlags {
  readonly kubeconfig?: string
  readonly context?: string
}

/** @param env KUBECONFIG and HOME count @returns the file that helm and we both use; '' = the pod's own account */
export function clusterOf({ kubeconfig, context }: WhereFlags, env: Readonly<Record<string, string | undefined>>): ClusterFlags {
  const listed = (env.KUBECONFIG ?? '').split(delimiter).filter((path) => path !== '')
  const usual = join(env.HOME || homedir(), '.kube', 'config')
  const found = kubeconfig ?? listed.find((path) => existsSync(path)) ?? listed[0] ?? (existsSync(usual) ? usual : '')
  return { kubeconfig: found, ...(context === undefined ? {} : { context }) }
}
