// Configuration files of a node: containerd, kubelet, and the script that sets up the mount namespace.
import { join } from 'node:path'
import type { Binaries } from './binaries.ts'
import type { ClusterLayout, NodeLayout } from './layout.ts'

/** containerd's configuration: overlayfs, runc with cgroupfs, CNI plugins where Kubernetes expects them. */
export function containerdConfig(binaries: Binaries): string {
  return `version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
oom_score = 0
disabled_plugins = ["io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.erofs", "io.containerd.nri.v1.nri", "io.containerd.internal.v1.tracing"]
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins.'io.containerd.cri.v1.images']
  snapshotter = "overlayfs"
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = "localhost/pause:1"
[plugins.'io.containerd.cri.v1.runtime']
  # without CAP_SYS_RESOURCE a negative oom_score_adj is refused
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ["/opt/cni/bin"]
    conf_dir = "/etc/cni/net.d"
  [plugins.'io.containerd.cri.v1.runtime'.containerd]
    default_runtime_name = "runc"
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
        BinaryName = "${binaries.path('runc')}"
        SystemdCgroup = false
`
}

/** The kubelet's configuration. */
export function kubeletConfig(cluster: ClusterLayout, node: NodeLayout): object {
  const pki = (file: string): string => join(cluster.pkiDir, file)
  return {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    failCgroupV1: false, // hybrid machines count as v1
    cgroupDriver: 'cgroupfs',
    cgroupRoot: `/${node.cgroup}`,
    enforceNodeAllocatable: ['none'],
    containerRuntimeEndpoint: 'unix:///run/containerd/containerd.sock',
    authentication: { anonymous: { enabled: false }, webhook: { enabled: true }, x509: { clientCAFile: pki('ca.crt') } },
    authorization: { mode: 'Webhook' },
    tlsCertFile: pki(`${node.name}-serving.crt`),
    tlsPrivateKeyFile: pki(`${node.name}-serving.key`),
    clusterDNS: [cluster.dnsIp],
    clusterDomain: 'cluster.local',
    resolvConf: join(node.dir, 'resolv.conf'),
    oomScoreAdj: 0,
    maxOpenFiles: 65_536,
    failSwapOn: false,
    makeIPTablesUtilChains: false,
    protectKernelDefaults: false,
    evictionHard: { 'memory.available': '100Mi', 'nodefs.available': '1%', 'imagefs.available': '1%' },
    imageGCHighThresholdPercent: 99,
    imageGCLowThresholdPercent: 98,
    maxPods: 220,
    kubeAPIQPS: 200,
    kubeAPIBurst: 400,
    syncFrequency: '10s',
    nodeStatusUpdateFrequency: '5s',
    cpuManagerPolicy: 'none',
  }
}

/** Sysctls that the kubelet sets; the node has files of its own over them, the machine's stay. */
const KUBELET_SYSCTLS = {
  'vm/overcommit_memory': 1,
  'vm/panic_on_oom': 0,
  'kernel/panic': 10,
  'kernel/panic_on_oops': 1,
  'kernel/keys/root_maxkeys': 1_000_000,
  'kernel/keys/root_maxbytes': 25_000_000,
}

/** Runs inside the fresh mount namespace; /sys stays the root one (`ip netns exec` would hide the cgroups). */
export function nodeScript(node: NodeLayout, dirs: readonly string[]): string {
  const sysctls = Object.entries(KUBELET_SYSCTLS).map(([name, value], index) => {
    const file = join(node.dir, `sysctl.${index}`)
    return `echo ${value} > ${file}; mount --bind ${file} /proc/sys/${name}`
  })
  return `#!/bin/sh
set -eu
mount --make-rprivate /
${dirs.map((dir) => `mount --bind ${join(node.dir, dir)} /${dir}`).join('\n')}
if [ -d /sys/fs/bpf ]; then mount -t bpf bpf /sys/fs/bpf; fi # pins of two nodes do not collide
mount --make-rshared /
${sysctls.join('\n')}
exec "$@"
`
}
