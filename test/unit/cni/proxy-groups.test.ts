// Which processes are the node's ztunnel.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { podGroups, podUidOf } from '../../../cni/proxy-groups.ts'
import { codeOf } from '../../../kit/error.ts'
import type { Pod } from '../../../model/object.ts'

const UID = '11111111-2222-3333-4444-555555555551'
const LOW = UID.replaceAll('-', '_')
const HASH = '0123456789abcdef0123456789abcdef'

describe('cni/proxy-groups', () => {
  for (const [group, want] of [
    [`/sys/fs/cgroup/kubepods/burstable/pod${UID}/abc`, UID],
    [`/sys/fs/cgroup/unified/k8s-node1/kubepods/pod${UID}/abc/nested`, UID],
    [`/sys/fs/cgroup/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${LOW}.slice/cri-containerd-abc.scope`, UID],
    [`/sys/fs/cgroup/kubepods.slice/kubepods-pod${LOW}.slice/crio-abc.scope`, UID],
    [`/sys/fs/cgroup/kubelet.slice/kubelet-kubepods-burstable-pod${LOW}.slice/x`, undefined],
    [`/sys/fs/cgroup/kubepods/pod${HASH}/abc`, HASH],
    ['/sys/fs/cgroup/system.slice/ssh.service', undefined],
    [`/sys/fs/cgroup/kubepods/pod${UID.slice(1)}/abc`, undefined],
  ] as const) {
    it(`the pod of ${group.slice(0, 60)}…`, () => {
      assert.equal(podUidOf(group), want)
    })
  }

  const pod = (uid: string, namespace: string, account: string): Pod =>
    ({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: uid, namespace, uid },
      spec: { serviceAccountName: account, containers: [] },
    }) as Pod

  it('believes the API about the pod, not the process about itself', () => {
    const directory = mkdtempSync('/tmp/weft-groups-')
    try {
      let pods = [pod(UID, 'weft-system', 'ztunnel')]
      let group = `/cg/kubepods/pod${UID}/abc`
      const groups = podGroups({
        pods: () => pods,
        namespace: 'weft-system',
        account: 'ztunnel',
        file: join(directory, 'groups'),
        ofPid: () => group,
      })
      const refused = (): void =>
        assert.throws(
          () => groups.groupOf(1),
          (error) => codeOf(error) === 'NOT_THE_ZTUNNEL',
        )
      assert.equal(groups.groupOf(1), group)
      pods = [pod(UID, 'shop', 'ztunnel')]
      refused()
      pods = [pod(UID, 'weft-system', 'default')]
      refused()
      pods = []
      refused()
      groups.remember(new Map([[group, 77n]]))
      assert.equal(groups.groupOf(1), group, 'it was the ztunnel before the agent restarted')
      assert.deepEqual([...groups.earlier()], [[group, 77n]])
      group = '/cg/user.slice'
      refused()
    } finally {
      rmSync(directory, { recursive: true })
    }
  })
})
