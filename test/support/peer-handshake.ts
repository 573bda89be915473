// A real TLS 1.3 handshake on loopback, as HBONE makes it, with PeerAdmission asked on either side.
import { once } from 'node:events'
import type net from 'node:net'
import tls from 'node:tls'
import type { TrustBundle } from '../../certs/bundle.ts'
import { PeerAdmission } from '../../certs/peer.ts'
import type { Admission, ExpectedPeer } from '../../certs/peer.ts'
import { systemClock } from '../../kit/clock.ts'
import type { Clock } from '../../kit/clock.ts'
import type { Credentials } from './certificates.ts'

/** Ends of sockets that the test has finished with. */
const ignore = (): undefined => undefined

/** One handshake: who shows what, and which side decides. */
export interface Handshake {
  readonly server: Credentials
  readonly client: Credentials | undefined
  /** Roots of the deciding side. */
  readonly bundle: TrustBundle
  /** The side whose verdict is returned. */
  readonly decides: 'server' | 'client'
  readonly expected?: ExpectedPeer
  readonly clock?: Clock
  readonly admission?: PeerAdmission
}

/** The decision of one side about the other. @throws the TLS error when the handshake itself fails */
export async function handshake(options: Handshake): Promise<Admission> {
  const { bundle, clock = systemClock } = options
  const admission = options.admission ?? new PeerAdmission({ bundle: () => bundle, clock })
  const common = { ca: bundle.pem(), rejectUnauthorized: false, minVersion: 'TLSv1.3', maxVersion: 'TLSv1.3' } as const
  const secureContext = tls.createSecureContext({ ...common, ...options.client }) // may throw: before anything is open
  const listener = tls.createServer({ ...common, ...options.server, requestCert: true })
  const raw = new Set<net.Socket>()
  listener.on('connection', (connection) => raw.add(connection))
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const { port } = listener.address() as net.AddressInfo
  const accepted = once(listener, 'secureConnection') as Promise<[tls.TLSSocket]>
  const failed = once(listener, 'tlsClientError').then(([error]) => Promise.reject(error))
  const socket = tls.connect({ ...common, secureContext, host: '127.0.0.1', port, checkServerIdentity: () => undefined })
  const broken = new Promise<never>((_, reject) => socket.once('error', reject))
  try {
    const [[server]] = await Promise.race([Promise.all([accepted, once(socket, 'secureConnect')]), failed, broken])
    server.on('error', ignore)
    const verdict = admission.admit(options.decides === 'server' ? server : socket, options.expected ?? {})
    server.destroy()
    return verdict
  } finally {
    for (const pending of [accepted, failed, broken]) pending.catch(ignore)
    socket.on('error', ignore)
    socket.destroy()
    for (const connection of raw) connection.destroy() // also of a handshake that failed on our side only
    listener.close()
  }
}
