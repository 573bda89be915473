// The end of the mesh on a node: the plugin leaves the runtime's configuration, the kernel forgets us, files go. Never part
// of an upgrade. Needs no API and no other process; may be repeated.
import { rmSync } from 'node:fs'
import type { Log } from '../../kit/log.ts'
import { uninstallPlugin } from '../install/keeper.ts'
import { PodFiles } from '../pods.ts'
import { clearRedirect } from '../redirect/open.ts'
import type { AgentSettings } from '../settings.ts'

/** Runs in the node's network namespace, without an agent beside it. @throws when the kernel or a directory refuses */
export function uninstallNode(settings: AgentSettings, log: Log): void {
  const { cniConfDir, cniBinDir, stateDir, zdsPath, cniPath } = settings
  if (cniConfDir !== '') uninstallPlugin({ confDir: cniConfDir, binDir: cniBinDir }) // first: pods that start from now on ask for no agent
  const files = new PodFiles(stateDir, log)
  clearRedirect({ settings, places: () => files.load().map(({ place }) => place), log })
  for (const path of [stateDir, zdsPath, cniPath]) rmSync(path, { recursive: true, force: true })
  log.info('the mesh has left this node')
}
