// Others on the node: found by their traces, refused with a way out, accepted by name.
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { findForeigners, refuseForeigners } from '../../../../cni/kubernetes/foreign.ts'
import { codeOf, messageOf } from '../../../../kit/error.ts'
import { cgroup2Root } from '../../../../linux/cgroup.ts'

const POD = '/node/kubepods/pod11111111-2222-3333-4444-555555555551/abc'

describe('cni/kubernetes/foreign', () => {
  const directory = mkdtempSync('/tmp/weft-foreign-')
  const confDir = join(directory, 'net.d')
  const proc = join(directory, 'proc')
  const process_ = (pid: string, comm: string, cgroup: string): void => {
    mkdirSync(join(proc, pid), { recursive: true })
    writeFileSync(join(proc, pid, 'comm'), `${comm}\n`)
    writeFileSync(join(proc, pid, 'cgroup'), `0::${cgroup}\n`)
  }
  const options = { confDir, cgroup: join(cgroup2Root(), 'node'), bpffsDir: '/none', proc, programs: () => [] }

  beforeEach(() => {
    for (const path of [confDir, proc]) mkdirSync(path, { recursive: true })
  })
  afterEach(() => {
    rmSync(directory, { recursive: true })
  })

  it('a node of our own has nobody', () => {
    writeFileSync(join(confDir, '10-a.conflist'), '{"cniVersion":"1.0.0","name":"x","plugins":[{"type":"bridge"},{"type":"weft-cni"}]}')
    process_('1', 'node', POD)
    process_('2', 'ztunnel', '/user.slice') // somebody tries it by hand
    process_('3', 'ztunnel', POD.replace('/node/', '/other-node/'))
    assert.deepEqual(findForeigners(options), [])
    assert.deepEqual(findForeigners({ ...options, confDir: '' }), [])
  })

  it('Istio: its plugin in a list, its programs in pods', () => {
    writeFileSync(join(confDir, '05-a.conflist'), '{"cniVersion":"1.0.0","name":"x","plugins":[{"type":"bridge"},{"type":"istio-cni"}]}')
    process_('10', 'install-cni', POD)
    process_('11', 'ztunnel', POD)
    process_('12', 'ztunnel', POD)
    const found = findForeigners(options)
    assert.deepEqual(
      found.map(({ id, sign }) => `${id}: ${sign}`),
      ['istio: plugin istio-cni in 05-a.conflist', 'istio: process install-cni in a pod', 'istio: process ztunnel in a pod'],
    )
    assert.throws(
      () => refuseForeigners(found, new Set()),
      (error) => codeOf(error) === 'BESIDE_ISTIO' && /docs\/migrate\.md/.test(messageOf(error)),
    )
    refuseForeigners(found, new Set(['istio']))
  })

  it('a socket load balancer', () => {
    const programs = () => [
      { hook: 'connect4' as const, id: 7, name: 'cil_sock4_conne' },
      { hook: 'connect6' as const, id: 8, name: '' },
    ]
    const found = findForeigners({ ...options, programs })
    assert.deepEqual(
      found.map(({ sign }) => sign),
      ['cil_sock4_conne at connect4', 'a program without a name at connect6'],
    )
    assert.throws(
      () => refuseForeigners(found, new Set(['istio'])),
      (error) => codeOf(error) === 'BESIDE_SOCKET_LB' && /hostNamespaceOnly/.test(messageOf(error)),
    )
    refuseForeigners(found, new Set(['socket-lb']))
  })
})
