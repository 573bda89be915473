// What Kubernetes tells every pod by itself: the API server's address in the environment, the account's files on disk.
// Not settings of ours, hence no flags; the chart may set the two variables to reach the API server without a service address.

/** Directory of the pod's own service account: `token`, `ca.crt`, `namespace`. */
export const ACCOUNT_DIR = '/var/run/secrets/kubernetes.io/serviceaccount'

/** @returns `https://host:port` of the API server as pods know it; undefined outside a cluster */
export function clusterServer(env: Readonly<Record<string, string | undefined>> = process.env): string | undefined {
  const { KUBERNETES_SERVICE_HOST: host = '', KUBERNETES_SERVICE_PORT: port = '' } = env
  if (host === '' || !/^\d{1,5}$/.test(port)) return undefined
  return `https://${host.includes(':') ? `[${host}]` : host}:${port}`
}
