// The process killer hits what is in the cgroup, and nothing else.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { cgroup2Root, joinCgroup, killCgroup, makeCgroup, removeCgroup } from '../../linux/cgroup.ts'
import { killAndWait, processesIn, successorIn } from '../support/process-killer.ts'

describe('process-killer', () => {
  const group = join(cgroup2Root(), `killer-${process.pid}`)
  const inner = join(group, 'inner')
  const start = (): ReturnType<typeof spawn> => {
    const child = spawn('sleep', ['60'], { stdio: 'ignore' })
    joinCgroup(inner, child.pid ?? 0)
    return child
  }
  before(() => makeCgroup(inner))
  after(async () => {
    await killCgroup(group)
    removeCgroup(group)
  })

  it('finds, kills, and sees the successor', async () => {
    const outside = spawn('sleep', ['60'], { stdio: 'ignore' })
    const first = start()
    const found = processesIn(group)
    assert.deepEqual(
      found.map((each) => [each.pid, each.command]),
      [[first.pid, 'sleep 60']],
    )
    const ended = once(first, 'exit')
    await killAndWait(found[0]!)
    assert.deepEqual(await ended, [null, 'SIGKILL'])
    await killAndWait(found[0]!) // gone already: nothing to do, also if the pid is another's by now
    setTimeout(start, 30)
    const successor = await successorIn(group, found, 2000)
    assert.notEqual(successor.pid, first.pid)
    assert.equal(outside.exitCode, null)
    outside.kill()
    await assert.rejects(successorIn(group, [successor], 50), /no new process/)
    assert.deepEqual(processesIn(join(group, 'not-there')), [])
  })
})
