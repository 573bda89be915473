// An object of the API server -> what is held of it: the fields that the mesh reads (model/object.ts), equal parts once. What
// Kubernetes keeps for itself goes: managed fields, the last applied configuration, most of a pod.
import type { MeshObject, ObjectMeta, OwnerReference, StringMap } from '../../model/object.ts'
import type { KindRow } from '../kinds.ts'
import { SharedValues } from './shared.ts'

type Fields = Readonly<Record<string, unknown>>
type Trim = (raw: Fields, shared: SharedValues) => Fields

/** Annotation of `kubectl apply`: a second copy of the object. */
const LAST_APPLIED = 'kubectl.kubernetes.io/last-applied-configuration'
const STATIC_POD = 'kubernetes.io/config.hash'
/** Set on what we made ourselves: only then is the content compared. */
const MANIFEST_ANNOTATION = 'weft.dev/manifest'

/** By plural; other kinds are held whole. */
const TRIMS: Readonly<Record<string, Trim>> = {
  ...Object.fromEntries(
    [
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
    ].map((plural) => [plural, ({ spec, status }: Fields) => ({ spec, status: statusOf(status) })]),
  ),
  pods: podOf,
  nodes: ({ spec, status }) => ({ spec: pick(spec, ['podCIDR', 'podCIDRs', 'taints']), status: pick(status, ['addresses']) }),
  namespaces: ({ status }) => ({ status: pick(status, ['phase']) }),
  serviceaccounts: () => ({}),
  endpointslices: sliceOf,
  deployments: ownOnly,
  poddisruptionbudgets: ownOnly,
}

/** Kinds whose version is in nobody's hands and whose status changes all the time: what was trimmed off makes no event. */
const QUIET: ReadonlySet<string> = new Set(['pods', 'nodes', 'namespaces', 'serviceaccounts', 'endpointslices', 'deployments'])

/** Whether changes of the version alone are not worth an event. */
export function isQuiet(row: KindRow): boolean {
  return QUIET.has(row.plural)
}

/** @returns a function that trims items of a kind; it answers undefined for what has no name, or lacks its namespace */
export function trimmer(row: KindRow, shared = new SharedValues()): (item: unknown) => MeshObject | undefined {
  const trim = TRIMS[row.plural]
  const isSmall = row.plural === 'pods' || row.plural === 'endpointslices'
  const apiVersion = row.apiVersions[0] ?? ''
  return (item) => {
    const raw = fieldsOf(item)
    const metadata = metadataOf(fieldsOf(raw.metadata), row, isSmall ? shared : undefined)
    if (metadata === undefined) return undefined
    const { apiVersion: _, kind: __, metadata: ___, ...content } = raw
    return { apiVersion, kind: row.kind, metadata, ...(trim === undefined ? content : defined(trim(raw, shared))) } as MeshObject
  }
}

/** The object as people see it: without what only the API server needs. `kind` and `apiVersion` are missing in items of lists. */
export function shown(item: unknown, apiVersion: string, kind: string): MeshObject {
  const raw = fieldsOf(item)
  const { managedFields: _, ...metadata } = fieldsOf(raw.metadata)
  return { ...raw, apiVersion, kind, metadata } as unknown as MeshObject
}

/** @param shared set = only what is needed of pods and slices, equal parts once */
function metadataOf(raw: Fields, row: KindRow, shared: SharedValues | undefined): ObjectMeta | undefined {
  const { name, namespace } = raw
  if (typeof name !== 'string' || name === '' || (row.isNamespaced && (typeof namespace !== 'string' || namespace === ''))) return undefined
  const { managedFields: _, annotations: all, namespace: __, selfLink: ___, ...rest } = raw
  const place = row.isNamespaced ? { namespace: shared === undefined ? namespace : shared.text(namespace as string) } : {}
  if (shared === undefined) return { ...rest, ...place, ...annotationsOf(all, (key) => key !== LAST_APPLIED) } as unknown as ObjectMeta
  const { uid, resourceVersion, deletionTimestamp, labels, ownerReferences } = raw
  const owners = Array.isArray(ownerReferences) ? ownerReferences.map(ownerOf) : undefined
  const annotations = annotationsOf(all, isMeshKey)
  return defined({
    name,
    ...place,
    uid,
    resourceVersion,
    deletionTimestamp,
    labels: isRecord(labels) ? shared.value(labels as StringMap) : undefined,
    annotations: annotations.annotations === undefined ? undefined : shared.value(annotations.annotations),
    ownerReferences: owners === undefined || row.plural !== 'pods' ? undefined : shared.value(owners),
  }) as unknown as ObjectMeta
}

