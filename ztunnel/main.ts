// Entry of the ztunnel process: settings, signals, exit codes. The process ends in order on SIGTERM, SIGINT and
// POST /quitquitquit; a second signal ends it at once.
import { messageOf } from '../kit/error.ts'
import { createLog } from '../kit/log.ts'
import { helpSettings } from '../kit/settings.ts'
import { Ztunnel } from './app.ts'
import { readSettings, SETTINGS } from './settings.ts'

const EXIT_USAGE = 2
const EXIT_FAILURE = 1

async function main(args: readonly string[]): Promise<void> {
  if (args.includes('--help')) {
    process.stdout.write(`ztunnel: the node proxy of the mesh\n${helpSettings(SETTINGS)}\n`)
    return
  }
  const settings = readSettings(args, process.env)
  if (!settings.ok) {
    for (const error of settings.errors) process.stderr.write(`ztunnel: ${error}\n`)
    process.exitCode = EXIT_USAGE
    return
  }
  const log = createLog({ process: 'ztunnel', levels: settings.value.log })
  const end = (code: number): void => process.exit(code)
  try {
    const ztunnel = await Ztunnel.start(settings.value, log, (error) => {
      log.error('ztunnel cannot go on', { error: messageOf(error) })
      end(EXIT_FAILURE)
    })
    let isEnding = false
    const quit = (signal: string): void => {
      if (isEnding) end(EXIT_FAILURE)
      isEnding = true
      log.info('draining', { signal, graceMs: settings.value.gracePeriodMs })
      ztunnel.drain().then(
        () => end(0),
        () => end(EXIT_FAILURE),
      )
    }
    process.on('SIGTERM', quit)
    process.on('SIGINT', quit)
    ztunnel.onQuit(() => quit('quitquitquit'))
  } catch (error) {
    log.error('ztunnel could not start', { error: messageOf(error) })
    end(EXIT_FAILURE)
  }
}

await main(process.argv.slice(2))
