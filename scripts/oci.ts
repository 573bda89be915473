// Writes an OCI image archive (one layer, one platform) from a folder: what `ctr images import` and `docker load` take, without
// docker and without a registry. The same folder gives the same bytes. Called by image.ts and by the test cluster.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { gzipSync } from 'node:zlib'

const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** What goes into an image. */
export interface ImageParts {
  /** `registry/name:tag`. */
  readonly name: string
  /** Folder that becomes the root; owners become 0, times 1970. */
  readonly rootfs: string
  /** File to write. */
  readonly archive: string
  readonly entrypoint: readonly string[]
  /** Further `NAME=value`. */
  readonly env?: readonly string[]
  readonly workdir?: string
  /** `uid:gid`. */
  readonly user?: string
  readonly labels?: Readonly<Record<string, string>>
  /** gzip: smaller, slower to make and to import. */
  readonly isCompressed?: boolean
}

interface Blob {
  readonly digest: string
  readonly size: number
}

/** Writes the archive. @returns its size, the layer's unpacked size, the manifest's digest */
export function writeImageArchive(image: ImageParts): { bytes: number; layerBytes: number; digest: string } {
  const scratch = mkdtempSync(join(tmpdir(), 'weft-oci-'))
  try {
    const layout = join(scratch, 'oci')
    mkdirSync(join(layout, 'blobs/sha256'), { recursive: true })
    const add = (bytes: Buffer | string): Blob => addBlob(layout, bytes)
    const layer = join(scratch, 'layer.tar')
    tar(image.rootfs, layer)
    const bytes = readFileSync(layer)
    const blob = add(image.isCompressed === true ? gzipSync(bytes, { level: 9 }) : bytes)
    const config = add(JSON.stringify(configOf(image, digestOf(bytes))))
    const manifest = add(JSON.stringify(manifestOf(config, blob, image.isCompressed === true)))
    writeFileSync(join(layout, 'index.json'), JSON.stringify(indexOf(image.name, manifest)))
    writeFileSync(join(layout, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }))
    const whole = join(scratch, 'image.tar')
    tar(layout, whole)
    mkdirSync(dirname(image.archive), { recursive: true })
    const half = `${image.archive}.${process.pid}`
    copyFileSync(whole, half)
    renameSync(half, image.archive)
    return { bytes: statSync(image.archive).size, layerBytes: bytes.length, digest: manifest.digest }
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}

function tar(folder: string, file: string): void {
  const fixed = ['--sort=name', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner', '--mode=u+rwX,go+rX,go-w', '--format=gnu']
  const done = spawnSync('tar', ['-C', folder, ...fixed, '-cf', file, '.'], { encoding: 'utf8' })
  if (done.status !== 0) throw new Error(`tar: ${done.error?.message ?? done.stderr}`)
}

function addBlob(layout: string, content: Buffer | string): Blob {
  const bytes = typeof content === 'string' ? Buffer.from(content) : content
  const digest = digestOf(bytes)
  writeFileSync(join(layout, 'blobs/sha256', digest.slice('sha256:'.length)), bytes)
  return { digest, size: bytes.length }
}

function digestOf(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}

function configOf({ entrypoint, env = [], workdir, user, labels }: ImageParts, diffId: string): object {
  return {
    architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
    os: 'linux',
    config: {
      ...(user === undefined ? {} : { User: user }),
      Env: [`PATH=${PATH}`, ...env],
      Entrypoint: entrypoint,
      ...(workdir === undefined ? {} : { WorkingDir: workdir }),
      ...(labels === undefined ? {} : { Labels: labels }),
    },
    rootfs: { type: 'layers', diff_ids: [diffId] },
  }
}

function manifestOf(config: Blob, layer: Blob, isCompressed: boolean): object {
  return {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...config },
    layers: [{ mediaType: `application/vnd.oci.image.layer.v1.tar${isCompressed ? '+gzip' : ''}`, ...layer }],
  }
}

function indexOf(name: string, manifest: Blob): object {
  const annotations = { 'io.containerd.image.name': name, 'org.opencontainers.image.ref.name': name.split(':').at(-1) }
  const row = { mediaType: 'application/vnd.oci.image.manifest.v1+json', ...manifest, annotations }
  return { schemaVersion: 2, mediaType: 'application/vnd.oci.image.index.v1+json', manifests: [row] }
}
