// What a pod takes from ConfigMaps, Secrets, tokens and its own fields: environment variables and files of volumes.
// Pure functions over objects that the caller looked up; names and shapes follow Kubernetes.
import type { Container, KeyToPath, Volume } from '../../model/container.ts'
import type { MeshObject, Pod } from '../../model/object.ts'
import { runtimeFailure } from '../errors.ts'

/** Finds a ConfigMap or Secret of the pod's namespace; undefined when there is none. */
export type FindObject = (kind: 'configmaps' | 'secrets', name: string) => MeshObject | undefined

/** A token to be written into a volume. */
export interface TokenFile {
  readonly path: string
  readonly audience: string
  readonly expirationSeconds: number
}

/** Files of a volume by relative path. */
export interface VolumeContent {
  readonly files: ReadonlyMap<string, { readonly bytes: Buffer; readonly mode: number }>
  readonly tokens: readonly TokenFile[]
  readonly isWritable: boolean
}

/** Addresses and node of the pod, for field references. */
export interface PodFacts {
  readonly pod: Pod
  readonly podIp: string
  readonly podIps: readonly string[]
  readonly hostIp: string
}

const DEFAULT_MODE = 0o644
const DEFAULT_TOKEN_S = 3607

/**
 * Variables of a container: envFrom, then env with `$(NAME)` expanded.
 * @throws MeshError CONFIG_MISSING | BAD_CONTAINER
 */
export function environmentOf(container: Container, facts: PodFacts, find: FindObject): Record<string, string> {
  const result: Record<string, string> = {}
  for (const source of container.envFrom ?? []) {
    const reference = source.configMapRef ?? source.secretRef
    if (reference === undefined) continue
    const kind = source.configMapRef === undefined ? 'secrets' : 'configmaps'
    const object = find(kind, reference.name)
    if (object === undefined && reference.optional !== true) throw runtimeFailure('CONFIG_MISSING', { kind, name: reference.name })
    for (const key of Object.keys(object?.data ?? {})) result[(source.prefix ?? '') + key] = textOf(object, kind, key) ?? ''
  }
  for (const { name, value, valueFrom } of container.env ?? []) {
    if (valueFrom === undefined) result[name] = expand(value ?? '', result)
    else {
      const text = referenced(valueFrom, facts, find)
      if (text !== undefined) result[name] = text
    }
  }
  return result
}

/** `$(NAME)` becomes the variable, `$$` becomes `$`, unknown references stay as written. */
export function expand(text: string, variables: Readonly<Record<string, string>>): string {
  return text.replace(/\$\$|\$\(([-._a-zA-Z][-._a-zA-Z0-9]*)\)/g, (match, name: string | undefined) =>
    name === undefined ? '$' : (variables[name] ?? match),
  )
}

/**
 * Files of a volume.
 * @throws MeshError CONFIG_MISSING | BAD_CONTAINER (a kind of volume that is not supported)
 */
export function contentOf(volume: Volume, find: FindObject): VolumeContent {
  const files = new Map<string, { bytes: Buffer; mode: number }>()
  const tokens: TokenFile[] = []
  const take = (kind: 'configmaps' | 'secrets', source: FileSource, mode: number): void => addFiles(files, find, kind, source, mode)
  if (volume.configMap !== undefined) take('configmaps', volume.configMap, volume.configMap.defaultMode ?? DEFAULT_MODE)
  else if (volume.secret !== undefined)
    take('secrets', { ...volume.secret, name: volume.secret.secretName }, volume.secret.defaultMode ?? DEFAULT_MODE)
  else if (volume.projected !== undefined) {
    const mode = volume.projected.defaultMode ?? DEFAULT_MODE
    for (const source of volume.projected.sources) {
      if (source.configMap !== undefined) take('configmaps', source.configMap, mode)
      if (source.secret !== undefined) take('secrets', source.secret, mode)
      if (source.serviceAccountToken === undefined) continue
      const { path, audience = API_AUDIENCE, expirationSeconds = DEFAULT_TOKEN_S } = source.serviceAccountToken
      tokens.push({ path, audience, expirationSeconds })
    }
  } else if (volume.emptyDir === undefined)
    throw runtimeFailure('BAD_CONTAINER', { volume: volume.name, reason: 'this kind of volume is not supported' })
  return { files, tokens, isWritable: volume.emptyDir !== undefined }
}

/** Audience of the token that every pod gets at /var/run/secrets/kubernetes.io/serviceaccount. */
export const API_AUDIENCE = 'https://kubernetes.default.svc.cluster.local'

interface FileSource {
  readonly name: string
  readonly items?: readonly KeyToPath[]
  readonly optional?: boolean
}

function addFiles(
  files: Map<string, { bytes: Buffer; mode: number }>,
  find: FindObject,
  kind: 'configmaps' | 'secrets',
  source: FileSource,
  mode: number,
): void {
  const object = find(kind, source.name)
  if (object === undefined) {
    if (source.optional === true) return
    throw runtimeFailure('CONFIG_MISSING', { kind, name: source.name })
  }
  const wanted = source.items ?? Object.keys(object.data ?? {}).map((key): KeyToPath => ({ key, path: key }))
  for (const item of wanted) {
    const value = object.data?.[item.key]
    if (value === undefined) {
      if (source.optional === true) continue
      throw runtimeFailure('CONFIG_MISSING', { kind, name: source.name, key: item.key })
    }
    files.set(item.path, { bytes: kind === 'secrets' ? Buffer.from(value, 'base64') : Buffer.from(value), mode: item.mode ?? mode })
  }
}

function referenced(
  from: NonNullable<NonNullable<Container['env']>[number]['valueFrom']>,
  facts: PodFacts,
  find: FindObject,
): string | undefined {
  if (from.fieldRef !== undefined) return fieldOf(from.fieldRef.fieldPath, facts)
  const kind = from.configMapKeyRef === undefined ? 'secrets' : 'configmaps'
  const reference = from.configMapKeyRef ?? from.secretKeyRef
  if (reference === undefined)
    throw runtimeFailure('BAD_CONTAINER', { reason: 'valueFrom needs configMapKeyRef, secretKeyRef or fieldRef' })
  const text = textOf(find(kind, reference.name), kind, reference.key)
  if (text === undefined && reference.optional !== true)
    throw runtimeFailure('CONFIG_MISSING', { kind, name: reference.name, key: reference.key })
  return text
}

function textOf(object: MeshObject | undefined, kind: 'configmaps' | 'secrets', key: string): string | undefined {
  const value = object?.data?.[key]
  return value === undefined || kind === 'configmaps' ? value : Buffer.from(value, 'base64').toString('utf8')
}

function fieldOf(path: string, { pod, podIp, podIps, hostIp }: PodFacts): string {
  const { metadata, spec } = pod
  const keyed = /^metadata\.(labels|annotations)\['([^']+)'\]$/.exec(path)
  if (keyed !== null) return metadata[keyed[1] === 'labels' ? 'labels' : 'annotations']?.[keyed[2] ?? ''] ?? ''
  const fields: Readonly<Record<string, string | undefined>> = {
    'metadata.name': metadata.name,
    'metadata.namespace': metadata.namespace,
    'metadata.uid': metadata.uid,
    'spec.nodeName': spec?.nodeName,
    'spec.serviceAccountName': spec?.serviceAccountName,
    'status.podIP': podIp,
    'status.podIPs': podIps.join(','),
    'status.hostIP': hostIp,
  }
  if (!Object.hasOwn(fields, path)) throw runtimeFailure('BAD_CONTAINER', { fieldPath: path, reason: 'this field cannot be referred to' })
  return fields[path] ?? ''
}
