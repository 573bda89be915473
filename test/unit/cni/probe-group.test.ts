// The kubelet's group in the kernel: found again when it is made anew, its strangers named.
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ProbeGroup, strangersIn } from '../../../cni/probe-group.ts'
import type { Log } from '../../../kit/log.ts'
import { silentLog } from '../../support/netns-lab.ts'

describe('cni/probe-group', () => {
  const directory = mkdtempSync('/tmp/weft-probes-')
  after(() => {
    rmSync(directory, { recursive: true })
  })

  it('follows a group that is made anew, and says once what is wrong', () => {
    const path = join(directory, 'kubelet')
    const kernel: string[] = []
    const said: string[] = []
    const log: Log = { ...silentLog, warn: (message) => void said.push(message) }
    const datapath = { addProbeCgroup: () => void kernel.push('+'), removeProbeCgroup: () => void kernel.push('-') }
    const group = new ProbeGroup({ datapath, path, isMade: false, log })
    group.keep()
    group.keep()
    assert.deepEqual([kernel, said.length], [[], 1])
    assert.match(said[0] ?? '', /probes of pods in STRICT mode fail/)
    mkdirSync(path)
    group.keep()
    group.keep()
    assert.deepEqual(kernel, ['+'])
    group.keep(true)
    assert.deepEqual(kernel, ['+', '+'], 'maps that were made anew')
    mkdirSync(join(directory, 'between'))
    rmSync(path, { recursive: true })
    mkdirSync(join(directory, 'another'))
    mkdirSync(path)
    group.keep()
    assert.ok(['+,+', '+,+,-,+'].includes(kernel.join()), 'the inode may be the same')
  })

  it('names what else is in the group', () => {
    const group = join(directory, 'shared')
    mkdirSync(group)
    writeFileSync(join(group, 'cgroup.procs'), `${process.pid}\n999999999\n`)
    assert.equal(strangersIn(group).length, 1)
    assert.deepEqual(strangersIn(join(directory, 'none')), [])
  })

  it('finds nothing without a kubelet', () => {
    const datapath = { addProbeCgroup: () => assert.fail(), removeProbeCgroup: () => assert.fail() }
    const group = new ProbeGroup({ datapath, path: 'auto', isMade: false, log: silentLog, findKubelet: () => undefined })
    group.keep()
    assert.deepEqual(group.view(), { cgroup: undefined, sharedWith: [] })
  })
})
