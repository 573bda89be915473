// Namespaces of pods, found through a /proc.
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { findSandboxes } from '../../../../cni/kubernetes/sandboxes.ts'

const ONE = '11111111-2222-3333-4444-555555555551'
const TWO = '11111111-2222-3333-4444-555555555552'

describe('cni/kubernetes/sandboxes', () => {
  const directory = mkdtempSync('/tmp/weft-proc-')
  const netnsDir = join(directory, 'netns')
  const process_ = (pid: string, cgroup: string, netns: string): void => {
    mkdirSync(join(directory, 'proc', pid, 'ns'), { recursive: true })
    writeFileSync(join(directory, 'proc', pid, 'cgroup'), cgroup)
    symlinkSync(`net:[${netns}]`, join(directory, 'proc', pid, 'ns', 'net'))
  }
  const find = (...uids: string[]): Map<string, string> => findSandboxes(new Set(uids), netnsDir, join(directory, 'proc'))

  before(() => {
    process_('self', '0::/\n', '4026531840')
    process_('1', '0::/init.scope\n', '4026531840')
    mkdirSync(netnsDir)
    writeFileSync(join(netnsDir, 'cni-1'), '')
    const named = String(statSync(join(netnsDir, 'cni-1')).ino)
    process_('100', `0::/kubepods/burstable/pod${ONE}/abc\n`, named)
    process_('101', `0::/kubepods/burstable/pod${ONE}/def\n`, '7777') // nested: the first counts
    const systemd = `/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod${TWO.replaceAll('-', '_')}.slice/cri-containerd-abc.scope`
    process_('200', `12:pids:${systemd}\n0::/elsewhere\n`, '4026540000') // hybrid: only v1 knows the pod
    process_('300', '0::/kubepods/pod99999999-2222-3333-4444-555555555559/x\n', '4026531840') // the network of the node
    mkdirSync(join(directory, 'proc', '400')) // gone meanwhile
  })
  after(() => {
    rmSync(directory, { recursive: true })
  })

  it('gives the name that the runtime gave, which outlives the process', () => {
    assert.deepEqual([...find(ONE)], [[ONE, join(netnsDir, 'cni-1')]])
  })

  it('falls back to the process, and reads every hierarchy and driver', () => {
    assert.deepEqual([...find(TWO)], [[TWO, join(directory, 'proc/200/ns/net')]])
  })

  it('leaves out pods without a process and those in the network of the node', () => {
    assert.deepEqual([...find('99999999-2222-3333-4444-555555555559', 'aaaaaaaa-2222-3333-4444-555555555559')], [])
    assert.deepEqual([...find()], [])
  })
})
