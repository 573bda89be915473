// How a command finds its mesh: by --name; the object API on its socket.
import { existsSync } from 'node:fs'
import { ObjectClient } from '../objects/client.ts'
import { runtimeFailure } from '../runtime/errors.ts'
import { isMeshName, meshLayout } from '../runtime/layout.ts'

/** Name of a mesh when --name is not given. */
export const DEFAULT_NAME = 'weft'

/** @throws MeshError BAD_NAME | NOT_ROOT | MESH_MISSING */
export function connectMesh(name: string): ObjectClient {
  if (!isMeshName(name)) throw runtimeFailure('BAD_NAME', { name })
  if (process.getuid?.() !== 0) throw runtimeFailure('NOT_ROOT')
  const { apiSocket } = meshLayout(name)
  if (!existsSync(apiSocket)) throw runtimeFailure('MESH_MISSING', { name })
  return new ObjectClient({ socketPath: apiSocket })
}

/** `NAMESPACE/NAME`; without a namespace `default`. */
export function parseTarget(text: string): { namespace: string; name: string } {
  const [first = '', second] = text.split('/')
  return second === undefined ? { namespace: 'default', name: first } : { namespace: first, name: second }
}
