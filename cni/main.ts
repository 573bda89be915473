// Entry point of the node agent: settings, log, start, signals. SIGTERM and SIGINT end it and leave every pod as it is,
// unless the mesh is being uninstalled. `--uninstall` does the same by hand where no agent runs.
import { systemClock } from '../kit/clock.ts'
import { codeOf, messageOf } from '../kit/error.ts'
import { createLog } from '../kit/log.ts'
import { dumpSettings, helpSettings } from '../kit/settings.ts'
import { AgentApp } from './app.ts'
import { cniFailure } from './errors.ts'
import { uninstallNode } from './kubernetes/uninstall.ts'
import { readSettings, SETTINGS } from './settings.ts'

async function main(): Promise<void> {
  const args = process.argv.slice(2)
  if (args.includes('--help')) {
    process.stdout.write(`weft node agent\n\n${helpSettings(SETTINGS)}\n`)
    return
  }
  const isUninstall = args.includes('--uninstall')
  const settings = readSettings(
    args.filter((arg) => arg !== '--uninstall'),
    process.env,
  )
  if (!settings.ok) {
    process.stderr.write(`${cniFailure('SETTINGS_INVALID').message}\n${settings.errors.map((fault) => `  ${fault}\n`).join('')}`)
    process.exitCode = 2
    return
  }
  const log = createLog({ process: 'cni', levels: settings.value.log })
  if (isUninstall) {
    uninstallNode(settings.value, log)
    return
  }
  log.info('agent starts', { settings: dumpSettings(SETTINGS, settings.value) })
  const app = await AgentApp.start(settings.value, log, systemClock).catch((error: unknown) => {
    log.error('agent cannot start', { code: codeOf(error), error: messageOf(error) })
    process.exitCode = 1
    return undefined
  })
  if (app === undefined) return
  log.info('agent runs')
  const end = (signal: NodeJS.Signals): void => {
    log.info('agent ends', { signal })
    app.end().then(
      () => process.exit(0),
      (error: unknown) => {
        log.error('agent did not end cleanly', { error: messageOf(error) })
        process.exit(1)
      },
    )
  }
  process.once('SIGTERM', end)
  process.once('SIGINT', end)
}

await main()
