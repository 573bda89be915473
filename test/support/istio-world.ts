// Istio's objects and rate limits on the shop of route-world.ts, and what is said of them.
import { EntryNotes } from '../../controlplane/translate/istio/notes.ts'
import type { Translation } from '../../controlplane/translate/translate.ts'
import type { MeshObject } from '../../model/object.ts'
import type { Listener } from '../../model/route.ts'
import { object } from './route-world.ts'

const ISTIO = 'networking.istio.io/v1'

/** Where an object stands. */
export interface Place {
  readonly name?: string
  readonly namespace?: string
  readonly createdAt?: string
}

/** Listener of port 80 of Service shop/cart. */
export const CART = 'shop/waypoint/shop/cart.shop.svc.cluster.local/80'

/** A VirtualService of `shop`, unless told otherwise, for host cart. */
export function virtualService(http: readonly object[], place: Place = {}, more: object = {}): MeshObject {
  const { name = 'vs', namespace = 'shop', createdAt = '2026-01-01T00:00:00Z' } = place
  return object(ISTIO, 'VirtualService', namespace, name, { hosts: ['cart'], http, ...more }, { creationTimestamp: createdAt })
}

/** A DestinationRule of `shop`, unless told otherwise, for host cart. */
export function destinationRule(spec: object, place: Place = {}): MeshObject {
  const { name = 'dr', namespace = 'shop', createdAt = '2026-01-01T00:00:00Z' } = place
  return object(ISTIO, 'DestinationRule', namespace, name, { host: 'cart', ...spec }, { creationTimestamp: createdAt })
}

/** A RateLimitPolicy of `shop`, unless told otherwise. */
export function rateLimitPolicy(spec: object, place: Place = {}): MeshObject {
  const { name = 'rl', namespace = 'shop', createdAt = '2026-01-01T00:00:00Z' } = place
  const whole = { limits: [{ requests: 10, per: '1s' }], ...spec }
  return object('weft.dev/v1alpha1', 'RateLimitPolicy', namespace, name, whole, { creationTimestamp: createdAt })
}

/** A destination by short name. */
export function to(host: string, more: object = {}): object {
  return { destination: { host, ...more } }
}

/** What is said of the object `name`: `True Accepted: in force`; undefined = nothing. */
export function saidOfIstio(translation: Translation, name: string): string | undefined {
  for (const [{ metadata }, { status, reason, message }] of translation.istioOutcomes)
    if (metadata.name === name) return `${status} ${reason}: ${message}`
  return undefined
}

/** Names of routes: of everybody, then of the namespaces that have their own. */
export function namesIn(listener: Listener | undefined): readonly [readonly string[], Readonly<Record<string, readonly string[]>>] {
  const consumers = [...(listener?.consumerRoutes ?? [])].map(([namespace, routes]) => [namespace, routes.map(({ name }) => name)])
  return [(listener?.routes ?? []).map(({ name }) => name), Object.fromEntries(consumers)]
}

/** A part of an entry read, with all that was noted. */
export function noted<T>(read: (notes: EntryNotes) => T): { readonly value: T; readonly notes: readonly string[] } {
  const notes = new EntryNotes('')
  const value = read(notes)
  const lines = (kind: string, list: readonly string[]): string[] => list.map((text) => `${kind} ${text.replace(/^\./, '')}`)
  const unresolved = notes.unresolved.map(({ message }) => message)
  return {
    value,
    notes: [
      ...lines('dropped', notes.dropped),
      ...lines('broken', notes.broken),
      ...lines('ignored', notes.ignored),
      ...lines('unresolved', unresolved),
    ],
  }
}
