// What is there against what should be: pure steps that bring a Gateway's objects into being. Only objects that the Gateway owns
// are ever changed or deleted; one of the same name that somebody else made is a fault of the Gateway, never overwritten.
import { createHash } from 'node:crypto'
import type { Gateway } from '../../model/gateway-api.ts'
import type { Deployment, DeploymentSpec, MeshObject } from '../../model/object.ts'
import type { ConfigSource } from '../source/source.ts'
import { isOwnedBy, isWaypoint } from '../waypoint-class.ts'
import { faultsOf, manifestsFor } from './manifests.ts'
import type { DeploySettings } from './pod.ts'
import { contains } from './same.ts'

/** Kinds that are made for a waypoint. */
export const DEPLOYED_KINDS = ['serviceaccounts', 'services', 'deployments', 'poddisruptionbudgets'] as const

/** One of DEPLOYED_KINDS. */
export type DeployedKind = (typeof DEPLOYED_KINDS)[number]

/** Kinds of objects that only matter here: translation does not read them. */
export const DEPLOYED_ONLY: ReadonlySet<string> = new Set(['Deployment', 'PodDisruptionBudget'])

/** One change; `replace` holds the version that it is based on. */
export type Step =
  | { readonly do: 'create' | 'replace'; readonly object: MeshObject }
  | { readonly do: 'remove'; readonly kind: DeployedKind; readonly object: MeshObject }

/** What is to be done for one Gateway, and what its owner must know. */
export interface Plan {
  readonly steps: readonly Step[]
  /** Sentence per fault; with one nothing is made. */
  readonly faults: readonly string[]
}

/** Annotation with a hash of what was made, so that what is no longer wanted is noticed. */
export const MANIFEST_ANNOTATION = 'weft.dev/manifest'

const PLURALS: Readonly<Record<string, DeployedKind>> = {
  ServiceAccount: 'serviceaccounts',
  Service: 'services',
  Deployment: 'deployments',
  PodDisruptionBudget: 'poddisruptionbudgets',
}

/** The objects of DEPLOYED_KINDS at one moment, by name and by owner. */
export class DeployedObjects {
  readonly #byName = new Map<string, MeshObject>()
  readonly #byOwner = new Map<string, Extract<Step, { do: 'remove' }>[]>()

  constructor(source: Pick<ConfigSource, 'objects'>) {
    for (const kind of DEPLOYED_KINDS)
      for (const object of source.objects(kind)) {
        this.#byName.set(`${kind}/${nameOf(object)}`, object)
        if (object.metadata.annotations?.[MANIFEST_ANNOTATION] !== undefined) this.#addOwned(kind, object)
      }
  }

  find(kind: DeployedKind, object: MeshObject): MeshObject | undefined {
    return this.#byName.get(`${kind}/${nameOf(object)}`)
  }

  /** Removals of what an earlier plan made for the Gateway and what is not going away already. */
  removalsFor(gateway: Gateway): readonly Step[] {
    return this.#byOwner.get(gateway.metadata.uid ?? '') ?? []
  }

  #addOwned(kind: DeployedKind, object: MeshObject): void {
    const uid = object.metadata.ownerReferences?.find(({ controller }) => controller === true)?.uid
    if (uid === undefined || object.metadata.deletionTimestamp !== undefined) return
    const step = { do: 'remove', kind, object } as const
    const known = this.#byOwner.get(uid)
    if (known === undefined) this.#byOwner.set(uid, [step])
    else known.push(step)
  }
}

/** Plans for one Gateway. */
export function planFor(gateway: Gateway, objects: DeployedObjects, settings: DeploySettings): Plan {
  if (gateway.metadata.deletionTimestamp !== undefined) return { steps: [], faults: [] } // its objects go with it
  if (!isWaypoint(gateway)) return { steps: objects.removalsFor(gateway), faults: [] } // it was one before
  const ownFaults = faultsOf(gateway)
  if (ownFaults.length > 0) return { steps: [], faults: ownFaults }
  const wanted = manifestsFor(gateway, settings)
  const faults = wanted.flatMap((object) => {
    const found = findIn(objects, object)
    if (found === undefined || isOwnedBy(found, gateway)) return []
    return [`the ${object.kind} ${nameOf(object)} exists and is not this Gateway's: rename or delete one of them`]
  })
  if (faults.length > 0) return { steps: [], faults }
  return { steps: wanted.flatMap((object) => stepFor(object, findIn(objects, object))), faults: [] }
}

function stepFor(wanted: MeshObject, old: MeshObject | undefined): Step[] {
  const marked = withMark(wanted)
  if (old === undefined) return [{ do: 'create', object: marked }]
  const next = keepReplicas(marked, old)
  return contains(old, next) ? [] : [{ do: 'replace', object: basedOn(next, old) }]
}

/** How many there are is the owner's: `kubectl scale` and autoscalers write it. */
function keepReplicas(wanted: MeshObject, old: MeshObject): MeshObject {
  const replicas = (old as Deployment).spec?.replicas
  if (wanted.kind !== 'Deployment' || replicas === undefined) return wanted
  return { ...wanted, spec: { ...(wanted.spec as DeploymentSpec), replicas } }
}

function withMark(object: MeshObject): MeshObject {
  const hash = createHash('sha256').update(JSON.stringify(object)).digest('hex').slice(0, 16)
  const { metadata } = object
  return { ...object, metadata: { ...metadata, annotations: { ...metadata.annotations, [MANIFEST_ANNOTATION]: hash } } }
}

function basedOn(object: MeshObject, old: MeshObject): MeshObject {
  const { resourceVersion } = old.metadata
  return resourceVersion === undefined ? object : { ...object, metadata: { ...object.metadata, resourceVersion } }
}

function findIn(objects: DeployedObjects, wanted: MeshObject): MeshObject | undefined {
  const kind = PLURALS[wanted.kind]
  return kind === undefined ? undefined : objects.find(kind, wanted)
}

function nameOf({ metadata }: MeshObject): string {
  return `${metadata.namespace ?? ''}/${metadata.name}`
}
