// CoreDNS behind the cluster's DNS address, as a pod. It asks the API server at its own address, so that it also works without kube-proxy.
import type { Cluster } from './cluster.ts'

const READY = '90s'
const COREFILE = `.:53 {
  errors
  health
  ready
  kubernetes cluster.local in-addr.arpa ip6.arpa
  cache 2
}
`

/** Installs it and waits until it answers. */
export async function startDns(cluster: Cluster): Promise<void> {
  await cluster.apply(...objects(cluster))
  await cluster.kubectl('-n', 'kube-system', 'rollout', 'status', 'deployment/coredns', `--timeout=${READY}`)
}

function objects({ layout }: Cluster): readonly object[] {
  const metadata = { name: 'coredns', namespace: 'kube-system' }
  const labels = { 'k8s-app': 'kube-dns' }
  const rbac = 'rbac.authorization.k8s.io'
  const verbs = ['list', 'watch']
  return [
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata },
    {
      apiVersion: `${rbac}/v1`,
      kind: 'ClusterRole',
      metadata: { name: 'system:coredns' },
      rules: [
        { apiGroups: [''], resources: ['services', 'pods', 'namespaces'], verbs },
        { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs },
      ],
    },
    {
      apiVersion: `${rbac}/v1`,
      kind: 'ClusterRoleBinding',
      metadata: { name: 'system:coredns' },
      roleRef: { apiGroup: rbac, kind: 'ClusterRole', name: 'system:coredns' },
      subjects: [{ kind: 'ServiceAccount', ...metadata }],
    },
    { apiVersion: 'v1', kind: 'ConfigMap', metadata, data: { Corefile: COREFILE } },
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata,
      spec: { replicas: 1, selector: { matchLabels: labels }, template: { metadata: { labels }, spec: podSpec(layout) } },
    },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'kube-dns', namespace: 'kube-system', labels },
      spec: {
        clusterIP: layout.dnsIp,
        selector: labels,
        ports: [
          { name: 'dns', port: 53, protocol: 'UDP' },
          { name: 'dns-tcp', port: 53, protocol: 'TCP' },
        ],
      },
    },
  ]
}

function podSpec({ apiIp, apiPort }: Cluster['layout']): object {
  return {
    serviceAccountName: 'coredns',
    tolerations: [{ operator: 'Exists' }],
    containers: [
      {
        name: 'coredns',
        image: 'localhost/coredns:1',
        imagePullPolicy: 'Never',
        args: ['-conf', '/etc/coredns/Corefile'],
        env: [
          { name: 'KUBERNETES_SERVICE_HOST', value: apiIp },
          { name: 'KUBERNETES_SERVICE_PORT', value: String(apiPort) },
        ],
        readinessProbe: { httpGet: { path: '/ready', port: 8181 }, periodSeconds: 1 },
        volumeMounts: [{ name: 'conf', mountPath: '/etc/coredns' }],
      },
    ],
    volumes: [{ name: 'conf', configMap: { name: 'coredns' } }],
  }
}
