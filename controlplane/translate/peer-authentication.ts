// PeerAuthentication -> DENY policies against plaintext. Follows istio/istio:pilot/pkg/serviceregistry/ambient/authorization.go:
// mesh <- namespace <- workload, UNSET inherits, the oldest wins; DISABLE counts as PERMISSIVE.
import type { MutualTlsMode, PeerAuthentication } from '../../model/istio-security.ts'
import type { StringMap } from '../../model/object.ts'
import { type Authorization, EMPTY_MATCH, type PolicyMatch } from '../../model/policy.ts'
import { labelsMatch, type MeshNames, namespaceOf, type Note, noteFor, type ObjectFault } from './mesh.ts'

const STATIC_STRICT = 'istio_converted_static_strict'
const CONVERTED_PREFIX = 'converted_peer_authentication_'

type Effective = 'STRICT' | 'PERMISSIVE'
const PLAINTEXT: PolicyMatch = { ...EMPTY_MATCH, notPrincipals: [{ kind: 'presence' }] }

/** All PeerAuthentications of the mesh, ready to be asked per workload. Immutable. */
export interface PeerAuthenticationView {
  /** Policies to publish. */
  readonly policies: readonly Authorization[]
  /** `namespace/name` of the policies that a workload with these labels must refer to, for mTLS. */
  referencesFor(namespace: string, labels: StringMap | undefined): readonly string[]
}

/** Pure. An unknown mode counts as STRICT and is noted. */
export function translatePeerAuthentications(
  objects: Iterable<PeerAuthentication>,
  names: MeshNames,
  faults: ObjectFault[],
): PeerAuthenticationView {
  const all = [...objects].sort(byAge)
  const staticKey = `${names.rootNamespace}/${STATIC_STRICT}`
  const isSelecting = (object: PeerAuthentication): boolean => Object.keys(object.spec?.selector?.matchLabels ?? {}).length > 0
  const mesh = all.find((object) => namespaceOf(object) === names.rootNamespace && !isSelecting(object))
  const meshBase = inherit('PERMISSIVE', mesh, faults)
  const bases = new Map<string, Effective>()
  const selecting = new Map<string, Converted[]>()
  for (const object of all) {
    const namespace = namespaceOf(object)
    if (namespace === names.rootNamespace) {
      if (isSelecting(object)) noteFor(object, faults)('spec.selector', 'is not allowed in the root namespace; the object has no effect')
    } else if (!isSelecting(object) && !bases.has(namespace)) bases.set(namespace, inherit(meshBase, object, faults))
  }
  for (const object of all) {
    const namespace = namespaceOf(object)
    if (namespace === names.rootNamespace || !isSelecting(object)) continue
    const list = selecting.get(namespace) ?? []
    selecting.set(namespace, list)
    list.push(convert(object, bases.get(namespace) ?? meshBase, staticKey, faults))
  }
  const converted = [...selecting.values()].flat().flatMap(({ policy }) => policy ?? [])
  return {
    policies: all.length === 0 ? [] : [staticStrict(names), ...converted],
    referencesFor(namespace, labels) {
      const own = selecting.get(namespace)?.find(({ object }) => labelsMatch(object.spec?.selector?.matchLabels ?? {}, labels))
      if (own !== undefined) return own.references
      return (bases.get(namespace) ?? meshBase) === 'STRICT' ? [staticKey] : []
    },
  }
}

interface Converted {
  readonly object: PeerAuthentication
  /** Only with ports that differ from the base. */
  readonly policy: Authorization | undefined
  readonly references: readonly string[]
}

function staticStrict(names: MeshNames): Authorization {
  return {
    name: STATIC_STRICT,
    namespace: names.rootNamespace,
    scope: 'WORKLOAD_SELECTOR',
    action: 'DENY',
    rules: [[[PLAINTEXT]]],
    isDryRun: false,
  }
}

function convert(object: PeerAuthentication, parent: Effective, staticKey: string, faults: ObjectFault[]): Converted {
  const note = noteFor(object, faults)
  const base = inherit(parent, object, faults)
  const differing: number[] = []
  for (const [text, port] of Object.entries(object.spec?.portLevelMtls ?? {})) {
    const number = /^\d{1,5}$/.test(text) ? Number(text) : 0
    if (number < 1 || number > 65535) note('spec.portLevelMtls', `${JSON.stringify(text)} is not a port; it is left out`)
    else if (modeOf(port?.mode, base, note, `spec.portLevelMtls[${text}].mode`) !== base) differing.push(number)
  }
  if (differing.length === 0) return { object, policy: undefined, references: base === 'STRICT' ? [staticKey] : [] }
  const ports = differing.sort((a, b) => a - b)
  const rules =
    base === 'STRICT'
      ? [[[PLAINTEXT], ...ports.map((port) => [{ ...EMPTY_MATCH, notDestinationPorts: [port] }])]]
      : ports.map((port) => [[{ ...PLAINTEXT, destinationPorts: [port] }]])
  const name = CONVERTED_PREFIX + object.metadata.name
  const namespace = namespaceOf(object)
  const policy: Authorization = { name, namespace, scope: 'WORKLOAD_SELECTOR', action: 'DENY', rules, isDryRun: false }
  // Not the static policy as well: a DENY cannot be excepted.
  return { object, policy, references: [`${namespace}/${name}`] }
}

function inherit(parent: Effective, object: PeerAuthentication | undefined, faults: ObjectFault[]): Effective {
  if (object === undefined) return parent
  return modeOf(object.spec?.mtls?.mode, parent, noteFor(object, faults), 'spec.mtls.mode')
}

function modeOf(mode: MutualTlsMode | undefined, parent: Effective, note: Note, field: string): Effective {
  switch (mode) {
    case undefined:
    case 'UNSET':
      return parent
    case 'STRICT':
      return 'STRICT'
    case 'PERMISSIVE':
    case 'DISABLE':
      return 'PERMISSIVE'
    default:
      note(field, `${JSON.stringify(mode)} is not known; taken as STRICT`)
      return 'STRICT'
  }
}

function byAge(a: PeerAuthentication, b: PeerAuthentication): number {
  const key = ({ metadata }: PeerAuthentication): string =>
    `${metadata.creationTimestamp ?? ''} ${metadata.namespace ?? ''}/${metadata.name}`
  return key(a) < key(b) ? -1 : 1
}
