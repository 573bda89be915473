// Opens the two ports of the control plane.
import type { Server } from '@grpc/grpc-js'
import type { Server as HttpServer } from 'node:http'
import type { ServingCertificate } from './ca/serving.ts'
import { controlplaneFailure } from './errors.ts'

/** @returns the port. @throws LISTEN_FAILED */
export function listenGrpc(server: Server, address: string, serving: ServingCertificate): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(address, serving.credentials, (error, port) => {
      if (error === null) resolve(port)
      else reject(controlplaneFailure('LISTEN_FAILED', { address }, error))
    })
  })
}

/** @param address `host:port`. @returns the port. @throws LISTEN_FAILED */
export function listenHttp(server: HttpServer, address: string): Promise<number> {
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
