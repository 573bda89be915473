// Volumes of a pod as directories below pods/UID/volumes: files from ConfigMaps and Secrets, service account tokens (renewed
// before they expire), scratch space; and the pod's resolv.conf, hosts and hostname.
import { chmodSync, mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Clock } from '../../kit/clock.ts'
import { messageOf } from '../../kit/error.ts'
import type { Log } from '../../kit/log.ts'
import type { Container } from '../../model/container.ts'
import type { Pod } from '../../model/object.ts'
import type { ObjectClient } from '../../objects/client.ts'
import { CLUSTER_DOMAIN, DNS_VIP } from '../layout.ts'
import { API_AUDIENCE, contentOf, type FindObject, type TokenFile } from './content.ts'
import type { Bind } from './launch.ts'

/** Where every pod finds its token, CA bundle and namespace. */
export const TOKEN_MOUNT = '/var/run/secrets/kubernetes.io/serviceaccount'

/** What the volumes of a pod need. */
export interface VolumeOptions {
  readonly pod: Pod
  readonly dir: string
  readonly podIps: readonly string[]
  readonly client: ObjectClient
  readonly clock: Clock
  readonly log: Log
  readonly signal: AbortSignal
  readonly find: FindObject
  /** PEM of the mesh's roots, given to pods as ca.crt; empty when there is none yet. */
  readonly roots: string
}

/**
 * Writes every volume of the pod.
 * @throws MeshError CONFIG_MISSING | BAD_CONTAINER, or an error of the object API
 */
export async function writeVolumes(options: VolumeOptions): Promise<void> {
  const { pod, dir, find } = options
  for (const volume of pod.spec?.volumes ?? []) {
    const content = contentOf(volume, find)
    const root = join(dir, 'volumes', volume.name)
    mkdirSync(root, { recursive: true, mode: 0o755 })
    if (content.isWritable) chmodSync(root, 0o777) // mkdir's mode would be cut by the umask
    for (const [path, file] of content.files) writeFile(join(root, path), file.bytes, file.mode)
    for (const token of content.tokens) await writeToken(options, root, token)
  }
  if (mountsToken(pod)) {
    const root = join(dir, 'token')
    await writeToken(options, root, { path: 'token', audience: API_AUDIENCE, expirationSeconds: 3607 })
    writeFile(join(root, 'namespace'), Buffer.from(pod.metadata.namespace ?? 'default'), 0o644)
    writeFile(join(root, 'ca.crt'), Buffer.from(options.roots), 0o644)
  }
  const hostname = hostnameOf(pod)
  writeFile(join(dir, 'etc', 'resolv.conf'), Buffer.from(resolvConf(pod.metadata.namespace ?? 'default')), 0o644)
  writeFile(join(dir, 'etc', 'hosts'), Buffer.from(hostsFile(hostname, options.podIps)), 0o644)
  writeFile(join(dir, 'etc', 'hostname'), Buffer.from(`${hostname}\n`), 0o644)
}

/** What a container sees of them. */
export function volumeBinds(pod: Pod, container: Container, dir: string): Bind[] {
  const binds = ['resolv.conf', 'hosts', 'hostname'].map(
    (name): Bind => ({ from: join(dir, 'etc', name), to: `/etc/${name}`, isReadOnly: true }),
  )
  if (mountsToken(pod)) binds.push({ from: join(dir, 'token'), to: TOKEN_MOUNT, isReadOnly: true })
  for (const mount of container.volumeMounts ?? []) {
    const volume = pod.spec?.volumes?.find((one) => one.name === mount.name)
    if (volume === undefined) continue
    const from = join(dir, 'volumes', mount.name, mount.subPath === undefined ? '' : join('/', mount.subPath))
    binds.push({ from, to: mount.mountPath, isReadOnly: mount.readOnly === true || volume.emptyDir === undefined })
  }
  return binds
}

/** Host name of the pod's containers: the spec's, else the pod's name, at most 63 characters. */
export function hostnameOf(pod: Pod): string {
  return (pod.spec?.hostname ?? pod.metadata.name).slice(0, 63).replace(/[-.]+$/, '')
}

/** Kubernetes' search domains and the cluster's name server. */
export function resolvConf(namespace: string): string {
  const search = [`${namespace}.svc.${CLUSTER_DOMAIN}`, `svc.${CLUSTER_DOMAIN}`, CLUSTER_DOMAIN].join(' ')
  return `search ${search}\nnameserver ${DNS_VIP.v4}\noptions ndots:5\n`
}

function hostsFile(hostname: string, ips: readonly string[]): string {
  const own = ips.map((ip) => `${ip}\t${hostname}`)
  return ['127.0.0.1\tlocalhost', '::1\tlocalhost ip6-localhost ip6-loopback', ...own, ''].join('\n')
}

function mountsToken(pod: Pod): boolean {
  return pod.spec?.automountServiceAccountToken !== false
}

async function writeToken(options: VolumeOptions, root: string, token: TokenFile): Promise<void> {
  const { pod, client, clock, signal, log } = options
  const { token: text } = await client.requestToken({
    namespace: pod.metadata.namespace ?? 'default',
    serviceAccount: pod.spec?.serviceAccountName ?? 'default',
    audiences: [token.audience],
    expirationSeconds: token.expirationSeconds,
    pod: { name: pod.metadata.name, uid: pod.metadata.uid ?? '' },
  })
  writeFile(join(root, token.path), Buffer.from(text), 0o644)
  const timer = clock.after(token.expirationSeconds * 1000 * RENEW_AT, () => {
    if (signal.aborted) return
    writeToken(options, root, token).catch((error: unknown) =>
      log.warn('token was not renewed', { pod: pod.metadata.name, error: messageOf(error) }),
    )
  })
  timer.unref()
  signal.addEventListener('abort', () => timer[Symbol.dispose](), { once: true })
}

const RENEW_AT = 0.8

/** Readers see the old or the new content, never half. */
function writeFile(path: string, bytes: Buffer, mode: number): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 })
  writeFileSync(`${path}.new`, bytes, { mode })
  renameSync(`${path}.new`, path)
}
