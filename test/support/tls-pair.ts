// Two ends of a TLS connection over loopback, as HBONE gets them: handshaken, ALPN h2, nothing read.
import net from 'node:net'
import tls from 'node:tls'
import { selfSigned } from './self-signed.ts'

/** A self-signed certificate for tests. */
export interface TestCertificate {
  readonly cert: string
  readonly key: string
}

let made: Promise<TestCertificate> | undefined

/** @returns one P-256 certificate, the same for the whole process. */
export function testCertificate(): Promise<TestCertificate> {
  made ??= make()
  return made
}

async function make(): Promise<TestCertificate> {
  const { certPem, keyPem } = await selfSigned('test')
  return { cert: certPem, key: keyPem }
}

/** Both ends; `close` destroys them. */
export interface TlsPair {
  readonly client: tls.TLSSocket
  readonly server: tls.TLSSocket
  close(): void
}

/** @returns a connected pair; a net.Server lives only while it is made. */
export async function tlsPair(): Promise<TlsPair> {
  const certificate = await testCertificate()
  const accepted = Promise.withResolvers<tls.TLSSocket>()
  const listener = tls.createServer({ ...certificate, ALPNProtocols: ['h2'], noDelay: true }, (socket) => accepted.resolve(socket))
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
  const { port } = listener.address() as net.AddressInfo
  const client = tls.connect({ port, host: '127.0.0.1', ALPNProtocols: ['h2'], rejectUnauthorized: false, ca: certificate.cert })
  await new Promise((resolve, reject) => client.once('secureConnect', resolve).once('error', reject))
  const server = await accepted.promise
  listener.close()
  return {
    client,
    server,
    close: () => {
      client.destroy()
      server.destroy()
    },
  }
}

/** A pair of plain TCP sockets: ours is accepted with pauseOnConnect. */
export async function tcpPair(): Promise<{ app: net.Socket; ours: net.Socket }> {
  const accepted = Promise.withResolvers<net.Socket>()
  const listener = net.createServer({ pauseOnConnect: true, allowHalfOpen: true }, (socket) => accepted.resolve(socket))
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
  const { port } = listener.address() as net.AddressInfo
  const app = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true })
  await new Promise((resolve, reject) => app.once('connect', resolve).once('error', reject))
  const ours = await accepted.promise
  listener.close()
  return { app, ours }
}
