// Keys, certificates and kubeconfigs of a test cluster, made by openssl (EC P-256, 30 days).
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ClusterLayout, NodeLayout } from './layout.ts'
import { run } from './processes.ts'

const KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']

/** Makes what the control plane needs, and `admin.conf`, `kcm.conf`, `scheduler.conf`, `kube-proxy.conf`. */
export async function makeClusterPki(cluster: ClusterLayout): Promise<void> {
  mkdirSync(cluster.pkiDir, { recursive: true, mode: 0o700 })
  const file = (name: string): string => join(cluster.pkiDir, name)
  await Promise.all(['ca', 'front-proxy-ca'].map((name) => authority(cluster, name)))
  await run('openssl', ['ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', file('sa.key')])
  await run('openssl', ['ec', '-in', file('sa.key'), '-pubout', '-out', file('sa.pub')])
  const names = ['kubernetes', 'kubernetes.default', 'kubernetes.default.svc', 'kubernetes.default.svc.cluster.local', 'localhost']
  const ips = ['127.0.0.1', cluster.apiIp, cluster.apiServiceIp]
  const san = [...names.map((name) => `DNS:${name}`), ...ips.map((ip) => `IP:${ip}`)].join(',')
  await Promise.all([
    certificate(cluster, 'apiserver', '/CN=kube-apiserver', 'serverAuth', { san }),
    certificate(cluster, 'apiserver-kubelet', '/O=system:masters/CN=kube-apiserver-kubelet-client', 'clientAuth'),
    certificate(cluster, 'front-proxy', '/CN=front-proxy-client', 'clientAuth', { ca: 'front-proxy-ca' }),
    ...Object.entries(USERS).map(([name, subject]) => certificate(cluster, name, subject, 'clientAuth')),
  ])
  for (const name of Object.keys(USERS)) kubeconfig(cluster, join(cluster.dir, `${name}.conf`), name)
}

const USERS = {
  admin: '/O=system:masters/CN=admin',
  kcm: '/CN=system:kube-controller-manager',
  scheduler: '/CN=system:kube-scheduler',
  'kube-proxy': '/CN=system:kube-proxy',
}

/** Makes a kubelet's client and serving certificates and its kubeconfig. */
export async function makeNodePki(cluster: ClusterLayout, node: NodeLayout): Promise<void> {
  const subject = `/O=system:nodes/CN=system:node:${node.name}`
  await Promise.all([
    certificate(cluster, `${node.name}-client`, subject, 'clientAuth'),
    certificate(cluster, `${node.name}-serving`, subject, 'serverAuth', { san: `DNS:${node.name},IP:${node.ip}` }),
  ])
  kubeconfig(cluster, node.kubeconfig, `${node.name}-client`)
}

async function authority(cluster: ClusterLayout, name: string): Promise<void> {
  const [key, crt] = [join(cluster.pkiDir, `${name}.key`), join(cluster.pkiDir, `${name}.crt`)]
  await run('openssl', ['req', '-x509', ...KEY, '-days', '30', '-subj', `/CN=${name}`, '-keyout', key, '-out', crt])
}

async function certificate(
  cluster: ClusterLayout,
  name: string,
  subject: string,
  usage: 'serverAuth' | 'clientAuth',
  { ca = 'ca', san }: { ca?: string; san?: string } = {},
): Promise<void> {
  const file = (suffix: string): string => join(cluster.pkiDir, `${name}.${suffix}`)
  const signer = (suffix: string): string => join(cluster.pkiDir, `${ca}.${suffix}`)
  await run('openssl', ['req', '-new', ...KEY, '-subj', subject, '-keyout', file('key'), '-out', file('csr')])
  const lines = ['basicConstraints=CA:FALSE', 'keyUsage=digitalSignature', `extendedKeyUsage=${usage}`]
  writeFileSync(file('ext'), [...lines, ...(san === undefined ? [] : [`subjectAltName=${san}`])].join('\n'))
  const signing = ['-CA', signer('crt'), '-CAkey', signer('key'), '-days', '30', '-extfile', file('ext')]
  await run('openssl', ['x509', '-req', '-in', file('csr'), ...signing, '-out', file('crt')])
  rmSync(file('csr'))
  rmSync(file('ext'))
}

function kubeconfig(cluster: ClusterLayout, path: string, name: string): void {
  const base64 = (file: string): string => readFileSync(join(cluster.pkiDir, file)).toString('base64')
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [
      {
        name: cluster.id,
        cluster: { server: `https://${cluster.apiIp}:${cluster.apiPort}`, 'certificate-authority-data': base64('ca.crt') },
      },
    ],
    users: [{ name, user: { 'client-certificate-data': base64(`${name}.crt`), 'client-key-data': base64(`${name}.key`) } }],
    contexts: [{ name: cluster.id, context: { cluster: cluster.id, user: name } }],
    'current-context': cluster.id,
  }
  writeFileSync(path, JSON.stringify(config), { mode: 0o600 })
}
