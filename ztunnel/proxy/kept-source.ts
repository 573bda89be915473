// Ports for connections to an app that come from the client's own address. The client's plaintext connections end in the same
// namespace: with one of their ports ours would be the same connection, and its SYN would never be answered. So ports are taken
// from outside the range that clients' kernels choose from (net.ipv4.ip_local_port_range, 32768 to 60999 by default).
import { randomInt } from 'node:crypto'
import { MeshError } from '../../kit/error.ts'
import type { IpAddress } from '../../model/address.ts'

/** Where apps hardly ever listen comes first; the last resort leaves the choice to the kernel. */
const RANGES: readonly (readonly [from: number, to: number])[] = [
  [61_000, 65_536],
  [10_240, 32_768],
]
const ATTEMPTS_PER_RANGE = 6
const TAKEN: ReadonlySet<unknown> = new Set(['EADDRINUSE', 'EADDRNOTAVAIL'])

/**
 * Connects from an address with a port that the client itself is not using.
 * @param connect starts a connect from there; throws SYSCALL_FAILED when the port is taken
 * @returns what `connect` returned
 * @throws what `connect` throws otherwise
 */
export function connectFromKept<T>(ip: IpAddress, connect: (from: { ip: IpAddress; port: number }) => T): T {
  for (const range of RANGES) {
    for (let attempt = 0; attempt < ATTEMPTS_PER_RANGE; attempt++) {
      try {
        return connect({ ip, port: randomInt(...range) })
      } catch (error) {
        if (!(error instanceof MeshError) || !TAKEN.has(error.detail.name)) throw error
      }
    }
  }
  return connect({ ip, port: 0 })
}
