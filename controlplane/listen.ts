// Opens a port of the control plane.
import type { Server } from 'node:net'
import { controlplaneFailure } from './errors.ts'

/** @param address `host:port`. @returns the port. @throws LISTEN_FAILED */
export function listenAt(server: Server, address: string): Promise<number> {
  const found = /^\[?([^\]]*?)\]?:(\d{1,5})$/.exec(address)
  if (found === null) throw controlplaneFailure('LISTEN_FAILED', { address })
  return new Promise((resolve, reject) => {
    server.once('error', (error) => reject(controlplaneFailure('LISTEN_FAILED', { address }, error)))
    server.listen({ host: found[1], port: Number(found[2]) }, () => {
      const bound = server.address()
      resolve(typeof bound === 'object' && bound !== null ? bound.port : 0)
    })
  })
}
