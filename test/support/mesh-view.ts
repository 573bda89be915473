// What a test sees of a running mesh beside its objects: log lines, HTTP of its processes from any namespace, its authority's
// key (to make certificates that only break one rule), and connections to a pod's door as whoever one likes.
import '../../certs/x509.ts'
import { createPrivateKey, webcrypto } from 'node:crypto'
import { readFileSync } from 'node:fs'
import net from 'node:net'
import { join } from 'node:path'
import tls from 'node:tls'
import * as x509 from '@peculiar/x509'
import { CertificateAuthority } from '../../certs/ca.ts'
import { connectHbone } from '../../hbone/client.ts'
import type { ConnectRequest } from '../../hbone/connect.ts'
import { systemClock } from '../../kit/clock.ts'
import { codeOf, MeshError } from '../../kit/error.ts'
import { openNetns } from '../../linux/netns.ts'
import { tcpConnect } from '../../linux/socket.ts'
import type { IpAddress } from '../../model/address.ts'
import type { SpiffeId } from '../../model/identity.ts'
import { NETNS_DIR } from '../../runtime/layout.ts'
import type { Credentials, Signer } from './certificates.ts'
import { workloadCredentials } from './certificates.ts'
import type { TestMesh } from './mesh.ts'

/** One line of a component's log. */
export type LogLine = Readonly<Record<string, unknown>>

/** Where a connection begins and whom it dials. */
export interface Dial {
  /** Path of the namespace. */
  readonly from: string
  readonly ip: string
  readonly port?: number
}

/** Lines of a component (`ztunnel-node-1`) so far; what is not JSON is left out. */
export function logLines(mesh: TestMesh, component: string): readonly LogLine[] {
  const text = readFileSync(join(mesh.mesh.layout.logsDir, `${component}.log`), 'utf8')
  return text.split('\n').flatMap((line) => {
    if (!line.startsWith('{') || !line.endsWith('}')) return []
    return [JSON.parse(line) as LogLine]
  })
}

/** Waits for a line after the first `from`. */
export async function logLine(mesh: TestMesh, component: string, from: number, test: (line: LogLine) => boolean): Promise<LogLine> {
  try {
    return await mesh.until('a line of the log', () => logLines(mesh, component).slice(from).find(test))
  } catch (cause) {
    const seen = logLines(mesh, component).slice(from)
    throw new Error(`no such line of ${component} among ${seen.map((line) => JSON.stringify(line)).join('\n')}`, { cause })
  }
}

/** Path of a node's network namespace. */
export function nodeNetns(mesh: TestMesh, index: number): string {
  return join(NETNS_DIR, mesh.node(index).netns)
}

/** A TCP connection from a namespace, by this process (which belongs to no pod and is never captured). */
export function dialTcp({ from, ip, port = 15_008 }: Dial): net.Socket {
  using netns = openNetns(from)
  const fd = tcpConnect({ netnsFd: netns.fd, to: { ip: ip as IpAddress, port } })
  return new net.Socket({ fd })
}

/** Whole answer of a GET, status line first; the error's code when nobody answers. */
export async function get(dial: Required<Dial>, path: string): Promise<string> {
  const chunks: string[] = []
  try {
    const socket = dialTcp(dial)
    socket.setTimeout(3000, () => socket.destroy(new Error('timeout')))
    socket.write(`GET ${path} HTTP/1.1\r\nhost: ${dial.ip}\r\nconnection: close\r\n\r\n`)
    for await (const chunk of socket.setEncoding('utf8')) chunks.push(String(chunk))
    return chunks.join('')
  } catch (error) {
    return chunks.length > 0 ? chunks.join('') : codeOf(error)
  }
}

/** Sum of the samples of a metric of a node's ztunnel (port 15020) or agent (15014) whose labels contain all of `labels`. */
export async function metric(
  mesh: TestMesh,
  node: number,
  port: 15_014 | 15_020,
  name: string,
  labels: Readonly<Record<string, string>> = {},
): Promise<number> {
  const text = await get({ from: nodeNetns(mesh, node), ip: '127.0.0.1', port }, '/metrics')
  const wanted = Object.entries(labels).map(([key, value]) => `${key}="${value}"`)
  return text
    .split('\n')
    .filter((line) => (line.startsWith(`${name}{`) || line.startsWith(`${name} `)) && wanted.every((pair) => line.includes(pair)))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0)
}

/** The mesh's own authority. */
export function meshAuthority(mesh: TestMesh): Promise<CertificateAuthority> {
  const { certPem, keyPem } = rootOf(mesh)
  return CertificateAuthority.fromPem({
    certChainPem: certPem,
    keyPem,
    rootsPem: certPem,
    trustDomain: 'cluster.local',
    clock: systemClock,
  })
}

/** The same as a signer of certificates made by hand. */
export async function meshSigner(mesh: TestMesh): Promise<Signer> {
  const { certPem, keyPem } = rootOf(mesh)
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256' }
  const pkcs8 = createPrivateKey(keyPem).export({ type: 'pkcs8', format: 'der' })
  const certificate = new x509.X509Certificate(certPem)
  const publicKey = await webcrypto.subtle.importKey('spki', certificate.publicKey.rawData, algorithm, true, ['verify'])
  const privateKey = await webcrypto.subtle.importKey('pkcs8', pkcs8, algorithm, true, ['sign'])
  return { certificate, keys: { publicKey, privateKey } as webcrypto.CryptoKeyPair }
}

/** Certificate and key of any identity of the mesh. */
export async function meshCredentials(mesh: TestMesh, id: SpiffeId): Promise<Credentials> {
  return workloadCredentials(await meshAuthority(mesh), id)
}

/** A finished TLS handshake with a pod's door. @throws what TLS says */
export function dialTls(dial: Dial, options: tls.ConnectionOptions): Promise<tls.TLSSocket> {
  const socket = tls.connect({ socket: dialTcp(dial), ALPNProtocols: ['h2'], rejectUnauthorized: false, ...options })
  return new Promise((resolve, reject) => {
    socket.once('secureConnect', () => resolve(socket))
    socket.on('error', reject)
  })
}

/** Sends one CONNECT to a door. @returns `200`, the status of the refusal, or the error's code */
export async function tryConnect(
  dial: Dial,
  options: tls.ConnectionOptions,
  authority: string,
  more: Omit<ConnectRequest, 'authority'> = {},
): Promise<string> {
  try {
    const connection = connectHbone(await dialTls(dial, options))
    try {
      const tunnel = await connection.open({ authority, ...more })
      tunnel.reset()
      return '200'
    } finally {
      connection.destroy()
    }
  } catch (error) {
    return error instanceof MeshError && error.detail.status !== undefined ? String(error.detail.status) : codeOf(error)
  }
}

function rootOf(mesh: TestMesh): { certPem: string; keyPem: string } {
  const file = (name: string): string => readFileSync(join(mesh.mesh.layout.dir, 'ca', name), 'utf8')
  return { certPem: file('root.pem'), keyPem: file('root-key.pem') }
}
