// Writes an OCI image archive (one platform) from folders: what `ctr images import` and `docker load` take, without
// docker and without a registry. The same folder gives the same bytes. Called by image.ts and by the test cluster.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { gzipSync } from 'node:zlib'

const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** A layer as a file. */
export interface Layer {
  readonly file: string
  readonly digest: string
  readonly size: number
  /** Digest and size of what it unpacks to. */
  readonly diffId: string
  readonly unpackedSize: number
  readonly isCompressed: boolean
}

/** What goes into an image. */
export interface ImageParts {
  /** `registry/name:tag`. */
  readonly name: string
  /** The lowest first. */
  readonly layers: readonly Layer[]
  /** File to write. */
  readonly archive: string
  readonly entrypoint: readonly string[]
  /** Further `NAME=value`. */
  readonly env?: readonly string[]
  readonly workdir?: string
  /** `uid:gid`. */
  readonly user?: string
  readonly labels?: Readonly<Record<string, string>>
}

interface Blob {
  readonly digest: string
  readonly size: number
}

/**
 * Makes a layer of a folder; owners become 0, times 1970.
 * @param isCompressed gzip: smaller, slower to make and to unpack
 */
export function makeLayer(folder: string, file: string, isCompressed: boolean): Layer {
  tar(folder, file)
  const bytes = readFileSync(file)
  const packed = isCompressed ? gzipSync(bytes, { level: 9 }) : bytes
  if (isCompressed) writeFileSync(file, packed)
  return { file, digest: digestOf(packed), size: packed.length, diffId: digestOf(bytes), unpackedSize: bytes.length, isCompressed }
}

/** Writes the archive. @returns its size, and the manifest's digest */
export function writeImageArchive(image: ImageParts): { bytes: number; digest: string } {
  const scratch = mkdtempSync(join(tmpdir(), 'weft-oci-'))
  try {
    const layout = join(scratch, 'oci')
    mkdirSync(join(layout, 'blobs/sha256'), { recursive: true })
    for (const { file, digest } of image.layers) copyFileSync(file, join(layout, 'blobs/sha256', digest.slice('sha256:'.length)))
    const config = addBlob(layout, JSON.stringify(configOf(image)))
    const manifest = addBlob(layout, JSON.stringify(manifestOf(config, image.layers)))
    writeFileSync(join(layout, 'index.json'), JSON.stringify(indexOf(image.name, manifest)))
    writeFileSync(join(layout, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }))
    mkdirSync(dirname(image.archive), { recursive: true })
    const half = `${image.archive}.${process.pid}`
    tar(layout, half)
    renameSync(half, image.archive)
    return { bytes: statSync(image.archive).size, digest: manifest.digest }
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

function configOf({ layers, entrypoint, env = [], workdir, user, labels }: ImageParts): object {
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
    rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer.diffId) },
  }
}

function manifestOf(config: Blob, layers: readonly Layer[]): object {
  return {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...config },
    layers: layers.map(({ digest, size, isCompressed }) => ({
      mediaType: `application/vnd.oci.image.layer.v1.tar${isCompressed ? '+gzip' : ''}`,
      digest,
      size,
    })),
  }
}

function indexOf(name: string, manifest: Blob): object {
  const annotations = { 'io.containerd.image.name': name, 'org.opencontainers.image.ref.name': name.split(':').at(-1) }
  const row = { mediaType: 'application/vnd.oci.image.manifest.v1+json', ...manifest, annotations }
  return { schemaVersion: 2, mediaType: 'application/vnd.oci.image.index.v1+json', manifests: [row] }
}
