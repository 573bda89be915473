// The plugin stays on the host whoever else writes there, and leaves without a trace.
import assert from 'node:assert/strict'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { pluginTypes } from '../../../../cni/install/conf-list.ts'
import { type KeeperOptions, PluginKeeper, uninstallPlugin } from '../../../../cni/install/keeper.ts'
import { pause, systemClock } from '../../../../kit/clock.ts'
import { silentLog } from '../../../support/netns-lab.ts'

const LIST = '{"cniVersion":"1.0.0","name":"pods","plugins":[{"type":"bridge"}]}'

/** A host's two directories. */
class Host implements Disposable {
  readonly directory = mkdtempSync('/tmp/weft-keeper-')
  readonly confDir = join(this.directory, 'net.d')
  readonly binDir = join(this.directory, 'bin')
  readonly drifts: string[] = []
  readonly states: boolean[] = []
  readonly keeper: PluginKeeper

  constructor() {
    for (const path of [this.confDir, this.binDir]) mkdirSync(path)
    writeFileSync(join(this.directory, 'program'), 'the program')
    const options: KeeperOptions = {
      confDir: this.confDir,
      binDir: this.binDir,
      program: join(this.directory, 'program'),
      log: silentLog,
      clock: systemClock,
      onDrift: (kind) => void this.drifts.push(kind),
      onState: (isInstalled) => void this.states.push(isInstalled),
    }
    this.keeper = new PluginKeeper(options)
  }

  write(name: string, text: string): void {
    writeFileSync(join(this.confDir, name), text)
  }

  types(name: string): string[] {
    return existsSync(join(this.confDir, name)) ? pluginTypes(name, readFileSync(join(this.confDir, name), 'utf8')) : []
  }

  async until(test: () => boolean, what: string): Promise<void> {
    const end = systemClock.monotonicMs() + 4000
    while (!test()) {
      assert.ok(systemClock.monotonicMs() < end, what)
      await pause(systemClock, 5)
    }
  }

  [Symbol.dispose](): void {
    this.keeper[Symbol.dispose]()
    rmSync(this.directory, { recursive: true })
  }
}

describe('cni/install/keeper', () => {
  it('installs binary and entry, keeps the mode, and has nothing to do afterwards', () => {
    using host = new Host()
    host.write('10-a.conflist', LIST)
    chmodSync(join(host.confDir, '10-a.conflist'), 0o600)
    host.keeper.start()
    assert.deepEqual(host.types('10-a.conflist'), ['bridge', 'weft-cni'])
    assert.equal(statSync(join(host.confDir, '10-a.conflist')).mode & 0o777, 0o600)
    assert.equal(readFileSync(join(host.binDir, 'weft-cni'), 'utf8'), 'the program')
    assert.equal(statSync(join(host.binDir, 'weft-cni')).mode & 0o777, 0o755)
    assert.deepEqual([host.states, host.drifts], [[true], []])
    assert.deepEqual(readdirSync(host.confDir), ['10-a.conflist'])
  })

  it('waits for a configuration that is not there yet, or not whole', async () => {
    using host = new Host()
    host.keeper.start()
    assert.equal(host.keeper.isInstalled(), false)
    host.write('10-a.conflist', LIST.slice(0, 30))
    await pause(systemClock, 50)
    assert.equal(host.keeper.isInstalled(), false)
    host.write('10-a.conflist', LIST)
    await host.until(() => host.keeper.isInstalled(), 'installed')
    assert.deepEqual(host.types('10-a.conflist'), ['bridge', 'weft-cni'])
  })

  it('survives three writers: one in place, one by rename, one that comes first', async () => {
    using host = new Host()
    host.write('10-a.conflist', LIST)
    host.keeper.start()
    for (let round = 0; round < 5; round++) {
      host.write('10-a.conflist', LIST.replace('bridge', `in-place-${round}`))
      await host.until(() => host.types('10-a.conflist').join() === `in-place-${round},weft-cni`, 'in place')
      writeFileSync(join(host.confDir, 'new.tmp'), LIST.replace('bridge', `renamed-${round}`))
      renameSync(join(host.confDir, 'new.tmp'), join(host.confDir, '10-a.conflist'))
      await host.until(() => host.types('10-a.conflist').join() === `renamed-${round},weft-cni`, 'renamed')
    }
    host.write('05-first.conflist', LIST.replace('bridge', 'cilium'))
    await host.until(() => host.types('05-first.conflist').join() === 'cilium,weft-cni', 'the first one')
    assert.ok(host.drifts.filter((kind) => kind === 'conflist').length >= 11)
    rmSync(join(host.binDir, 'weft-cni'))
    await host.until(() => existsSync(join(host.binDir, 'weft-cni')), 'the binary')
    writeFileSync(join(host.binDir, 'weft-cni'), 'another one')
    await host.until(() => readFileSync(join(host.binDir, 'weft-cni'), 'utf8') === 'the program', 'the right binary')
    assert.ok(host.drifts.includes('plugin'))
    assert.deepEqual(host.states, [true])
  }).timeout(20_000)

  it('three writers at once for a while: the entry is there in the end', async () => {
    using host = new Host()
    host.write('10-a.conflist', LIST)
    host.keeper.start()
    const writer = async (name: string): Promise<void> => {
      for (let round = 0; round < 20; round++) {
        writeFileSync(join(host.confDir, `${name}.tmp`), LIST.replace('bridge', `${name}-${round}`))
        renameSync(join(host.confDir, `${name}.tmp`), join(host.confDir, '10-a.conflist'))
        await pause(systemClock, 7)
      }
    }
    await Promise.all(['x', 'y', 'z'].map(writer))
    await host.until(() => host.types('10-a.conflist').at(-1) === 'weft-cni', 'there in the end')
  }).timeout(20_000)

  it('a single configuration becomes a list, and comes back when we leave', async () => {
    using host = new Host()
    const single = '{"cniVersion":"0.3.1","name":"net","type":"bridge"}'
    host.write('10-a.conf', single)
    host.keeper.start()
    assert.deepEqual(readdirSync(host.confDir).sort(), ['10-a.conf.weft-saved', '10-a.conflist'])
    assert.deepEqual(host.types('10-a.conflist'), ['bridge', 'weft-cni'])
    host.keeper[Symbol.dispose]()
    uninstallPlugin(host)
    assert.deepEqual(readdirSync(host.confDir), ['10-a.conf'])
    assert.equal(readFileSync(join(host.confDir, '10-a.conf'), 'utf8'), single)
    assert.deepEqual(readdirSync(host.binDir), [])
  })

  it('uninstall takes our entry out of every list, may be repeated, and leaves the others as they are', () => {
    using host = new Host()
    host.write('10-a.conflist', LIST)
    host.keeper.start()
    host.write('20-b.conflist', '{"cniVersion":"1.0.0","name":"b","plugins":[{"type":"ptp"},{"type":"weft-cni"}]}')
    host.write('30-c.conflist', 'nonsense')
    host.keeper[Symbol.dispose]()
    for (const _ of [1, 2]) uninstallPlugin(host)
    assert.deepEqual(host.types('10-a.conflist'), ['bridge'])
    assert.deepEqual(host.types('20-b.conflist'), ['ptp'])
    assert.equal(readFileSync(join(host.confDir, '30-c.conflist'), 'utf8'), 'nonsense')
    assert.deepEqual(readdirSync(host.binDir), [])
  })
})
