// Which gateways need which backends: those with a listener of the service, or with a route or mirror that leads to it.
import type { Listener, RouteFilter, RouteRule } from '../../model/route.ts'
import type { ServiceKey } from '../../model/workload.ts'

/** Keys per listener; a listener that did not change is the same object in the next translation. */
const KEPT = new WeakMap<Listener, ReadonlySet<ServiceKey>>()

/** @returns service -> `namespace/name` of the gateways that may send it requests */
export function gatewaysOfBackends(listeners: Iterable<Listener>): ReadonlyMap<ServiceKey, ReadonlySet<string>> {
  const gateways = new Map<ServiceKey, Set<string>>()
  for (const listener of listeners) {
    for (const service of servicesOf(listener)) {
      const found = gateways.get(service)
      if (found === undefined) gateways.set(service, new Set([listener.gateway]))
      else found.add(listener.gateway)
    }
  }
  return gateways
}

function servicesOf(listener: Listener): ReadonlySet<ServiceKey> {
  const kept = KEPT.get(listener)
  if (kept !== undefined) return kept
  const services = new Set([listener.service])
  const rules = new Set<RouteRule>()
  for (const routes of [listener.routes, ...listener.consumerRoutes.values()]) for (const { rule } of routes) rules.add(rule)
  for (const { filters, backends } of rules) {
    addMirrors(filters, services)
    for (const backend of backends) {
      if (backend.kind === 'service') services.add(backend.ref.service)
      addMirrors(backend.filters, services)
    }
  }
  KEPT.set(listener, services)
  return services
}

function addMirrors(filters: readonly RouteFilter[], services: Set<ServiceKey>): void {
  for (const filter of filters) if (filter.kind === 'mirror') services.add(filter.mirror.backend.service)
}
