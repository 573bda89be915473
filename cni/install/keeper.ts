// Keeps the plugin on the host: the binary in the runtime's directory of plugins, our entry last in its configuration, also
// when others rewrite it or a list that comes first appears. Removes both only when told.
import { existsSync, type FSWatcher, readdirSync, readFileSync, renameSync, rmSync, watch } from 'node:fs'
import { join } from 'node:path'
import type { Clock, Timer } from '../../kit/clock.ts'
import { messageOf } from '../../kit/error.ts'
import type { Log } from '../../kit/log.ts'
import { cniFailure } from '../errors.ts'
import { confFiles, insertPlugin, PLUGIN_TYPE, removePlugin, SAVED_SUFFIX } from './conf-list.ts'
import { isProgram, namesIn, readConf, replaceFile } from './files.ts'

/** Where the plugin goes. */
export interface InstallPlaces {
  /** The runtime's configuration, e.g. /etc/cni/net.d */
  readonly confDir: string
  /** The runtime's plugins, e.g. /opt/cni/bin */
  readonly binDir: string
}

/** What the constructor takes. */
export interface KeeperOptions extends InstallPlaces {
  /** The committed binary of this machine. */
  readonly program: string
  readonly log: Log
  readonly clock: Clock
  /** Something was put back. */
  onDrift(kind: 'conflist' | 'plugin'): void
  /** Whether the runtime will call us; changes only. */
  onState(isInstalled: boolean): void
}

/** Several events of one rewrite are one. */
const SETTLE_MS = 10
/** What no event told of; sooner where there are no events (too many watchers on the machine). */
const POLL_MS = 5_000
const UNWATCHED_POLL_MS = 250
/** Between two repairs when somebody works against us: doubles up to this. */
const MAX_DELAY_MS = 200

/** The keeper. */
export class PluginKeeper implements Disposable {
  readonly #options: KeeperOptions
  readonly #program: Uint8Array
  readonly #watchers: FSWatcher[] = []
  #timer: Timer | undefined
  /** Set while a look after an event is due: later events wait for that one, or a busy writer would put it off for ever. */
  #isDue = false
  #delayMs = SETTLE_MS
  #isInstalled = false
  /** Whether it ever was: what changes after that is drift. */
  #wasInstalled = false
  #isDisposed = false
  #complaint = ''

  constructor(options: KeeperOptions) {
    this.#options = options
    this.#program = readFileSync(options.program)
  }

  /** Installs at once and watches from then on. */
  start(): void {
    const { confDir, binDir, log } = this.#options
    for (const directory of [confDir, binDir]) {
      try {
        const watcher = watch(directory, () => this.#look(this.#delayMs))
        watcher.on('error', (error) => log.warn('a directory of the runtime is not watched', { directory, error: messageOf(error) }))
        this.#watchers.push(watcher)
      } catch (error) {
        log.warn('a directory of the runtime is not watched', { directory, error: messageOf(error) })
      }
    }
    this.#round()
  }

  isInstalled(): boolean {
    return this.#isInstalled
  }

  /** Watches no more; the plugin stays. */
  [Symbol.dispose](): void {
    this.#isDisposed = true
    this.#timer?.[Symbol.dispose]()
    for (const watcher of this.#watchers) watcher.close()
  }

  /** Sooner than the next poll. */
  #look(delayMs: number): void {
    if (this.#isDisposed || this.#isDue) return
    this.#isDue = true
    this.#timer?.[Symbol.dispose]()
    this.#timer = this.#options.clock.after(delayMs, () => this.#round())
  }

  #round(): void {
    const { clock } = this.#options
    this.#isDue = false
    const wasRepaired = this.#sync()
    this.#delayMs = wasRepaired ? Math.min(this.#delayMs * 2, MAX_DELAY_MS) : SETTLE_MS
    if (this.#isDisposed) return
    this.#timer?.[Symbol.dispose]()
    this.#timer = clock.after(this.#watchers.length === 2 ? POLL_MS : UNWATCHED_POLL_MS, () => this.#round())
  }

  /** @returns whether anything had to be written */
  #sync(): boolean {
    const { log, onDrift, onState } = this.#options
    let isInstalled = false
    let wasRepaired = false
    try {
      const isProgramNew = this.#keepProgram()
      const conf = this.#keepConf()
      isInstalled = conf !== 'missing'
      wasRepaired = isProgramNew || conf === 'written'
      if (this.#wasInstalled && isProgramNew) onDrift('plugin')
      if (this.#wasInstalled && conf === 'written') onDrift('conflist')
      if (wasRepaired) log.info('plugin installed', { program: isProgramNew, configuration: conf })
    } catch (error) {
      this.#complain(messageOf(error))
    }
    this.#wasInstalled ||= isInstalled
    if (isInstalled !== this.#isInstalled) {
      this.#isInstalled = isInstalled
      onState(isInstalled)
    }
    return wasRepaired
  }

  #keepProgram(): boolean {
    const path = join(this.#options.binDir, PLUGIN_TYPE)
    if (isProgram(path, this.#program)) return false
    replaceFile(path, this.#program, 0o755)
    return true
  }

  /** Only the first file counts; our entry in others, which came later, is in nobody's way. */
  #keepConf(): 'right' | 'written' | 'missing' {
    const { confDir } = this.#options
    const [first] = confFiles(readdirSync(confDir))
    const text = first === undefined ? undefined : readConf(join(confDir, first))
    if (first === undefined || text === undefined) {
      this.#complain('the runtime has no network configuration yet')
      return 'missing'
    }
    const edit = insertPlugin(first, text)
    if (!edit.ok) {
      this.#complain(cniFailure('CONF_UNREADABLE', { file: first, reason: edit.errors.join('; ') }).message)
      return 'missing'
    }
    this.#complaint = ''
    if (edit.value.text === undefined) return 'right'
    replaceFile(join(confDir, edit.value.name), edit.value.text)
    if (edit.value.retired !== undefined)
      renameSync(join(confDir, edit.value.retired), join(confDir, `${edit.value.retired}${SAVED_SUFFIX}`))
    return 'written'
  }

  #complain(reason: string): void {
    if (this.#complaint === reason) return
    this.#complaint = reason
    this.#options.log.warn('plugin is not in force', { reason })
  }
}

/** Takes our entry out of every configuration, puts back what it was made of, and removes the binary. May be repeated. */
export function uninstallPlugin({ confDir, binDir }: InstallPlaces): void {
  const names = namesIn(confDir)
  for (const name of confFiles(names)) {
    const path = join(confDir, name)
    const edited = removePlugin(name, readConf(path) ?? '')
    if (edited === undefined) continue
    const saved = ['conf', 'json']
      .map((end) => `${path.slice(0, path.lastIndexOf('.'))}.${end}`)
      .find((file) => existsSync(file + SAVED_SUFFIX))
    if (saved === undefined) replaceFile(path, edited)
    else {
      renameSync(saved + SAVED_SUFFIX, saved)
      rmSync(path)
    }
  }
  rmSync(join(binDir, PLUGIN_TYPE), { force: true }) // last: until here every list that names it can run it
}
