// Where the control plane's objects come from, whatever holds them: the local runtime's store here, Kubernetes elsewhere.
import type { MeshObject, ObjectEvent, TokenReviewStatus } from '../../model/object.ts'

/** Kinds that the control plane reads, as lower-case plurals. */
export const SOURCE_KINDS = [
  'pods',
  'namespaces',
  'nodes',
  'services',
  'endpointslices',
  'gatewayclasses',
  'gateways',
  'httproutes',
  'grpcroutes',
  'virtualservices',
  'destinationrules',
  'serviceentries',
  'ratelimitpolicies',
  'authorizationpolicies',
  'peerauthentications',
  'servicecidrs',
  'serviceaccounts',
  'deployments',
  'configmaps',
  'poddisruptionbudgets',
] as const

/** One of SOURCE_KINDS. */
export type SourceKind = (typeof SOURCE_KINDS)[number]

/** Changes of objects that the control plane itself makes (waypoints): service accounts, services, deployments, config maps. */
export interface ObjectWriter {
  /** Rejects with CONFLICT when an object of that name exists. */
  create(object: MeshObject): Promise<void>
  /** Replaces what an earlier `create` or `replace` set; `metadata.resourceVersion` in it makes it conditional (CONFLICT). */
  replace(object: MeshObject): Promise<void>
  /** Deletes; an object that is gone already is no error. */
  remove(kind: SourceKind, object: MeshObject): Promise<void>
}

/** A live copy of the objects. It is never emptied by a lost connection: old objects stay until newer ones are known. */
export interface ConfigSource extends ObjectWriter {
  /** Resolved when every kind has been listed once; runs until `signal` aborts. */
  start(signal: AbortSignal): Promise<void>
  /** Current objects; an object is never changed in place. */
  objects(kind: SourceKind): Iterable<MeshObject>
  /** Called for every change after the first list, in order. */
  onChange(listener: (event: ObjectEvent) => void): void
  /** Whose token this is, and whether it is good for the audience. Rejects only when nobody can be asked. */
  reviewToken(token: string, audience: string): Promise<TokenReviewStatus>
  /** Merges into an object's status. Rejects when the object is gone, or is no longer of the resourceVersion given (CONFLICT). */
  patchStatus(kind: SourceKind, namespace: string | undefined, name: string, status: object, resourceVersion?: string): Promise<void>
}
