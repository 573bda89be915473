// Which pods are waypoints. A label alone makes none: there must be a Gateway of that name in the pod's namespace, and the pod must
// run as the account that was made for it. Nobody else is published as a waypoint or as an endpoint of its service.
import type { Gateway } from '../../model/gateway-api.ts'
import type { MeshObject, Pod } from '../../model/object.ts'
import type { ServiceKey, Workload } from '../../model/workload.ts'
import { GATEWAY_NAME_LABEL, isOwnedBy, waypointAccountOf } from '../waypoint-class.ts'
import { hostnameOf, type MeshNames, namespaceOf } from './mesh.ts'

const REDIRECTION = 'ambient.istio.io/redirection'

/** The waypoints of one moment. */
export class WaypointPods {
  readonly #waypoints: ReadonlyMap<string, Gateway>
  /** `namespace/name` of Gateways whose account is their own. */
  readonly #withAccount = new Set<string>()
  /** Service of a waypoint -> its Gateway's `namespace/name`. */
  readonly #services = new Map<ServiceKey, string>()

  /** @param waypoints Gateways of a waypoint class by `namespace/name` */
  constructor(waypoints: ReadonlyMap<string, Gateway>, serviceAccounts: Iterable<MeshObject>, names: MeshNames) {
    this.#waypoints = waypoints
    const byAccount = new Map([...waypoints.values()].map((gateway) => [`${namespaceOf(gateway)}/${waypointAccountOf(gateway)}`, gateway]))
    for (const account of serviceAccounts) {
      const gateway = byAccount.get(`${namespaceOf(account)}/${account.metadata.name}`)
      if (gateway !== undefined && isOwnedBy(account, gateway)) this.#withAccount.add(keyOf(gateway))
    }
    for (const gateway of waypoints.values()) this.#services.set(serviceOf(gateway, names), keyOf(gateway))
  }

  /** Whether the other answers the same. @param other made of the same map of waypoints, or it is not the same */
  isSame(other: WaypointPods): boolean {
    const isEqual = this.#withAccount.size === other.#withAccount.size && [...this.#withAccount].every((key) => other.#withAccount.has(key))
    return this.#waypoints === other.#waypoints && isEqual
  }

  /** The waypoint that a pod is; undefined for every other pod. */
  gatewayOf(pod: Pod): Gateway | undefined {
    const name = pod.metadata.labels?.[GATEWAY_NAME_LABEL]
    if (name === undefined || pod.spec?.hostNetwork === true) return undefined
    const gateway = this.#waypoints.get(`${namespaceOf(pod)}/${name}`)
    if (gateway === undefined || !this.#withAccount.has(keyOf(gateway))) return undefined
    if (pod.spec?.serviceAccountName !== waypointAccountOf(gateway)) return undefined
    // Captured, its port 15008 is the node proxy's: that is an ordinary pod.
    return pod.metadata.annotations?.[REDIRECTION] === undefined ? gateway : undefined
  }

  /** Whether an endpoint may stand behind a service: behind a waypoint's only the waypoint itself. @param gateway what the pod is */
  allows(service: ServiceKey, gateway: Gateway | undefined): boolean {
    const waypoint = this.#services.get(service)
    return waypoint === undefined || (gateway !== undefined && keyOf(gateway) === waypoint)
  }

  /** Gateways (`namespace/name`) of which at least one pod takes connections. @param workloads at least those of all that are published that take HBONE by themselves */
  ready(workloads: Iterable<Workload>): ReadonlySet<string> {
    const found = new Set<string>()
    if (this.#services.size === 0) return found
    for (const { hasNativeTunnel, health, services } of workloads) {
      if (!hasNativeTunnel || health !== 'HEALTHY') continue
      for (const key of services.keys()) {
        const waypoint = this.#services.get(key)
        if (waypoint !== undefined) found.add(waypoint)
      }
    }
    return found
  }
}

function keyOf(gateway: Gateway): string {
  return `${namespaceOf(gateway)}/${gateway.metadata.name}`
}

function serviceOf(gateway: Gateway, names: MeshNames): ServiceKey {
  return `${namespaceOf(gateway)}/${hostnameOf(names, namespaceOf(gateway), gateway.metadata.name)}`
}
