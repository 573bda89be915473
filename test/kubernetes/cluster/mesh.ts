// Puts the mesh of this checkout on a cluster: its image into the nodes, then `weft install` with what is special here.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { cgroup2Root } from '../../../linux/cgroup.ts'
import { makeImage } from '../../../scripts/image.ts'
import type { Cluster } from './cluster.ts'

/**
 * @param name of the image, `localhost/weft:TAG`
 * @param weft runs the weft command of this checkout on the cluster
 * @param more values of the chart beyond those, by name
 * @returns what `weft` returned for the installation
 */
export async function installMesh<T>(
  cluster: Cluster,
  name: string,
  weft: (words: readonly string[]) => T | Promise<T>,
  more: Readonly<Record<string, string>> = {},
): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'weft-mesh-'))
  try {
    const archive = join(folder, 'image.tar')
    makeImage({ name, archive })
    await cluster.load(archive)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  return await weft(['install', '--image', name, '--timeout', '600', ...values(cluster, more)])
}

/** Two nodes share a cgroup tree; without kube-proxy the API server is asked at its own address, and the mesh serves the services. */
function values({ layout: { id, apiIp, apiPort, proxy } }: Cluster, more: Readonly<Record<string, string>>): string[] {
  const group = join(cgroup2Root(), `${id}-$(NODE_NAME)`)
  const given = {
    'cni.cgroup': group,
    'cni.probeCgroup': `${group}/kubelet`,
    'cni.serveServices': String(proxy === undefined),
    'kubernetesApi.host': apiIp,
    'kubernetesApi.port': String(apiPort),
    ...more,
  }
  return Object.entries(given).flatMap(([key, value]) => ['--set', `${key}=${value}`])
}
