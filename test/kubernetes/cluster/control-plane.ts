// The control plane of a test cluster: bridge, etcd, API server, controllers and scheduler, as daemons of the host.
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Binaries } from './binaries.ts'
import type { ClusterLayout } from './layout.ts'
import { attempt, run, startDaemon, until } from './processes.ts'

const READY_MS = 90_000

/** Starts it and waits until the controllers work. The certificates are there. */
export async function startControlPlane(cluster: ClusterLayout, binaries: Binaries): Promise<void> {
  await makeBridge(cluster)
  startEtcd(cluster, binaries)
  startApiServer(cluster, binaries)
  const kubectl = (...args: string[]): ReturnType<typeof attempt> =>
    attempt(binaries.path('kubectl'), ['--kubeconfig', cluster.kubeconfig, ...args])
  await until('the API server is ready', READY_MS, async () => (await kubectl('get', '--raw', '/readyz')).status === 0)
  startControllers(cluster, binaries)
  await until('the controllers work', READY_MS, async () => (await kubectl('-n', 'default', 'get', 'sa', 'default')).status === 0)
}

/** The nodes' wire; its address is the API server's, who refuses to advertise a loopback address. */
async function makeBridge({ bridge, apiIp }: ClusterLayout): Promise<void> {
  if (existsSync(`/sys/class/net/${bridge}`)) throw new Error(`the link ${bridge} is there already: is another cluster of this name up?`)
  await run('ip', ['link', 'add', bridge, 'type', 'bridge'])
  await run('ip', ['addr', 'add', `${apiIp}/24`, 'dev', bridge])
  await run('ip', ['link', 'set', bridge, 'up'])
}

function startEtcd(cluster: ClusterLayout, binaries: Binaries): void {
  const [clients, peers] = [`http://${cluster.etcdIp}:2379`, `http://${cluster.etcdIp}:2380`]
  const flags = {
    'data-dir': join(cluster.dir, 'etcd'),
    'listen-client-urls': clients,
    'advertise-client-urls': clients,
    'listen-peer-urls': peers,
    'initial-advertise-peer-urls': peers,
    'initial-cluster': `default=${peers}`,
    'log-level': 'warn',
  }
  startDaemon(cluster, 'etcd', [binaries.path('etcd'), ...flagsOf(flags), '--unsafe-no-fsync'])
}

/** What the accounts of the mesh ask is logged, so that a test can hold it against the chart's rules. */
const AUDIT_POLICY = {
  apiVersion: 'audit.k8s.io/v1',
  kind: 'Policy',
  omitStages: ['RequestReceived'],
  rules: [{ level: 'Metadata', userGroups: ['system:serviceaccounts:weft-system'] }, { level: 'None' }],
}

/** Starts (again) what startControlPlane started; tests stop it by `killDaemon`. */
export function startApiServer(cluster: ClusterLayout, binaries: Binaries): void {
  const pki = (file: string): string => join(cluster.pkiDir, file)
  const policy = join(cluster.dir, 'audit-policy.json')
  mkdirSync(cluster.logDir, { recursive: true })
  writeFileSync(policy, JSON.stringify(AUDIT_POLICY))
  const flags = {
    'etcd-servers': `http://${cluster.etcdIp}:2379`,
    'secure-port': String(cluster.apiPort),
    'bind-address': cluster.apiIp,
    'advertise-address': cluster.apiIp,
    'tls-cert-file': pki('apiserver.crt'),
    'tls-private-key-file': pki('apiserver.key'),
    'client-ca-file': pki('ca.crt'),
    'authorization-mode': 'Node,RBAC',
    'enable-admission-plugins': 'NodeRestriction',
    'allow-privileged': 'true',
    'service-account-issuer': 'https://kubernetes.default.svc.cluster.local',
    'service-account-key-file': pki('sa.pub'),
    'service-account-signing-key-file': pki('sa.key'),
    'service-cluster-ip-range': cluster.serviceCidr,
    'kubelet-preferred-address-types': 'InternalIP',
    'kubelet-certificate-authority': pki('ca.crt'),
    'kubelet-client-certificate': pki('apiserver-kubelet.crt'),
    'kubelet-client-key': pki('apiserver-kubelet.key'),
    'requestheader-client-ca-file': pki('front-proxy-ca.crt'),
    'requestheader-allowed-names': 'front-proxy-client',
    'requestheader-extra-headers-prefix': 'X-Remote-Extra-',
    'requestheader-group-headers': 'X-Remote-Group',
    'requestheader-username-headers': 'X-Remote-User',
    'proxy-client-cert-file': pki('front-proxy.crt'),
    'proxy-client-key-file': pki('front-proxy.key'),
    'enable-aggregator-routing': 'true', // webhooks go to endpoints, so they need no kube-proxy
    'audit-policy-file': policy,
    'audit-log-path': cluster.auditLog,
  }
  startDaemon(cluster, 'kube-apiserver', [binaries.path('kube-apiserver'), ...flagsOf(flags)])
}

function startControllers(cluster: ClusterLayout, binaries: Binaries): void {
  const pki = (file: string): string => join(cluster.pkiDir, file)
  const shared = (name: string): Record<string, string> => {
    const config = join(cluster.dir, `${name}.conf`)
    return {
      kubeconfig: config,
      'authentication-kubeconfig': config,
      'authorization-kubeconfig': config,
      'secure-port': '0',
      'leader-elect': 'false',
    }
  }
  const manager = {
    ...shared('kcm'),
    'use-service-account-credentials': 'true',
    'kube-api-qps': '200', // with the default the first service account takes 5 s instead of 1 s
    'kube-api-burst': '400',
    'root-ca-file': pki('ca.crt'),
    'service-account-private-key-file': pki('sa.key'),
    'cluster-signing-cert-file': pki('ca.crt'),
    'cluster-signing-key-file': pki('ca.key'),
    'allocate-node-cidrs': 'true',
    'cluster-cidr': cluster.podCidr,
    'service-cluster-ip-range': cluster.serviceCidr,
    'node-monitor-grace-period': '20s',
  }
  startDaemon(cluster, 'kube-controller-manager', [binaries.path('kube-controller-manager'), ...flagsOf(manager)])
  const scheduler = { ...shared('scheduler'), 'kube-api-qps': '200', 'kube-api-burst': '400' }
  startDaemon(cluster, 'kube-scheduler', [binaries.path('kube-scheduler'), ...flagsOf(scheduler)])
}

function flagsOf(flags: Readonly<Record<string, string>>): string[] {
  return Object.entries(flags).map(([name, value]) => `--${name}=${value}`)
}
