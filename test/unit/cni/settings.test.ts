// Settings of the agent: paths that follow from the mesh's directory, and faults all at once.
import assert from 'node:assert/strict'
import { readSettings } from '../../../cni/settings.ts'

const NEEDED = ['--node', 'node-1', '--cgroup', '/sys/fs/cgroup/weft/shop/node-1']

describe('cni/settings', () => {
  it('fills in paths from the mesh and the node', () => {
    const settings = readSettings([...NEEDED, '--mesh-dir', '/run/weft/shop'], {})
    assert.ok(settings.ok)
    const { apiSocket, ztunnelCgroup, probeCgroup, bpffsDir, zdsPath, cniPath, stateDir } = settings.value
    assert.deepEqual(
      { apiSocket, ztunnelCgroup, probeCgroup, bpffsDir, zdsPath, cniPath, stateDir },
      {
        apiSocket: '/run/weft/shop/api.sock',
        ztunnelCgroup: '/sys/fs/cgroup/weft/shop/node-1/ztunnel',
        probeCgroup: '/sys/fs/cgroup/weft/shop/node-1/kubelet',
        bpffsDir: '/run/weft/shop/bpf/node-1',
        zdsPath: '/run/weft/shop/nodes/node-1/zds.sock',
        cniPath: '/run/weft/shop/nodes/node-1/cni.sock',
        stateDir: '/run/weft/shop/nodes/node-1/cni',
      },
    )
  })

  it('leaves given paths alone', () => {
    const settings = readSettings([...NEEDED, '--zds=/var/run/ztunnel/ztunnel.sock'], { WEFT_BPFFS_DIR: '/sys/fs/bpf/x' })
    assert.deepEqual(settings.ok && [settings.value.zdsPath, settings.value.bpffsDir], ['/var/run/ztunnel/ztunnel.sock', '/sys/fs/bpf/x'])
  })

  it('says every fault', () => {
    const bad = readSettings(
      [
        '--node',
        '../x',
        '--cgroup',
        'weft',
        '--monitoring-port',
        '70000',
        '--reconcile-interval',
        '1ms',
        '--metrics-port',
        '65536',
        '--metrics-ip',
        'node-1',
      ],
      {},
    )
    assert.equal(bad.ok ? 0 : bad.errors.length, 6)
    assert.equal(readSettings([], {}).ok, false)
  })
})
