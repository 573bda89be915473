// Entry of the control plane's process: settings, source, app, signals. SIGTERM and SIGINT end it; a second one ends it at once.
import { systemClock } from '../kit/clock.ts'
import { codeOf, messageOf } from '../kit/error.ts'
import { createLog } from '../kit/log.ts'
import { dumpSettings, helpSettings } from '../kit/settings.ts'
import { openObjects } from '../objects/api.ts'
import { startControlplane } from './app.ts'
import { placeOf, readSettings, SETTINGS } from './settings.ts'
import { KubernetesSource } from './source/kubernetes/kubernetes-source.ts'
import { StoreSource } from './source/store/store-source.ts'

const args = process.argv.slice(2)
if (args.includes('--help')) {
  process.stdout.write(`${helpSettings(SETTINGS)}\n`)
  process.exit(0)
}
const parsed = readSettings(args)
if (!parsed.ok) {
  process.stderr.write(`${parsed.errors.join('\n')}\n`)
  process.exit(2)
}
const settings = parsed.value
const log = createLog({ process: 'controlplane', levels: settings.log })
log.info('settings', dumpSettings(SETTINGS, settings))
const clock = systemClock
try {
  const place = placeOf(settings)
  const api = place.source === 'kubernetes' ? openObjects(place) : undefined
  const options = { log: log.scope('source'), clock }
  const source =
    api === undefined ? new StoreSource({ socketPath: settings.apiSocket, ...options }) : new KubernetesSource({ api, ...options })
  const app = await startControlplane({ settings, source, ...(api !== undefined && { api }), log, clock })
  let isStopping = false
  const stop = (signal: string): void => {
    if (isStopping) process.exit(1)
    isStopping = true
    log.info('stopping', { signal })
    void app[Symbol.asyncDispose]().then(() => process.exit(0))
  }
  process.on('SIGTERM', stop)
  process.on('SIGINT', stop)
} catch (error) {
  log.error('the control plane cannot start', { code: codeOf(error), error: messageOf(error) })
  process.exit(1)
}
