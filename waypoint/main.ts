// Entry of the waypoint process: settings, signals, exit codes. It ends in order on SIGTERM, SIGINT and POST /quitquitquit;
// a second signal ends it at once.
import { messageOf } from '../kit/error.ts'
import { createLog } from '../kit/log.ts'
import { helpSettings } from '../kit/settings.ts'
import { Waypoint } from './app.ts'
import { readSettings, SETTINGS } from './settings.ts'

const EXIT_USAGE = 2
const EXIT_FAILURE = 1

async function main(args: readonly string[]): Promise<void> {
  if (args.includes('--help')) {
    process.stdout.write(`waypoint: the HTTP proxy of a Gateway\n${helpSettings(SETTINGS)}\n`)
    return
  }
  const settings = readSettings(args, process.env)
  if (!settings.ok) {
    for (const error of settings.errors) process.stderr.write(`waypoint: ${error}\n`)
    process.exitCode = EXIT_USAGE
    return
  }
  const log = createLog({ process: 'waypoint', levels: settings.value.log })
  const end = (code: number): void => process.exit(code)
  try {
    const waypoint = await Waypoint.start(settings.value, log)
    let isEnding = false
    const quit = (signal: string): void => {
      if (isEnding) end(EXIT_FAILURE)
      isEnding = true
      log.info('draining', { signal, graceMs: settings.value.gracePeriodMs })
      waypoint.drain().then(
        () => end(0),
        () => end(EXIT_FAILURE),
      )
    }
    process.on('SIGTERM', quit)
    process.on('SIGINT', quit)
    waypoint.onQuit(() => quit('quitquitquit'))
  } catch (error) {
    log.error('the waypoint could not start', { error: messageOf(error) })
    end(EXIT_FAILURE)
  }
}

await main(process.argv.slice(2))