function ownerOf(raw: unknown): Partial<OwnerReference> {
  return pick(raw, ['apiVersion', 'kind', 'name', 'uid', 'controller'])
}

/** `istio.io/…`, `ambient.istio.io/…`, `weft.dev/…`; and by which uid the kubelet knows a static pod. */
function isMeshKey(key: string): boolean {
  if (key === STATIC_POD) return true
  const domain = key.slice(0, key.indexOf('/'))
  return domain === 'istio.io' || domain.endsWith('.istio.io') || domain === 'weft.dev' || domain.endsWith('.weft.dev')
}

function annotationsOf(raw: unknown, isKept: (key: string) => boolean): { annotations?: StringMap } {
  const kept = Object.entries(fieldsOf(raw)).filter(([key]) => isKept(key))
  return kept.length === 0 ? {} : { annotations: Object.fromEntries(kept) as StringMap }
}

function podOf({ spec, status }: Fields, shared: SharedValues): Fields {
  const { nodeName, hostNetwork, serviceAccountName } = fieldsOf(spec)
  const { phase, podIP, podIPs, conditions } = fieldsOf(status)
  const ready = listOf(conditions).find((one) => one.type === 'Ready')
  const ips = listOf(podIPs)
  return {
    spec: defined({
      nodeName: text(nodeName, shared),
      hostNetwork,
      serviceAccountName: text(serviceAccountName, shared),
      containers: NONE,
    }),
    status: defined({
      phase: text(phase, shared),
      podIP,
      // The first address is the same text; a pod has one or two.
      podIPs: Array.isArray(podIPs) ? ips.map(({ ip }) => ({ ip: ip === podIP ? podIP : ip })) : undefined,
      conditions: ready === undefined ? undefined : shared.value([pick(ready, ['type', 'status'])]),
    }),
  }
}

function sliceOf({ addressType, endpoints, ports }: Fields, shared: SharedValues): Fields {
  const endpointOf = ({ addresses, conditions, hostname, nodeName, zone, targetRef }: Fields): Fields =>
    defined({
      addresses,
      conditions: isRecord(conditions) ? shared.value(conditions) : undefined,
      hostname,
      nodeName: text(nodeName, shared),
      zone: text(zone, shared),
      targetRef: isRecord(targetRef) ? targetOf(targetRef, shared) : undefined,
    })
  return {
    addressType,
    endpoints: Array.isArray(endpoints) ? listOf(endpoints).map(endpointOf) : undefined,
    ports: Array.isArray(ports) ? shared.value(ports) : undefined,
  }
}

function targetOf({ kind, namespace, name, uid }: Fields, shared: SharedValues): Fields {
  return defined({ kind: text(kind, shared), namespace: text(namespace, shared), name, uid })
}

/** A CRD without a schema lets anything into a status; lists in it are lists of records for everybody who reads them. */
function statusOf(status: unknown): unknown {
  if (!isRecord(status)) return undefined
  const cleaned: Record<string, unknown> = { ...status }
  if (status.conditions !== undefined) cleaned.conditions = listOf(status.conditions)
  for (const key of ['listeners', 'parents', 'ancestors'])
    if (status[key] !== undefined) cleaned[key] = listOf(status[key]).map((one) => statusOf(one))
  return cleaned
}

function ownOnly({ metadata, spec }: Fields): Fields {
  const isOurs = fieldsOf(fieldsOf(metadata).annotations)[MANIFEST_ANNOTATION] !== undefined
  return { spec: isOurs ? spec : pick(spec, ['replicas']) }
}

const NONE: readonly never[] = []

function text(value: unknown, shared: SharedValues): unknown {
  return typeof value === 'string' ? shared.text(value) : value
}

function listOf(value: unknown): readonly Fields[] {
  return Array.isArray(value) ? value.filter(isRecord) : NONE
}

function pick(raw: unknown, keys: readonly string[]): Fields {
  const fields = fieldsOf(raw)
  const kept: Record<string, unknown> = {}
  for (const key of keys) if (fields[key] !== undefined) kept[key] = fields[key]
  return kept
}

function defined(fields: Fields): Fields {
  const kept: Record<string, unknown> = {}
  for (const key in fields) if (fields[key] !== undefined) kept[key] = fields[key]
  return kept
}

function fieldsOf(value: unknown): Fields {
  return isRecord(value) ? value : {}
}

function isRecord(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
