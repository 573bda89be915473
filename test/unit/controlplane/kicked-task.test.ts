// When a task runs that is asked for after changes.
import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import { COALESCE_MS, KickedTask, RETRY_MS } from '../../../controlplane/kicked-task.ts'
import { FakeClock, settle } from '../../support/fake-clock.ts'
import { keptLog } from '../../support/xds-pair.ts'

class Stage {
  readonly clock = new FakeClock()
  readonly log = keptLog()
  readonly begun: number[] = [] // ms after the start
  readonly #ends: ((isWhole: boolean | Error) => void)[] = []
  readonly task = new KickedTask({
    name: 'test',
    clock: this.clock,
    log: this.log.log,
    run: () => {
      this.begun.push(this.clock.nowMs() - 1_000_000)
      return new Promise((resolve, reject) => {
        this.#ends.push((result) => (typeof result === 'boolean' ? resolve(result) : reject(result)))
      })
    },
  })

  /** Ends the run under way. */
  async end(result: boolean | Error): Promise<void> {
    this.#ends.shift()?.(result)
    await settle()
  }
}

describe('controlplane/kicked-task', () => {
  it('takes kicks that come close together as one', async () => {
    const stage = new Stage()
    for (let i = 0; i < 3; i++) stage.task.kick()
    await stage.clock.advance(COALESCE_MS)
    assert.deepEqual(stage.begun, [COALESCE_MS])
    await stage.end(true)
    await stage.clock.advance(60_000)
    assert.deepEqual([stage.begun.length, stage.clock.pending], [1, 0])
  })

  it('is not put off by kicks that never end', async () => {
    const stage = new Stage()
    for (let i = 0; i < 10; i++) {
      stage.task.kick()
      await stage.clock.advance(COALESCE_MS / 2)
    }
    assert.deepEqual(stage.begun, [COALESCE_MS])
  })

  it('never runs twice at once; a kick during a run leads to one more', async () => {
    const stage = new Stage()
    stage.task.kick()
    await stage.clock.advance(COALESCE_MS)
    stage.task.kick()
    stage.task.kick()
    await stage.clock.advance(10 * RETRY_MS)
    assert.equal(stage.begun.length, 1)
    await stage.end(true)
    await stage.clock.advance(COALESCE_MS)
    assert.equal(stage.begun.length, 2)
    await stage.end(true)
    await stage.clock.advance(60_000)
    assert.equal(stage.begun.length, 2)
  })

  for (const { name, result } of [
    { name: 'left something undone', result: false },
    { name: 'failed', result: new Error('no') },
  ]) {
    it(`runs again later when a run ${name}`, async () => {
      const stage = new Stage()
      stage.task.kick()
      await stage.clock.advance(COALESCE_MS)
      await stage.end(result)
      await stage.clock.advance(RETRY_MS - 1)
      assert.equal(stage.begun.length, 1)
      await stage.clock.advance(1)
      assert.deepEqual(stage.begun, [COALESCE_MS, COALESCE_MS + RETRY_MS])
    })
  }

  it('does not let a kick wait for the retry', async () => {
    const stage = new Stage()
    stage.task.kick()
    await stage.clock.advance(COALESCE_MS)
    await stage.end(false)
    stage.task.kick()
    await stage.clock.advance(COALESCE_MS)
    assert.deepEqual(stage.begun, [COALESCE_MS, 2 * COALESCE_MS])
    await stage.end(true)
    await stage.clock.advance(60_000)
    assert.equal(stage.begun.length, 2)
  })

  it('stops: what is due does not begin, what runs is told and not repeated', async () => {
    const waiting = new Stage()
    waiting.task.kick()
    waiting.task[Symbol.dispose]()
    await waiting.clock.advance(60_000)
    assert.deepEqual([waiting.begun, waiting.clock.pending], [[], 0])
    const running = new Stage()
    running.task.kick()
    await running.clock.advance(COALESCE_MS)
    running.task.kick()
    running.task[Symbol.dispose]()
    assert.equal(running.task.isStopped, true)
    await running.end(false)
    running.task.kick()
    await running.clock.advance(60_000)
    assert.deepEqual([running.begun.length, running.clock.pending], [1, 0])
  })
})
