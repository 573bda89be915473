// Objects around routes for tests of translation and status: a namespace with a waypoint, services, and routes on them.
import { worldOf } from '../../controlplane/push/world.ts'
import { type Translation, Translator } from '../../controlplane/translate/translate.ts'
import type { ParentOutcome } from '../../controlplane/translate/gateway/finding.ts'
import type { MeshObject } from '../../model/object.ts'
import { FakeSource, NAMES } from './fake-source.ts'

const GATEWAY_API = 'gateway.networking.k8s.io/v1'

/** Any object. */
export function object(
  apiVersion: string,
  kind: string,
  namespace: string | undefined,
  name: string,
  spec: object,
  more: object = {},
): MeshObject {
  return { apiVersion, kind, metadata: { name, ...(namespace === undefined ? {} : { namespace }), ...more }, spec }
}

/** A Service; ports as `name:port`. */
export function service(namespace: string, name: string, ports: readonly string[] = ['http:80'], more: object = {}): MeshObject {
  const spec = {
    clusterIP: '10.96.0.1',
    ports: ports.map((text) => ({ name: text.split(':')[0], port: Number(text.split(':')[1]) })),
    ...more,
  }
  return object('v1', 'Service', namespace, name, spec)
}

/** A route of `shop`, unless told otherwise, on Service cart. */
export function route(
  kind: 'HTTPRoute' | 'GRPCRoute',
  spec: object,
  meta: { name?: string; namespace?: string; createdAt?: string } = {},
): MeshObject {
  const { name = 'r', namespace = 'shop', createdAt = '2026-01-01T00:00:00Z' } = meta
  const parentRefs = [{ group: '', kind: 'Service', name: 'cart' }]
  return object(GATEWAY_API, kind, namespace, name, { parentRefs, ...spec }, { creationTimestamp: createdAt })
}

/** Namespace `shop` behind the waypoint shop/waypoint with services cart (80) and cart-v2 (80); namespaces `web` and `bare` without. */
export const SHOP: readonly MeshObject[] = [
  object('v1', 'Namespace', undefined, 'shop', {}, { labels: { 'istio.io/use-waypoint': 'waypoint' } }),
  object('v1', 'Namespace', undefined, 'web', {}),
  object('v1', 'Namespace', undefined, 'bare', {}),
  object(GATEWAY_API, 'Gateway', 'shop', 'waypoint', {
    gatewayClassName: 'istio-waypoint',
    listeners: [{ name: 'mesh', port: 15008, protocol: 'HBONE' }],
  }),
  service('shop', 'cart'),
  service('shop', 'cart-v2', ['http:80']),
  service('bare', 'plain'),
]

/** Translates objects from scratch, or with a translator that is warm. */
export function translate(objects: readonly MeshObject[], translator = new Translator(NAMES)): Translation {
  const source = new FakeSource()
  source.apply(...objects)
  return translator.translate(worldOf(source, new Set()))
}

/** Findings as lines: `Accepted True Accepted: message`. */
export function linesOf(parents: readonly ParentOutcome[]): string[] {
  return parents.flatMap(({ findings }) => findings.map(({ type, status, reason, message }) => `${type} ${status} ${reason}: ${message}`))
}

/** What is said of the route `name`, over all its parents. */
export function saidOf(translation: Translation, name = 'r'): string[] {
  return [...translation.routeOutcomes].flatMap(([{ metadata }, parents]) => (metadata.name === name ? linesOf(parents) : []))
}
