// Many nodes that no kubelet looks after, on a cluster of a control plane alone: each with a node proxy's pod and a pod of an application,
// and the token of each node proxy, as the API server gives it out.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import https from 'node:https'
import type { MeshObject, Pod } from '../../model/object.ts'
import { boundPod } from './authority-stage.ts'
import type { Cluster } from './cluster/cluster.ts'

const SYSTEM = 'weft-system'
const APPS = 'shop'
const OBJECTS_AT_ONCE = 100
const CALLS_AT_ONCE = 20

interface Kubeconfig {
  readonly clusters: readonly { readonly cluster: Readonly<Record<string, string>> }[]
  readonly users: readonly { readonly user: Readonly<Record<string, string>> }[]
}

/** A node proxy of one of them. */
export interface NodeProxy {
  readonly token: string
  readonly node: string
  readonly podName: string
  /** `NAMESPACE/ACCOUNT` that runs on this node only. */
  readonly app: string
}

/** Makes them. The namespaces `weft-system` and `shop` are there. */
export async function makeNodes(cluster: Cluster, count: number): Promise<readonly NodeProxy[]> {
  const numbers = Array.from({ length: count }, (_, index) => index + 1)
  const objects = numbers.flatMap((number) => [
    { apiVersion: 'v1', kind: 'Node', metadata: { name: `sim-${number}` } },
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { namespace: APPS, name: `app-${number}` } },
    boundPod(SYSTEM, `ztunnel-sim-${number}`, 'ztunnel', `sim-${number}`),
    boundPod(APPS, `app-${number}`, `app-${number}`, `sim-${number}`),
  ])
  for (let at = 0; at < objects.length; at += OBJECTS_AT_ONCE) await cluster.apply(...objects.slice(at, at + OBJECTS_AT_ONCE))
  const { items } = await cluster.get<{ items: readonly Pod[] }>('pods', '-n', SYSTEM)
  const uids = new Map(items.map(({ metadata }) => [metadata.name, metadata.uid]))
  const proxies: NodeProxy[] = []
  for (let at = 0; at < count; at += CALLS_AT_ONCE) {
    const part = numbers.slice(at, at + CALLS_AT_ONCE).map(async (number) => {
      const podName = `ztunnel-sim-${number}`
      const token = await tokenOf(cluster, podName, uids.get(podName) ?? '')
      return { token, node: `sim-${number}`, podName, app: `${APPS}/app-${number}` }
    })
    proxies.push(...(await Promise.all(part)))
  }
  return proxies
}

/** As `kubectl create token` asks; that takes a process each. */
async function tokenOf({ layout }: Cluster, name: string, uid: string): Promise<string> {
  const config = JSON.parse(readFileSync(layout.kubeconfig, 'utf8')) as Kubeconfig
  const [{ cluster } = { cluster: {} }, { user } = { user: {} }] = [config.clusters[0], config.users[0]]
  const part = (of: Readonly<Record<string, string>>, field: string): Buffer => Buffer.from(of[`${field}-data`] ?? '', 'base64')
  const boundObjectRef = { kind: 'Pod', apiVersion: 'v1', name, uid }
  const body = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: { audiences: ['istio-ca'], boundObjectRef } }
  const credentials = {
    ca: part(cluster, 'certificate-authority'),
    cert: part(user, 'client-certificate'),
    key: part(user, 'client-key'),
  }
  const url = `${cluster.server}/api/v1/namespaces/${SYSTEM}/serviceaccounts/ztunnel/token`
  const answer = await new Promise<MeshObject & { status?: { token?: string } }>((resolve, reject) => {
    const request = https.request(url, { ...credentials, method: 'POST', headers: { 'content-type': 'application/json' } }, (response) => {
      void response.toArray().then((chunks) => resolve(JSON.parse(Buffer.concat(chunks).toString())), reject)
    })
    request.on('error', reject)
    request.end(JSON.stringify(body))
  })
  assert.ok(answer.status?.token !== undefined, JSON.stringify(answer))
  return answer.status.token
}
