// Objects of a cluster as the command line sees them, and an API that holds them.
import type { MeshObject, Namespace, Node, Pod } from '../../model/object.ts'
import type { ObjectApi } from '../../objects/api.ts'
import { objectFailure } from '../../objects/errors.ts'
import { kindOf } from '../../objects/kinds.ts'

/** A node with a kernel. */
export function nodeValue(name: string, annotations: Record<string, string> = {}): Node {
  const status = { nodeInfo: { kernelVersion: '6.12.1', operatingSystem: 'linux', architecture: 'amd64' } }
  return { apiVersion: 'v1', kind: 'Node', metadata: { name, annotations }, spec: {}, status: status as Node['status'] & object }
}

/** A namespace with its mode. */
export function namespaceValue(name: string, mode?: string, annotations: Record<string, string> = {}): Namespace {
  const labels = mode === undefined ? {} : { 'istio.io/dataplane-mode': mode }
  return { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels, annotations } }
}

/** A pod that runs and is ready, unless `more` says otherwise. */
export function podValue(
  namespace: string,
  name: string,
  nodeName: string,
  more: { account?: string; enrolment?: string; isReady?: boolean; labels?: Record<string, string> } = {},
): Pod {
  const { account = 'default', enrolment, isReady = true, labels = {} } = more
  const annotations: Record<string, string> = enrolment === undefined ? {} : { 'ambient.istio.io/redirection': enrolment }
  const container = { name: account, image: 'registry:5000/weft:1.2.3@sha256:aa' }
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace, annotations, labels },
    spec: { nodeName, serviceAccountName: account, containers: [container] },
    status: {
      phase: 'Running',
      podIP: '10.1.1.1',
      conditions: [{ type: 'Ready', status: isReady ? 'True' : 'False' }],
      containerStatuses: [
        {
          ...container,
          ready: isReady,
          started: true,
          restartCount: 0,
          imageID: '',
          state: isReady ? { running: { startedAt: '2026-01-01T00:00:00Z' } } : { waiting: { reason: 'CrashLoopBackOff' } },
        },
      ],
    },
  }
}

/** Holds objects; remembers patches. Calls that a test does not expect throw. */
export function heldApi(objects: readonly MeshObject[]): { api: ObjectApi; patches: { path: string; body: unknown }[] } {
  const patches: { path: string; body: unknown }[] = []
  const all = (kind: string, namespace?: string): MeshObject[] =>
    objects.filter(
      (one) => kindOf(one.apiVersion, one.kind)?.plural === kind && (namespace ?? one.metadata.namespace) === one.metadata.namespace,
    )
  const unexpected = (): never => {
    throw new Error('not expected')
  }
  const api: ObjectApi = {
    list: async (kind, namespace) => ({ items: all(kind, namespace), resourceVersion: '1' }),
    get: async (kind, namespace, name) => {
      const found = all(kind, namespace).find(({ metadata }) => metadata.name === name)
      if (found === undefined) throw objectFailure('NOT_FOUND', { kind, name })
      return found
    },
    patch: async (kind, namespace, name, body) => {
      patches.push({ path: `${kind}/${namespace === undefined ? '' : `${namespace}/`}${name}`, body })
      return await api.get(kind, namespace, name)
    },
    apply: unexpected,
    create: unexpected,
    delete: unexpected,
    reviewToken: unexpected,
    requestToken: unexpected,
    logs: unexpected,
    inform: unexpected,
    ready: unexpected,
    applyStatus: unexpected,
    [Symbol.dispose]: () => undefined,
  }
  return { api, patches }
}
